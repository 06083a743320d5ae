"""The crypto sessions of a CSB update: what it changes, and how both ends agree (RFC 6043 5.2).

The map of an update is a delta by CS ID (interpretation 29). A known crypto session keeps its
protocol and its direction, and everything that the update leaves out of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mikeytool.exchange.crypto_sessions import (
    Brought,
    CsSpec,
    answer_map,
    check_complete,
    check_spec,
    offer_map,
    policy_numbers,
    read_map,
    set_session_data,
)
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.session import CryptoSession, Session, policy_content
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.registry import ErrorNo, IdRole, ProtType


def offered_map(
    env: Environment,
    session: Session,
    specs: Sequence[CsSpec],
    policies: Sequence[SP],
    new_keys: Sequence[KeyData],
) -> tuple[list[GenericIdEntry], list[SP]]:
    """Return the map of an update, and its SPs: those of `policies` that the session has not.

    New keys and policies apply to every crypto session unless `specs` says otherwise. A spec with
    an existing CS ID changes that crypto session, any other adds one. Raises UsageError for specs
    that contradict the session, and for a policy that no crypto session takes.
    """
    known = session.policies_by_number
    for sp in policies:
        if policy_content(known.get(sp.policy_no, sp)) != policy_content(sp):
            raise UsageError(f"the session has another policy {sp.policy_no}")
    present = {one.entry.cs_id: one for one in session.crypto_sessions}
    named = [spec.cs_id for spec in specs if spec.cs_id is not None]
    if len(set(named)) != len(named):
        raise UsageError("two crypto sessions have the same CS ID")
    every = {**known, **{sp.policy_no: sp for sp in policies}}
    chosen = [_with_numbers(spec, every, policies) for spec in specs or [
        CsSpec(session.is_local(one), one.entry.cs_id, protocol=one.entry.protocol)
        for one in session.crypto_sessions
    ]]  # fmt: skip
    spis = [key.spi or b"" for key in new_keys]
    changed = [spec for spec in chosen if spec.cs_id in present]
    entries = [
        _changed(session, present[spec.cs_id or 0], spec, spis[at % len(spis)] if spis else b"")
        for at, spec in enumerate(changed)
    ]
    added = [spec for spec in chosen if spec.cs_id not in present]
    keys = [*new_keys, *session.keys]
    if added:
        entries += offer_map(
            env, added, list(every.values()), keys, complete=False, taken=list(present)
        )
    known_spis = {key.spi for key in keys}
    for entry in entries:
        if entry.spi and entry.spi not in known_spis:
            raise UsageError(f"no key has the SPI {entry.spi.hex()} that a crypto session names")
    taken = {number for entry in entries for number in entry.policies}
    for sp in policies:
        if sp.policy_no not in taken:
            raise UsageError(
                f"no crypto session takes policy {sp.policy_no}: name it in --cs with"
                f" policy={sp.policy_no}"
            )
    return entries, [sp for sp in policies if sp.policy_no not in known]


def _with_numbers(spec: CsSpec, every: Mapping[int, SP], new: Sequence[SP]) -> CsSpec:
    """Return a spec with its policies: those that it names, or else the new ones that fit."""
    if spec.policies:
        policy_numbers(spec, list(every.values()))  # raises UsageError for one that is not there
        return spec
    fitting = tuple(sp.policy_no for sp in new if sp.protocol == spec.protocol)
    return replace(spec, policies=fitting) if fitting else spec


def _changed(
    session: Session, before: CryptoSession, spec: CsSpec, new_spi: bytes
) -> GenericIdEntry:
    """Return the entry that changes a crypto session as `spec` says."""
    entry, local = before.entry, session.is_local(before)
    check_spec(spec, entry=entry, local=local)
    assert before.policy is not None  # noqa: S101 - only an Empty map has none
    changed = entry.copy(
        policies=list(spec.policies) or [before.policy.policy_no],
        policy_count=None,
        spi=spec.spi or new_spi or entry.spi,
        spi_length=None,
        # ROC and SEQ say where the stream began; the other end has counted on since then.
        s=0,
        session_data=entry.session_data[:4] if entry.protocol == ProtType.SRTP
        else entry.session_data,
        session_data_length=None,
    )  # fmt: skip
    if spec.sets_session_data:
        set_session_data(changed, (before.ssrc or 0) if spec.ssrc is None else spec.ssrc, spec)
    return changed


def answered_map(
    env: Environment,
    session: Session,
    incoming: Incoming,
    brought: Brought,
    *,
    new_keys: bool,
) -> list[CryptoSession]:
    """Return the crypto sessions of the answer to an update; `session` has its keys already.

    With `new_keys` a crypto session for which the update names no key takes one of those.
    """
    offered, policies = read_map(incoming, complete=False, known=session.policies_by_number)
    present = {one.entry.cs_id: one for one in session.crypto_sessions}
    entries = [_filled(present.get(one.cs_id), one, new_keys=new_keys) for one in offered]
    if not incoming.message.header.v:
        if brought.crypto_sessions:
            raise UsageError("the update asks for no answer: there is nothing to put --cs in")
        return _complete(entries, policies, brought)
    return answer_map(
        env,
        entries,
        policies,
        session.keys,
        brought,
        sends={one.entry.cs_id: session.is_local(one) for one in session.crypto_sessions},
        taken=[one.entry for one in session.crypto_sessions],
    )


def _filled(
    before: CryptoSession | None, entry: GenericIdEntry, *, new_keys: bool
) -> GenericIdEntry:
    """Return an entry of an update with what it leaves out of a known crypto session."""
    if before is None:
        return entry
    if before.entry.protocol != entry.protocol:
        raise Refused(
            f"the update changes the protocol of crypto session {entry.cs_id}", ErrorNo.INVALID_SP
        )
    filled = entry.copy()
    if not entry.session_data:
        filled.s, filled.session_data = 0, before.entry.session_data[:4]
        if entry.protocol != ProtType.SRTP:
            filled.session_data = before.entry.session_data
        filled.session_data_length = None
    if not entry.policies and before.policy is not None:
        filled.policies, filled.policy_count = [before.policy.policy_no], None
    if not entry.spi and not new_keys:
        filled.spi, filled.spi_length = before.entry.spi, None
    return filled


def _complete(
    entries: Sequence[GenericIdEntry], policies: Mapping[int, SP], brought: Brought
) -> list[CryptoSession]:
    """Return the crypto sessions of an update that asks for no answer (V = 0)."""
    for entry in entries:
        check_complete(entry)
        if not brought.accept_policy(policies[entry.policies[0]]):
            raise Refused("a policy of the update is not supported", ErrorNo.INVALID_SPPAR)
    return [CryptoSession(one, policies[one.policies[0]], by_initiator=True) for one in entries]


def agreed_map(
    session: Session, init: Incoming, answer: Incoming, brought: Brought
) -> list[CryptoSession]:
    """Return the crypto sessions of the answer to one's own update `init`; raises Refused."""
    offered, known = read_map(init, complete=False, known=session.policies_by_number)
    entries, policies = read_map(answer, complete=True, known=known)
    if missing := {one.cs_id for one in offered} - {one.cs_id for one in entries}:
        raise Refused(f"the answer drops crypto session {min(missing)}")
    sent = {one.cs_id for one in offered if one.session_data}
    agreed = []
    for entry in entries:
        number = entry.policies[0]
        if number not in known and not brought.accept_policy(policies[number]):
            raise Refused("a policy in the answer is not supported", ErrorNo.INVALID_SPPAR)
        agreed.append(CryptoSession(entry, policies[number], by_initiator=entry.cs_id in sent))
    return agreed


