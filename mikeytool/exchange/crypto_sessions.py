"""Negotiating crypto sessions: the GENERIC-ID map of both messages (RFC 6043 6.1.1, 4.2.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.session import CryptoSession, choose_spi
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import GenericIdEntry, SrtpSessionData, srtp_session_data
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.registry import CsIdMapType, ErrorNo, ProtType


@dataclass(frozen=True, slots=True)
class CsSpec:
    """A crypto session that one end wants. `send` is true if this end sends in it.

    The tool or the other end chooses the fields that are None. `policies` are policy numbers; an
    empty tuple means every policy for the protocol.
    """

    send: bool
    cs_id: int | None = None
    ssrc: int | None = None
    protocol: int = ProtType.SRTP.value
    roc: int | None = None
    seq: int | None = None
    spi: bytes | None = None
    policies: tuple[int, ...] = ()


Arrange = Callable[[GenericIdEntry, bool], GenericIdEntry]
"""Changes a crypto session of an answer; the flag is true if the initiator sends in it."""


def offer_map(
    env: Environment,
    specs: Sequence[CsSpec],
    policies: Sequence[SP],
    keys: Sequence[KeyData],
    *,
    complete: bool,
) -> list[GenericIdEntry]:
    """Build the map of TRANSFER_INIT. Draws an SSRC for each session to send that has none.

    `complete` is for tickets without the F flag. No answer can fill in missing fields then, so the
    initiator sends in every session (interpretation 24). Raises UsageError for specs that
    contradict each other.
    """
    entries: list[GenericIdEntry] = []
    ids = _cs_ids([spec.cs_id for spec in specs])
    for cs_id, spec in zip(ids, specs, strict=True):
        _check_spec(spec, complete=complete)
        numbers = _policy_numbers(spec, policies)
        if complete and len(numbers) != 1:
            raise UsageError(
                f"without the F flag crypto session {cs_id} needs exactly one policy,"
                f" {len(numbers)} were given"
            )
        spi = spec.spi
        if spi is None:
            spi = choose_spi(keys, entries) if spec.send else b""
        elif spi not in {key.spi for key in keys}:
            raise UsageError(f"no key has the SPI {spi.hex()} that a crypto session names")
        entry = _entry(cs_id, spec.protocol, numbers, spi)
        if spec.send:
            _set_session_data(env, entry, spec, entries)
        srtp = entry.protocol == ProtType.SRTP
        if complete and not (entry.spi and (entry.session_data or not srtp)):
            raise UsageError(
                f"without the F flag crypto session {cs_id} needs a key and Session Data"
            )
        entries.append(entry)
    return entries


def _check_spec(spec: CsSpec, *, complete: bool) -> None:
    if not spec.send and spec.ssrc is not None:
        raise UsageError("the SSRC of a stream to receive is for its sender to choose")
    if not spec.send and complete:
        raise UsageError(
            "without the F flag there is no answer, so every crypto session is dir=send"
        )
    if (spec.roc is None) != (spec.seq is None):
        raise UsageError("ROC and SEQ go together: give both or none")


def _cs_ids(wanted: Sequence[int | None], taken: Sequence[int] = ()) -> list[int]:
    """Return distinct CS IDs: those wanted, and the lowest free ones from 1 for the others."""
    given = [cs_id for cs_id in wanted if cs_id is not None]
    if len(set(given)) != len(given) or set(given) & set(taken):
        raise UsageError("two crypto sessions have the same CS ID")
    free = (n for n in range(1, 256) if n not in given and n not in taken)
    try:
        return [next(free) if cs_id is None else cs_id for cs_id in wanted]
    except StopIteration:
        raise UsageError("a crypto session bundle has room for 255 crypto sessions") from None


def _policy_numbers(spec: CsSpec, policies: Sequence[SP]) -> list[int]:
    fitting = [sp.policy_no for sp in policies if sp.protocol == spec.protocol]
    for number in spec.policies:
        if number not in fitting:
            raise UsageError(f"there is no policy {number} for protocol {spec.protocol}")
    return list(spec.policies) or fitting


def _entry(cs_id: int, protocol: int, policies: list[int], spi: bytes) -> GenericIdEntry:
    return GenericIdEntry(
        cs_id=cs_id, protocol=protocol, policies=policies, session_data=b"", spi=spi
    )


def _set_session_data(
    env: Environment, entry: GenericIdEntry, spec: CsSpec, others: Sequence[GenericIdEntry]
) -> None:
    """Set SSRC, ROC and SEQ of an SRTP entry; the SSRC is drawn unless `spec` has one."""
    if entry.protocol != ProtType.SRTP:
        return
    taken = {data[0] for other in others if (data := srtp_session_data(other))}
    ssrc = spec.ssrc
    while ssrc is None or (spec.ssrc is None and ssrc in taken):
        ssrc = int.from_bytes(env.random(4))
    if spec.roc is None or spec.seq is None:
        entry.s, entry.session_data = 0, ssrc.to_bytes(4)
    else:
        entry.s = 1
        entry.session_data = SrtpSessionData(ssrc=ssrc, roc=spec.roc, seq=spec.seq).build()


def read_map(
    incoming: Incoming, *, complete: bool, known: Mapping[int, SP] | None = None
) -> tuple[list[GenericIdEntry], dict[int, SP]]:
    """Return the map and the policies of a transfer message.

    With `complete` each crypto session must have one policy, an SPI and, for SRTP, Session Data.
    `known` are policies of the initial message; the map may refer to them too. Raises Refused
    (interpretations 24 to 26).
    """
    header = incoming.message.header
    policies = {sp.policy_no: sp for sp in incoming.message.all(SP)}
    if header.cs_id_map_type == CsIdMapType.EMPTY:
        if policies or header.cs_count:
            raise Refused(
                "an Empty map goes without SP and with #CS 0 (RFC 4563 5)", ErrorNo.INVALID_SP
            )
        return [], {}
    if header.cs_id_map_type != CsIdMapType.GENERIC_ID:
        raise Refused("Ticket Transfer takes a GENERIC-ID map (RFC 6043 6.1)")
    entries = [entry for entry in header.cs_id_map if isinstance(entry, GenericIdEntry)]
    if len({entry.cs_id for entry in entries}) != len(entries):
        raise Refused("two crypto sessions have the same CS ID")
    for entry in entries:
        _check_entry(entry, {**(known or {}), **policies}, complete=complete)
    return entries, policies


def _check_entry(entry: GenericIdEntry, policies: Mapping[int, SP], *, complete: bool) -> None:
    for number in entry.policies:
        if number not in policies or policies[number].protocol != entry.protocol:
            raise Refused(
                f"crypto session {entry.cs_id} names policy {number}, which is not there"
                " for its protocol",
                ErrorNo.INVALID_SP,
            )
    srtp = entry.protocol == ProtType.SRTP
    if srtp and entry.session_data and len(entry.session_data) != (10 if entry.s else 4):
        raise Refused(
            f"the Session Data of crypto session {entry.cs_id} has"
            f" {len(entry.session_data)} octets; 4 or, with the S flag, 10 are right"
        )
    if complete and (
        len(entry.policies) != 1 or not entry.spi or (srtp and not entry.session_data)
    ):
        raise Refused(
            f"crypto session {entry.cs_id} misses its policy, Session Data or SPI",
            ErrorNo.INVALID_SPPAR,
        )


def answer_map(
    env: Environment,
    offered: Sequence[GenericIdEntry],
    offered_policies: Mapping[int, SP],
    keys: Sequence[KeyData],
    accept_policy: Callable[[SP], bool],
    specs: Sequence[CsSpec],
    own_policies: Sequence[SP],
    arrange: Arrange | None = None,
) -> list[CryptoSession]:
    """Build the crypto sessions of TRANSFER_RESP (4.2.2.3).

    Chooses the first offered policy that is accepted, and fills in missing SSRCs and SPIs. `specs`
    set the responder's own SSRCs: a spec with the CS ID of an offered session applies to that
    session, any other adds a session to send. `arrange` is called last and may change Session Data
    and SPI of the offered sessions, including those in which the initiator sends.
    """
    needed = own_policies if any(not entry.policies for entry in offered) or specs else ()
    if any(spec.cs_id is None and not spec.send for spec in specs):
        raise UsageError("a responder can add streams that it sends, and no others")
    own = _renumbered(needed, offered_policies)
    by_id = {spec.cs_id: spec for spec in specs if spec.cs_id is not None}
    unnamed = [spec for spec in specs if spec.cs_id is None and spec.send]
    chosen: list[CryptoSession] = []
    taken = list(offered)
    for entry in offered:
        ours = not entry.session_data
        fitting = [one for one in unnamed if ours and one.protocol == entry.protocol]
        spec = by_id.pop(entry.cs_id, None)
        if spec is None and fitting:
            spec = fitting[0]
            unnamed.remove(spec)
        spec = spec or CsSpec(send=ours)
        policy = _choose(entry.policies, offered_policies, own, entry.protocol, accept_policy)
        spi = entry.spi or choose_spi(keys, taken)
        answer = entry.copy(
            policies=[policy.policy_no],
            policy_count=None,
            spi=spi,
            spi_length=None,
            session_data_length=None,
        )
        if ours:
            _set_session_data(env, answer, spec, taken)
        elif spec.ssrc is not None:
            raise UsageError(f"the SSRC of crypto session {entry.cs_id} is the initiator's")
        if arrange is not None:
            answer = arrange(answer, not ours)
        taken.append(answer)
        chosen.append(CryptoSession(answer, policy, by_initiator=not ours))
    added = [*by_id.values(), *unnamed]
    ids = _cs_ids([spec.cs_id for spec in added], [entry.cs_id for entry in offered])
    for cs_id, spec in zip(ids, added, strict=True):
        if not spec.send:
            raise UsageError("a responder can add streams that it sends, and no others")
        policy = _choose([], offered_policies, own, spec.protocol, accept_policy)
        spi = spec.spi or choose_spi(keys, taken)
        entry = _entry(cs_id, spec.protocol, [policy.policy_no], spi)
        _set_session_data(env, entry, spec, taken)
        taken.append(entry)
        chosen.append(CryptoSession(entry, policy, by_initiator=False))
    return chosen


def _renumbered(own: Sequence[SP], offered: Mapping[int, SP]) -> list[SP]:
    """Return own policies, with numbers that the initiator did not use (interpretation 25)."""
    free = [number for number in range(256) if number not in offered]
    if len(free) < len(own):
        raise Refused("the offer leaves no policy number for the answer", ErrorNo.INVALID_SP)
    return [sp.copy(policy_no=number) for sp, number in zip(own, free, strict=False)]


def _choose(
    numbers: Sequence[int],
    offered: Mapping[int, SP],
    own: Sequence[SP],
    protocol: int,
    accept_policy: Callable[[SP], bool],
) -> SP:
    """Return the first acceptable policy offered for the session, or else any that fits."""
    candidates = [offered[number] for number in numbers] or [
        *own,
        *(sp for sp in offered.values() if sp not in own),
    ]
    for policy in candidates:
        if policy.protocol == protocol and accept_policy(policy):
            return policy
    raise Refused("no security policy is acceptable for a crypto session", ErrorNo.INVALID_SPPAR)
