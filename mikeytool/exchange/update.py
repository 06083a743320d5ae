"""CSB updating: new keys and crypto sessions for an existing session (RFC 6043 5.2).

Either end starts with `update_init`. The other end answers with `answer_update`, and the first end
finishes with `finish_update`. Both messages are protected with the keys of the last message of the
initial exchange, so only T makes their IVs differ (interpretations 1, 29).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mikeytool.crypto.derive import MessageKeys, message_keys
from mikeytool.crypto.kemac import seal_kemac
from mikeytool.exchange.crypto_sessions import CsSpec, answer_map, offer_map, read_map
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message_on_refusal, raise_if_error
from mikeytool.exchange.incoming import Incoming, message_of
from mikeytool.exchange.profile import check_encr_alg, profile_of
from mikeytool.exchange.protection import check_mac, protect
from mikeytool.exchange.session import CryptoSession, Session, check_session_keys
from mikeytool.exchange.ticket import check_fit, check_spis, for_key_wrap
from mikeytool.exchange.transfer import (
    AcceptPolicy,
    as_number,
    check_transfer_rands,
    encr_alg_of,
    open_own_kemac,
    refuse_unless,
    transfer_header,
)
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import IDR, KEMAC, RAND, RANDR, SP, TICKET, KeyData, Payload
from mikeytool.wire.registry import DataType, EncrAlg, ErrorNo, IdRole, TicketFlag, TsType
from mikeytool.wire.timestamp import Timestamp

F = TicketFlag


def update_init(
    env: Environment,
    session: Session,
    *,
    crypto_sessions: Sequence[CsSpec] = (),
    policies: Sequence[SP] = (),
    kemac_keys: Sequence[KeyData] = (),
    encr_alg: EncrAlg | None = None,
) -> tuple[Incoming, Session]:
    """Make the TRANSFER_INIT of an update, and return the session after sending it.

    New keys apply to every crypto session unless `crypto_sessions` says otherwise. A spec with an
    existing CS ID changes that session; any other adds one. The returned session is still the old
    one, except for its `last_t`. Raises Refused for anything that the Ticket Policy does not allow,
    UsageError for an update that changes nothing.
    """
    if not (crypto_sessions or kemac_keys):
        raise UsageError("an update takes new keys or crypto sessions")
    profile = profile_of(session.policy.prf)
    encr_alg = encr_alg or profile.encr_alg
    check_encr_alg(profile, encr_alg)
    kemac_keys = for_key_wrap(env, encr_alg, kemac_keys)
    _check_may_send(session, own_role(session), kemac_keys)
    session.policy.check_validity(env.clock())
    check_session_keys(kemac_keys, session.policy.prf)
    check_spis((*kemac_keys, *session.keys))
    entries = _offered(env, session, crypto_sessions, policies, kemac_keys)
    t = _next_t(env, session)
    initiator, responder = _parties(session)
    identities: list[Payload] = [
        initiator.idr(IdRole.INITIATOR),
        responder.idr(IdRole.RESPONDER),
    ]
    if session.role == IdRole.RESPONDER:
        identities.reverse()
    behind = initiator.data + responder.data
    message = _message(
        session,
        DataType.TRANSFER_INIT,
        t,
        entries,
        identities,
        policies,
        (encr_alg, kemac_keys),
        behind,
    )
    sent = Incoming.read(message, DataType.TRANSFER_INIT)
    return sent, replace(session, last_t=as_number(t))


def answer_update(
    env: Environment,
    session: Session,
    incoming: Incoming,
    accept_policy: AcceptPolicy,
    *,
    crypto_sessions: Sequence[CsSpec] = (),
    policies: Sequence[SP] = (),
    kemac_keys: Sequence[KeyData] = (),
    supported: Sequence[SP] = (),
) -> tuple[bytes | None, Session]:
    """Return the answer to the other end's update and the new session.

    The answer is None if the update asks for none. Raises Refused if the update does not verify, is
    old, was sent by this end, or is not acceptable. If the update has verified, the refusal has an
    Error message for the other end (5.4).
    """
    check_update(env, session, incoming)
    initiator, responder = _parties(session)
    check_mac(incoming, update_keys(session), initiator.data + responder.data)
    with error_message_on_refusal(env, incoming, update_keys(session), supported):
        return _answered(
            env, session, incoming, accept_policy, crypto_sessions, policies, kemac_keys
        )


def _answered(
    env: Environment,
    session: Session,
    incoming: Incoming,
    accept_policy: AcceptPolicy,
    crypto_sessions: Sequence[CsSpec],
    policies: Sequence[SP],
    kemac_keys: Sequence[KeyData],
) -> tuple[bytes | None, Session]:
    session = replace(session, last_t=as_number(incoming.t))
    session = _with_keys(session, _sent_keys(session, incoming, peer_of(session)))
    _check_may_send(session, own_role(session), kemac_keys)
    check_fit(encr_alg_of(incoming), kemac_keys)
    session = _with_keys(session, kemac_keys)
    known = _policies(session)
    entries, new = read_map(incoming, complete=False, known=known)
    by_initiator = peer_of(session) == IdRole.INITIATOR
    agreed = answer_map(
        env,
        entries,
        {**known, **new},
        session.keys,
        accept_policy,
        crypto_sessions,
        policies,
    )
    session = _merged(session, agreed, env.clock(), by_initiator=by_initiator)
    session.check()
    if not incoming.message.header.v:
        return None, session
    t = _next_t(env, session)
    ours = session.local.idr(own_role(session))
    added = [one.policy for one in agreed if one.policy is not None
             and one.policy.policy_no not in {**known, **new}]  # fmt: skip
    answer = _message(
        session, DataType.TRANSFER_RESP, t, [one.entry for one in agreed], [ours], added,
        (encr_alg_of(incoming), kemac_keys), incoming.raw,
    )  # fmt: skip
    return answer.raw, replace(session, last_t=as_number(t))


def finish_update(
    env: Environment,
    session: Session,
    init: Incoming,
    answer: bytes | Message,
    accept_policy: AcceptPolicy,
    supported: Sequence[SP] = (),
) -> Session:
    """Process the answer to one's own update `init`, and return the new session.

    Raises as `answer_update` does, ErrorReceived if the other end refused, WireError if the answer
    cannot be read.
    """
    message = message_of(answer)
    raise_if_error(env, message, init.message.header, update_keys(session))
    incoming = Incoming.read(message, DataType.TRANSFER_RESP)
    check_update(env, session, incoming)
    incoming.check_answers(init.message.header)
    check_mac(incoming, update_keys(session), init.raw)
    with error_message_on_refusal(env, incoming, update_keys(session), supported):
        return _finished(session, init, incoming, accept_policy, env.clock())


def _finished(
    session: Session, init: Incoming, incoming: Incoming, accept_policy: AcceptPolicy, now_ns: int
) -> Session:
    session = replace(session, last_t=max(session.last_t, as_number(incoming.t)))
    session = _with_keys(session, _sent_keys(session, init, own_role(session)))
    session = _with_keys(session, _sent_keys(session, incoming, peer_of(session)))
    known = _policies(session)
    offered, new = read_map(init, complete=False, known=known)
    entries, added = read_map(incoming, complete=True, known={**known, **new})
    if missing := {one.cs_id for one in offered} - {one.cs_id for one in entries}:
        raise Refused(f"the answer drops crypto session {min(missing)}")
    everything = {**known, **new, **added}
    mine = {one.cs_id for one in offered if one.session_data}
    agreed = []
    for entry in entries:
        policy = everything[entry.policies[0]]
        if not accept_policy(policy):
            raise Refused("a policy in the answer is not supported", ErrorNo.INVALID_SPPAR)
        agreed.append(CryptoSession(entry, policy, by_initiator=entry.cs_id in mine))
    session = _merged(session, agreed, now_ns, by_initiator=session.role == IdRole.INITIATOR)
    session.check()
    return session


def observed_update(
    session: Session, init: bytes | Message, answer: bytes | Message | None
) -> Session:
    """Return an observer's session after an update and its answer, if it asks for one.

    Both are verified. Times are not checked, because captures are old. Raises Refused if one does
    not verify or does not fit, WireError if one cannot be read.
    """
    asked = Incoming.read(init, DataType.TRANSFER_INIT)
    role = IdRole.RESPONDER if _is_of_responder(asked.t) else IdRole.INITIATOR
    ends = session.local, session.remote
    local, remote = ends if role == IdRole.INITIATOR else ends[::-1]
    seen = replace(session, role=role, local=local, remote=remote)
    check_mac(asked, update_keys(seen), b"".join(one.data for one in _parties(seen)))
    if answer is not None:
        answered = Incoming.read(answer, DataType.TRANSFER_RESP)
        answered.check_answers(asked.message.header)
        check_mac(answered, update_keys(seen), asked.raw)
        after = _finished(seen, asked, answered, lambda _policy: True, 0)
    elif asked.message.header.v:
        raise Refused("the answer settles keys and streams: give the TRANSFER_RESP as well")
    else:
        after = _unanswered(seen, asked)
    return replace(after, role=None, local=ends[0], remote=ends[1])


def _unanswered(session: Session, init: Incoming) -> Session:
    """Return the sender's session after an update that asks for no answer."""
    session = replace(session, last_t=as_number(init.t))
    session = _with_keys(session, _sent_keys(session, init, own_role(session)))
    known = _policies(session)
    entries, new = read_map(init, complete=False, known=known)
    agreed = [
        CryptoSession(one, {**known, **new}[one.policies[0]], by_initiator=bool(one.session_data))
        for one in entries
    ]
    session = _merged(session, agreed, 0, by_initiator=session.role == IdRole.INITIATOR)
    session.check()
    return session


