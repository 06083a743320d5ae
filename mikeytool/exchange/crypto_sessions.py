"""Negotiating crypto sessions: the GENERIC-ID map of both messages (RFC 6043 6.1.1, 4.2.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.session import CryptoSession, choose_spi, policy_content
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import GenericIdEntry, SrtpSessionData, srtp_session_data
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.registry import CsIdMapType, ErrorNo, ProtType


@dataclass(frozen=True, slots=True)
class CsSpec:
    """A crypto session that one end wants. `send` is true if this end sends in it.

    The tool or the other end chooses the fields that are None. `policies` are policy numbers; an
    empty tuple means every policy for the protocol. A `name`, for a `cs_id`, says what it is for.
    """

    send: bool
    cs_id: int | None = None
    ssrc: int | None = None
    protocol: int = ProtType.SRTP.value
    roc: int | None = None
    seq: int | None = None
    spi: bytes | None = None
    policies: tuple[int, ...] = ()
    name: str = ""

    @property
    def sets_session_data(self) -> bool:
        """Whether it says something about the sender's Session Data."""
        return (self.ssrc, self.roc, self.seq) != (None, None, None)


class Arrangement(Protocol):
    """What the answering end decides of each crypto session, beyond what `Brought` has for all."""

    def fits(self, entry: GenericIdEntry, policy: SP) -> bool:
        """Return whether a policy may be chosen for a crypto session."""

    def arrange(self, entry: GenericIdEntry, by_initiator: bool) -> GenericIdEntry:
        """Return a crypto session for the answer; `by_initiator` is true if the initiator sends."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What the answering end brings: policies that it accepts, its crypto sessions and policies.

    `policies` are used where the other end offered none. `arrangement` is asked last and may change
    Session Data and SPI of the offered crypto sessions, including those in which the initiator
    sends.
    """

    accept_policy: Callable[[SP], bool]
    crypto_sessions: Sequence[CsSpec] = ()
    policies: Sequence[SP] = ()
    arrangement: Arrangement | None = None

    def accepts(self, entry: GenericIdEntry, policy: SP) -> bool:
        """Return whether a policy may be chosen for a crypto session."""
        if policy.protocol != entry.protocol or not self.accept_policy(policy):
            return False
        return self.arrangement is None or self.arrangement.fits(entry, policy)


def offer_map(
    env: Environment,
    specs: Sequence[CsSpec],
    policies: Sequence[SP],
    keys: Sequence[KeyData],
    *,
    complete: bool,
    taken: Sequence[int] = (),
) -> list[GenericIdEntry]:
    """Build the map of TRANSFER_INIT. Draws an SSRC for each session to send that has none.

    `taken` are CS IDs that crypto sessions have already. `complete` is for tickets without the F
    flag. No answer can fill in missing fields then, so the initiator sends in every session
    (interpretation 24). Raises UsageError for specs that contradict each other.
    """
    entries: list[GenericIdEntry] = []
    ids = _cs_ids([spec.cs_id for spec in specs], taken)
    for cs_id, spec in zip(ids, specs, strict=True):
        check_spec(spec)
        if not spec.send and complete:
            raise UsageError(
                "without the F flag there is no answer, so every crypto session is dir=send"
            )
        numbers = policy_numbers(spec, policies)
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
            _draw_session_data(env, entry, spec, entries)
        srtp = entry.protocol == ProtType.SRTP
        if complete and not (entry.spi and (entry.session_data or not srtp)):
            raise UsageError(
                f"without the F flag crypto session {cs_id} needs a key and Session Data"
            )
        entries.append(entry)
    return entries


def check_spec(
    spec: CsSpec, *, entry: GenericIdEntry | None = None, local: bool | None = None
) -> None:
    """Refuse a spec that contradicts itself, or the crypto session that `entry` is.

    `local` is whether this end sends in it. Raises UsageError.
    """
    if entry is not None and spec.protocol != entry.protocol:
        raise UsageError(
            f"crypto session {entry.cs_id} is for protocol {entry.protocol}: say prot="
            f"{entry.protocol}"
        )
    if entry is not None and spec.send != local:
        which = "this end's to send: say dir=send" if local else "the other end's: say dir=recv"
        raise UsageError(f"crypto session {entry.cs_id} is {which}")
    if not spec.send and spec.sets_session_data:
        raise UsageError("SSRC, ROC and SEQ of a stream to receive are for its sender to choose")
    if spec.sets_session_data and spec.protocol != ProtType.SRTP:
        raise UsageError(f"only SRTP has an SSRC, ROC and SEQ, protocol {spec.protocol} has not")
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