def merged(
    session: Session, agreed: Sequence[CryptoSession], starter: IdRole, now_ns: int
) -> Session:
    """Return the session with the crypto sessions of an update, and without forgotten keys."""
    after = replace(session, crypto_sessions=after_update(session, agreed, starter, now_ns))
    forgotten = _spis(session) - _spis(after)
    return replace(
        after,
        keys=tuple(key for key in after.keys if key.spi not in forgotten),
        keys_since={spi: t for spi, t in after.keys_since.items() if spi not in forgotten},
    )


def after_update(
    session: Session, agreed: Sequence[CryptoSession], starter: IdRole, now_ns: int
) -> tuple[CryptoSession, ...]:
    """Return all crypto sessions of a session, with those of an update that `starter` started.

    In a new crypto session the end that set its SSRC sends: the starter if `by_initiator` is set,
    and otherwise the end that answered.
    """
    present = {one.entry.cs_id: one for one in session.crypto_sessions}
    for one in agreed:
        before = present.get(one.entry.cs_id)
        if before is None:
            by_initiator = one.by_initiator == (starter == IdRole.INITIATOR)
            present[one.entry.cs_id] = replace(one, by_initiator=by_initiator)
            continue
        if before.entry.protocol != one.entry.protocol:
            raise Refused(
                f"the update changes the protocol of crypto session {one.entry.cs_id}",
                ErrorNo.INVALID_SP,
            )
        present[one.entry.cs_id] = _after(before, one, now_ns)
    return tuple(present.values())


def _after(before: CryptoSession, one: CryptoSession, now_ns: int) -> CryptoSession:
    """Return a crypto session after an update; of its old keys, only the last is remembered.

    A stream without a new ROC goes on where it was.
    """
    previous, replaced_ns = before.previous, before.replaced_ns
    if before.entry.spi != one.entry.spi:
        previous, replaced_ns = (before.entry.spi,), now_ns
    entry = one.entry
    if before.entry.s and not entry.s and before.ssrc == one.ssrc:
        entry = entry.copy(s=1, session_data=before.entry.session_data, session_data_length=None)
    return replace(
        one,
        entry=entry,
        by_initiator=before.by_initiator,
        previous=previous,
        replaced_ns=replaced_ns,
    )


def _spis(session: Session) -> set[bytes]:
    """Return the SPIs that a session's crypto sessions refer to, including replaced ones."""
    return {spi for one in session.crypto_sessions for spi in (one.entry.spi, *one.previous)}