def update_keys(session: Session) -> MessageKeys:
    """Return the keys of both messages of an update, for either direction (interpretation 29)."""
    return message_keys(
        session.policy.prf,
        session.mpk,
        session.csb_id,
        response=F.F in session.policy.flags,
        randr_i=session.randr_i,
        randr_r=session.randr_r if F.G in session.policy.flags else b"",
    )


def peer_of(session: Session) -> IdRole:
    """Return the role of the other end in the crypto session bundle."""
    return IdRole.RESPONDER if own_role(session) == IdRole.INITIATOR else IdRole.INITIATOR


def own_role(session: Session) -> IdRole:
    """Return the role of this end; raises Refused for an observer, who has none."""
    if session.role is None:
        raise Refused("this session was recovered from a capture: an observer does not update it")
    return session.role


def check_update(env: Environment, session: Session, incoming: Incoming) -> None:
    """Check an update message from the other end; its MAC is not verified yet.

    Raises Refused for another CSB ID, for a T that is not above all earlier ones or has this end's
    lowest bit, for new RANDs or tickets, and for identities other than the session's.
    """
    if incoming.csb_id != session.csb_id:
        raise Refused(f"it is of the bundle {incoming.csb_id:#010x}, not {session.csb_id:#010x}")
    if any(incoming.message.find(kind) for kind in (TICKET, RANDR, RAND)):
        raise Refused("an update brings no new ticket and no new RAND (5.2)")
    session.policy.check_validity(env.clock())
    env.check_fresh(incoming.t)
    if as_number(incoming.t) <= session.last_t:
        raise Refused("its T is not above every one before: it was seen already",
                      ErrorNo.INVALID_TS)  # fmt: skip
    if _is_of_responder(incoming.t) != (peer_of(session) == IdRole.RESPONDER):
        raise Refused("this update is one's own; it is for the other end", ErrorNo.AUTH_FAILURE)
    initiator, responder = _parties(session)
    named: dict[int, Identity] = {IdRole.INITIATOR: initiator, IdRole.RESPONDER: responder}
    for payload in incoming.message.all(IDR):
        if named.get(payload.id_role) != Identity.of(payload):
            raise Refused("it names other parties than the session has", ErrorNo.INVALID_ID)