def policy_numbers(spec: CsSpec, policies: Sequence[SP]) -> list[int]:
    """Return the policies that a spec names, or else all for its protocol; raises UsageError."""
    fitting = [sp.policy_no for sp in policies if sp.protocol == spec.protocol]
    for number in spec.policies:
        if number not in fitting:
            raise UsageError(f"there is no policy {number} for protocol {spec.protocol}")
    return list(spec.policies) or fitting


def _entry(cs_id: int, protocol: int, policies: list[int], spi: bytes) -> GenericIdEntry:
    return GenericIdEntry(
        cs_id=cs_id, protocol=protocol, policies=policies, session_data=b"", spi=spi
    )


def _draw_session_data(
    env: Environment, entry: GenericIdEntry, spec: CsSpec, others: Sequence[GenericIdEntry]
) -> None:
    """Set SSRC, ROC and SEQ of an SRTP entry; the SSRC is drawn unless `spec` has one."""
    if entry.protocol != ProtType.SRTP:
        return
    taken = {data[0] for other in others if (data := srtp_session_data(other))}
    ssrc = spec.ssrc
    while ssrc is None or (spec.ssrc is None and ssrc in taken):
        ssrc = int.from_bytes(env.random(4))
    set_session_data(entry, ssrc, spec)


def set_session_data(entry: GenericIdEntry, ssrc: int, spec: CsSpec) -> None:
    """Set the SSRC of an SRTP entry, and ROC and SEQ if `spec` has them."""
    entry.session_data_length = None
    if spec.roc is None or spec.seq is None:
        entry.s, entry.session_data = 0, ssrc.to_bytes(4)
    else:
        entry.s = 1
        entry.session_data = SrtpSessionData(ssrc=ssrc, roc=spec.roc, seq=spec.seq).build()


def read_map(
    incoming: Incoming, *, complete: bool, known: Mapping[int, SP] | None = None
) -> tuple[list[GenericIdEntry], dict[int, SP]]:
    """Return the map of a transfer message, and its policies and the `known` ones by number.

    With `complete` each crypto session must have one policy, an SPI and, for SRTP, Session Data.
    `known` are policies of earlier messages. The map may refer to them too, and an SP may repeat
    them. Raises Refused (interpretations 24 to 26).
    """
    header = incoming.message.header
    policies = dict(known or {})
    for sp in incoming.message.all(SP):
        before = policies.setdefault(sp.policy_no, sp)
        if policy_content(before) != policy_content(sp):
            raise Refused(
                f"policy {sp.policy_no} was given before and said something else; another policy"
                " has a number of its own",
                ErrorNo.INVALID_SP,
            )
    if header.cs_id_map_type == CsIdMapType.EMPTY:
        if incoming.message.find(SP) is not None or header.cs_count:
            raise Refused(
                "an Empty map goes without SP and with #CS 0 (RFC 4563 5)", ErrorNo.INVALID_SP
            )
        return [], policies
    if header.cs_id_map_type != CsIdMapType.GENERIC_ID:
        raise Refused("Ticket Transfer takes a GENERIC-ID map (RFC 6043 6.1)")
    entries = [entry for entry in header.cs_id_map if isinstance(entry, GenericIdEntry)]
    if len({entry.cs_id for entry in entries}) != len(entries):
        raise Refused("two crypto sessions have the same CS ID")
    for entry in entries:
        _check_entry(entry, policies, complete=complete)
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
    if complete:
        check_complete(entry)


def check_complete(entry: GenericIdEntry) -> None:
    """Refuse a crypto session without exactly one policy, an SPI and, for SRTP, Session Data."""
    srtp = entry.protocol == ProtType.SRTP
    if len(entry.policies) != 1 or not entry.spi or (srtp and not entry.session_data):
        raise Refused(
            f"crypto session {entry.cs_id} misses its policy, Session Data or SPI",
            ErrorNo.INVALID_SPPAR,
        )