def _parties(session: Session) -> tuple[Identity, Identity]:
    """Return initiator and responder of the bundle, whichever end starts the update."""
    if session.role == IdRole.INITIATOR:
        return session.local, session.remote
    return session.remote, session.local


def _is_of_responder(t: Timestamp) -> bool:
    """Return whether the bundle's responder sent a T: its lowest bit is then 1."""
    return bool(t.value[-1] & 1)


def _next_t(env: Environment, session: Session) -> Timestamp:
    """Return a T above all earlier ones, with this end's lowest bit."""
    now = env.timestamp()
    last = session.last_t >> (32 if now.ts_type == TsType.NTP_UTC_32 else 0)
    bit = int(session.role == IdRole.RESPONDER)
    value = max(int.from_bytes(now.value), last + 1) & ~1 | bit
    if value <= last:
        value += 2
    return Timestamp(now.ts_type, value.to_bytes(len(now.value)))


def _check_may_send(session: Session, role: IdRole, keys: Sequence[KeyData]) -> None:
    flag = F.L if role == IdRole.INITIATOR else F.M
    refuse_unless(
        not keys or flag in session.policy.flags,
        f"the ticket has no {flag.name} flag: this end must not send keys",
    )


def _sent_keys(session: Session, incoming: Incoming, role: IdRole) -> Sequence[KeyData]:
    """Return the keys in the KEMAC of a verified message from the end with a role."""
    if incoming.message.find(KEMAC) is None:
        return ()
    flag = F.L if role == IdRole.INITIATOR else F.M
    refuse_unless(
        flag in session.policy.flags, f"a KEMAC came, but the ticket has no {flag.name} flag"
    )
    keys = open_own_kemac(incoming, update_keys(session))
    check_session_keys(keys, session.policy.prf)
    return keys


def _with_keys(session: Session, keys: Sequence[KeyData]) -> Session:
    """Return the session with new keys, which are not forked, in front (5.2).

    A key may be sent a second time, because the answer to its update may have been lost.
    """
    known = {(key.spi, key.type, key.key, key.salt) for key in session.keys}
    new = [key for key in keys if (key.spi, key.type, key.key, key.salt) not in known]
    check_spis((*new, *session.keys))
    check_transfer_rands(session.randr_i, session.randr_r, [session.mpk], new)
    return replace(session, keys=(*new, *session.keys))


def _policies(session: Session) -> dict[int, SP]:
    return {
        one.policy.policy_no: one.policy
        for one in session.crypto_sessions
        if one.policy is not None
    }


def _offered(
    env: Environment,
    session: Session,
    specs: Sequence[CsSpec],
    policies: Sequence[SP],
    new_keys: Sequence[KeyData],
) -> list[GenericIdEntry]:
    """Return the map of an update: changed and new crypto sessions, by CS ID."""
    present = {one.entry.cs_id: one.entry for one in session.crypto_sessions}
    if not specs:
        spis = [key.spi or b"" for key in new_keys]
        return [
            entry.copy(spi=spis[at % len(spis)], spi_length=None)
            for at, entry in enumerate(present.values())
        ]
    known = {**_policies(session), **{sp.policy_no: sp for sp in policies}}
    changed = [spec for spec in specs if spec.cs_id in present]
    fresh = _with_free_ids([spec for spec in specs if spec.cs_id not in present], present)
    keys = [*new_keys, *session.keys]
    entries = offer_map(env, fresh, list(known.values()), keys, complete=False)
    for spec in changed:
        entry = present[spec.cs_id or 0]
        spi = spec.spi or (new_keys[0].spi if new_keys else None) or entry.spi
        entries.append(entry.copy(spi=spi, spi_length=None))
    return entries


def _with_free_ids(specs: Sequence[CsSpec], present: Mapping[int, GenericIdEntry]) -> list[CsSpec]:
    taken = {*present, *(spec.cs_id for spec in specs)}
    free = (number for number in range(1, 256) if number not in taken)
    return [spec if spec.cs_id else replace(spec, cs_id=next(free, 255)) for spec in specs]


def _merged(
    session: Session, agreed: Sequence[CryptoSession], now_ns: int, *, by_initiator: bool
) -> Session:
    """Return the session with the crypto sessions of an update merged in, by CS ID.

    A known crypto session keeps its direction and protocol. In a new one, the end that set its SSRC
    sends. This is the end that started the update (`by_initiator` says which) or the end that
    answered.
    """
    present = {one.entry.cs_id: one for one in session.crypto_sessions}
    for one in agreed:
        before = present.get(one.entry.cs_id)
        given = one.by_initiator == by_initiator
        if before is None:
            present[one.entry.cs_id] = replace(one, by_initiator=given)
            continue
        if before.entry.protocol != one.entry.protocol:
            raise Refused(
                f"the update changes the protocol of crypto session {one.entry.cs_id}",
                ErrorNo.INVALID_SP,
            )
        present[one.entry.cs_id] = _after(before, one, now_ns)
    merged = replace(session, crypto_sessions=tuple(present.values()))
    forgotten = _spis(session) - _spis(merged)
    return replace(merged, keys=tuple(key for key in merged.keys if key.spi not in forgotten))


def _after(before: CryptoSession, one: CryptoSession, now_ns: int) -> CryptoSession:
    """Return a crypto session after an update; of its old keys, only the last is remembered."""
    previous, replaced_ns = before.previous, before.replaced_ns
    if before.entry.spi != one.entry.spi:
        previous, replaced_ns = (before.entry.spi,), now_ns
    return replace(
        one, by_initiator=before.by_initiator, previous=previous, replaced_ns=replaced_ns
    )


def _spis(session: Session) -> set[bytes]:
    """Return the SPIs that a session's crypto sessions refer to, including replaced ones."""
    return {spi for one in session.crypto_sessions for spi in (one.entry.spi, *one.previous)}


def _message(
    session: Session,
    kind: DataType,
    t: Timestamp,
    entries: Sequence[GenericIdEntry],
    identities: Sequence[Payload],
    policies: Sequence[SP],
    sent_keys: tuple[int, Sequence[KeyData]],
    behind: bytes,
) -> Message:
    profile = profile_of(session.policy.prf)
    keys = update_keys(session)
    payloads: list[Payload] = [t.payload(), *identities, *policies]
    encr_alg, kemac_keys = sent_keys
    if kemac_keys:
        payloads.append(seal_kemac(encr_alg, kemac_keys, keys, session.csb_id, t))
    v = kind == DataType.TRANSFER_INIT
    header = transfer_header(kind, profile, session.csb_id, entries, v=v)
    return protect(header, payloads, profile, keys, behind)