def answer_map(
    env: Environment,
    offered: Sequence[GenericIdEntry],
    offered_policies: Mapping[int, SP],
    keys: Sequence[KeyData],
    brought: Brought,
    *,
    sends: Mapping[int, bool] | None = None,
    taken: Sequence[GenericIdEntry] = (),
) -> list[CryptoSession]:
    """Build the crypto sessions of TRANSFER_RESP (4.2.2.3).

    Chooses the first offered policy that is accepted, and fills in missing SSRCs and SPIs. A spec
    with the CS ID of an offered crypto session applies to that, one without goes to the first that
    this end is to send, and any other adds one. In an update `sends` says of each known crypto
    session whether this end sends in it, and `taken` are those. Raises UsageError for specs that
    contradict the offer.
    """
    known = sends or {}
    specs = list(brought.crypto_sessions)
    for spec in specs:
        check_spec(spec)
    needed = brought.policies if any(not entry.policies for entry in offered) or specs else ()
    own = _renumbered(needed, offered_policies)
    taken = [*taken, *offered]
    chosen: list[CryptoSession] = []
    for entry in offered:
        ours = known.get(entry.cs_id, not entry.session_data)
        spec = _spec_for(entry, specs, ours=ours, is_new=entry.cs_id not in known)
        policy = _choose(entry, spec, offered_policies, own, brought)
        answer = entry.copy(
            policies=[policy.policy_no],
            policy_count=None,
            spi=_spi_for(spec, keys) or entry.spi or choose_spi(keys, taken),
            spi_length=None,
            session_data_length=None,
        )
        if ours and not entry.session_data:
            _draw_session_data(env, answer, spec, taken)
        elif spec.sets_session_data:
            before = srtp_session_data(entry) or (0, None, None)
            set_session_data(answer, before[0] if spec.ssrc is None else spec.ssrc, spec)
        if brought.arrangement is not None:
            answer = brought.arrangement.arrange(answer, not ours)
        taken.append(answer)
        chosen.append(CryptoSession(answer, policy, by_initiator=not ours))
    ids = _cs_ids([spec.cs_id for spec in specs], [entry.cs_id for entry in taken])
    for cs_id, spec in zip(ids, specs, strict=True):
        if not spec.send:
            raise UsageError("a responder can add streams that it sends, and no others")
        entry = _entry(cs_id, spec.protocol, [], b"")
        policy = _choose(entry, spec, offered_policies, own, brought)
        entry.policies = [policy.policy_no]
        entry.spi = _spi_for(spec, keys) or choose_spi(keys, taken)
        _draw_session_data(env, entry, spec, taken)
        taken.append(entry)
        chosen.append(CryptoSession(entry, policy, by_initiator=False))
    return chosen


def _spec_for(entry: GenericIdEntry, specs: list[CsSpec], *, ours: bool, is_new: bool) -> CsSpec:
    """Take the spec for an offered crypto session out of `specs`; without one, return an empty one.

    One without a CS ID goes to the next new crypto session that this end sends.
    """
    named = [spec for spec in specs if spec.cs_id == entry.cs_id]
    fitting = [
        spec for spec in specs
        if ours and is_new and spec.cs_id is None and spec.send and spec.protocol == entry.protocol
    ]  # fmt: skip
    for spec in (named or fitting)[:1]:
        check_spec(spec, entry=entry, local=ours)
        specs.remove(spec)
        return spec
    return CsSpec(send=ours, protocol=entry.protocol)


def _spi_for(spec: CsSpec, keys: Sequence[KeyData]) -> bytes:
    if spec.spi is not None and spec.spi not in {key.spi for key in keys}:
        raise UsageError(f"no key has the SPI {spec.spi.hex()} that a crypto session names")
    return spec.spi or b""


def _renumbered(own: Sequence[SP], offered: Mapping[int, SP]) -> list[SP]:
    """Return own policies, with numbers that the initiator did not use (interpretation 25)."""
    free = [number for number in range(256) if number not in offered]
    if len(free) < len(own):
        raise Refused("the offer leaves no policy number for the answer", ErrorNo.INVALID_SP)
    return [sp.copy(policy_no=number) for sp, number in zip(own, free, strict=False)]


def _choose(
    entry: GenericIdEntry,
    spec: CsSpec,
    offered: Mapping[int, SP],
    own: Sequence[SP],
    brought: Brought,
) -> SP:
    """Return the first acceptable policy offered for a crypto session, or else any that fits.

    If `spec` names policies, only those count.
    """
    candidates = [offered[number] for number in entry.policies] or [
        *own,
        *(sp for sp in offered.values() if sp not in own),
    ]
    if spec.policies:
        by_number = {sp.policy_no: sp for sp in candidates}
        if missing := set(spec.policies) - set(by_number):
            raise UsageError(
                f"policy {min(missing)} is not offered for crypto session {entry.cs_id}"
            )
        candidates = [by_number[number] for number in spec.policies]
    for policy in candidates:
        if brought.accepts(entry, policy):
            return policy
    raise Refused("no security policy is acceptable for a crypto session", ErrorNo.INVALID_SPPAR)
