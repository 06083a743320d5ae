"""CSB updating: new keys and crypto sessions for an existing session (RFC 6043 5.2).

Either end starts with `update_init`. The other end answers with `answer_update`, and the first end
finishes with `finish_update`. Both messages are protected with the keys of the last message of the
initial exchange, so only T makes their IVs differ (interpretations 1, 29). T is the business of
`freshness`, the map that of `update_map`, and what else an update may bring that of `update_rules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mikeytool.crypto.kemac import seal_kemac
from mikeytool.exchange.crypto_sessions import Arrangement, Brought, CsSpec
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message_on_refusal, raise_if_error
from mikeytool.exchange.incoming import Incoming, message_of
from mikeytool.exchange.profile import check_encr_alg, profile_of
from mikeytool.exchange.protection import check_mac, protect
from mikeytool.exchange.session import CryptoSession, Session, check_session_keys
from mikeytool.exchange.stream_names import stream_names
from mikeytool.exchange.ticket import check_fit, check_spis, for_key_wrap
from mikeytool.exchange.transfer import (
    AcceptPolicy,
    encr_alg_of,
    transfer_header,
)
from mikeytool.exchange.update_map import (
    after_update,
    agreed_map,
    answered_map,
    merged,
    offered_map,
)
from mikeytool.exchange.update_rules import (
    check_bundle,
    check_may_send,
    check_static,
    keys_in,
    not_known,
    own_role,
    parties,
    peer_of,
    update_keys,
    with_keys,
    with_policies,
)
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import is_end
from mikeytool.wire.payloads import IDR, SP, KeyData, Payload
from mikeytool.wire.registry import DataType, EncrAlg, IdRole, TicketFlag
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

    New keys and policies apply to every crypto session unless `crypto_sessions` says otherwise. A
    spec with an existing CS ID changes that session; any other adds one. The numbers of `policies`
    are those of the session (`Session.numbered`). The returned session is still the old one, except
    for what it remembers of T. Raises Refused for anything that the Ticket Policy does not allow,
    UsageError for an update that changes nothing or contradicts the session.
    """
    if not (crypto_sessions or kemac_keys or policies):
        raise UsageError(
            "an update takes new keys (--kemac), suites (--suite) or crypto sessions (--cs)"
        )
    profile = profile_of(session.policy.prf)
    encr_alg = encr_alg or profile.encr_alg
    check_encr_alg(profile, encr_alg)
    kemac_keys = for_key_wrap(env, encr_alg, kemac_keys)
    session.check_open()
    role, now = own_role(session), env.clock()
    check_may_send(session, role, kemac_keys)
    session.policy.check_validity(now)
    session.check_rekeyed(now)
    check_session_keys(kemac_keys, session.policy.prf)
    check_spis((*kemac_keys, *session.keys))
    entries, new = offered_map(env, session, crypto_sessions, policies, kemac_keys)
    _check_offer(session, kemac_keys, entries, policies)
    initiator, responder = parties(session)
    identities: list[Payload] = [initiator.idr(IdRole.INITIATOR), responder.idr(IdRole.RESPONDER)]
    if role == IdRole.RESPONDER:
        identities.reverse()
    payloads = [*env.extensions(), *stream_names(crypto_sessions), *identities, *new]
    content = _Content(session.fresh.next_t(env, role), entries, payloads, kemac_keys, encr_alg)
    message = _message(session, DataType.TRANSFER_INIT, content, initiator.data + responder.data)
    sent = Incoming.read(message, DataType.TRANSFER_INIT)
    return sent, replace(session, fresh=session.fresh.after_sending(sent))


def _check_offer(
    session: Session,
    keys: Sequence[KeyData],
    entries: Sequence[GenericIdEntry],
    policies: Sequence[SP],
) -> None:
    """Refuse what the other end would refuse: a wrong key length, or a key stream used twice."""
    every = {**session.policies_by_number, **{sp.policy_no: sp for sp in policies}}
    sure = [
        CryptoSession(one, every[one.policies[0]], by_initiator=True)
        for one in entries
        if len(one.policies) == 1 and one.spi
    ]
    after = after_update(session, sure, own_role(session), 0)
    session.check_with(after, (*not_known(session, keys), *session.keys))


def is_update_of(session: Session, incoming: Incoming) -> bool:
    """Return whether a message has the MAC of an update, though it may repeat the ticket (5.2)."""
    try:
        _check_mac(session, incoming)
    except Refused:
        return False
    return session.csb_id == incoming.csb_id


def _check_mac(session: Session, incoming: Incoming) -> None:
    initiator, responder = parties(session)
    check_mac(incoming, update_keys(session), initiator.data + responder.data)


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
    arrangement: Arrangement | None = None,
) -> tuple[bytes | None, Session]:
    """Return the answer to the other end's update and the new session.

    The answer is None if the update asks for none. Raises Refused if the update does not verify, is
    old, was sent by this end, or is not acceptable. If the update has verified, the refusal has an
    Error message for the other end (5.4). Raises UsageError for what this end cannot bring.
    """
    check_bundle(session, incoming)
    session.check_open()
    session.fresh.refuse_own(incoming)
    _check_mac(session, incoming)
    _check_own_keys(session, incoming, kemac_keys)
    with error_message_on_refusal(env, incoming, update_keys(session), supported):
        session.fresh.check(env, incoming)
        check_static(env, session, incoming)
        brought = Brought(accept_policy, crypto_sessions, policies, arrangement)
        return _answered(env, session, incoming, brought, kemac_keys)


def _answered(
    env: Environment,
    session: Session,
    incoming: Incoming,
    brought: Brought,
    kemac_keys: Sequence[KeyData],
) -> tuple[bytes | None, Session]:
    wants_answer, now = bool(incoming.message.header.v), env.clock()
    session = replace(session, fresh=session.fresh.after_receiving(incoming))
    if is_end(incoming.message):
        return None, session.ended(_moment(incoming, now))
    sent_keys = keys_in(session, incoming, peer_of(session))
    session = with_keys(session, (*kemac_keys, *sent_keys), now)
    new_keys = bool(kemac_keys or sent_keys)
    agreed = answered_map(env, session, incoming, brought, new_keys=new_keys)
    before, starter = session.policies_by_number, peer_of(session)
    session = with_policies(session, incoming.message.all(SP), agreed)
    session = merged(session, agreed, starter, _moment(incoming, now))
    session.check()
    session.check_rekeyed(now)
    if not wants_answer:
        return None, session
    offered = {*before, *(sp.policy_no for sp in incoming.message.all(SP))}
    added = [sp for number, sp in session.policies_by_number.items() if number not in offered]
    content = _Content(
        session.fresh.next_t(env, own_role(session)),
        [one.entry for one in agreed],
        [*env.extensions(), session.local.idr(own_role(session)), *added],
        kemac_keys,
        encr_alg_of(incoming),
    )
    answer = _message(session, DataType.TRANSFER_RESP, content, incoming.raw)
    sent = Incoming.read(answer, DataType.TRANSFER_RESP)
    return answer.raw, replace(session, fresh=session.fresh.after_sending(sent))


def _check_own_keys(session: Session, incoming: Incoming, keys: Sequence[KeyData]) -> None:
    """Refuse keys that this end may not send in its answer."""
    if keys and not incoming.message.header.v:
        raise UsageError("the update asks for no answer: there is nothing to send a key in")
    check_may_send(session, own_role(session), keys)
    check_session_keys(keys, session.policy.prf)
    check_fit(encr_alg_of(incoming), keys)


def finish_update(
    env: Environment,
    session: Session,
    init: Incoming,
    answer: bytes | Message,
    accept_policy: AcceptPolicy,
    supported: Sequence[SP] = (),
) -> Session:
    """Process the answer to one's own update `init`, and return the new session.

    `accept_policy` is called for policies that the answer adds. Raises as `answer_update` does,
    ErrorReceived if the other end refused, WireError if the answer cannot be read.
    """
    message = message_of(answer)
    raise_if_error(env, message, init.message.header, update_keys(session))
    incoming = Incoming.read(message, DataType.TRANSFER_RESP)
    check_bundle(session, incoming)
    incoming.check_answers(init.message.header)
    check_mac(incoming, update_keys(session), init.raw)
    with error_message_on_refusal(env, incoming, update_keys(session), supported):
        env.check_fresh(incoming.t)
        check_static(env, session, incoming)
        fresh = session.fresh.after_receiving(incoming, init)
        session = replace(session, fresh=fresh)
        return _finished(session, init, incoming, accept_policy, env.clock())


def _finished(
    session: Session, init: Incoming, incoming: Incoming, accept_policy: AcceptPolicy, now_ns: int
) -> Session:
    """Return the session after one's own update `init` and the verified answer to it."""
    own, peer = own_role(session), peer_of(session)
    session = with_keys(session, keys_in(session, init, own), now_ns)
    session = with_keys(session, keys_in(session, incoming, peer), now_ns)
    agreed = agreed_map(session, init, incoming, Brought(accept_policy))
    sent = (*init.message.all(SP), *incoming.message.all(SP))
    moment = _moment(init, now_ns)
    session = merged(with_policies(session, sent, agreed), agreed, own, moment)
    session.check()
    return session


def _moment(update: Incoming, now_ns: int) -> int:
    """Return T of an update in Unix nanoseconds: from then on the overlap of keys counts.

    For a COUNTER, and for a T in the future, it is the present time.
    """
    sent = update.t.unix_ns
    return now_ns if sent is None else min(sent, now_ns)


def observed_update(
    session: Session, init: bytes | Message, answer: bytes | Message | None
) -> Session:
    """Return an observer's session after an update and its answer, if it asks for one.

    Both are verified. Times are not checked, because captures are old. Raises Refused if one does
    not verify or does not fit, WireError if one cannot be read.
    """
    asked = Incoming.read(init, DataType.TRANSFER_INIT)
    answered = None if answer is None else Incoming.read(answer, DataType.TRANSFER_RESP)
    role = _starter(asked, answered)
    ends = session.local, session.remote
    local, remote = ends if role == IdRole.INITIATOR else ends[::-1]
    seen = replace(session, role=role, local=local, remote=remote)
    check_mac(asked, update_keys(seen), b"".join(one.data for one in parties(seen)))
    if answered is not None:
        answered.check_answers(asked.message.header)
        check_mac(answered, update_keys(seen), asked.raw)
        after = _finished(seen, asked, answered, lambda _policy: True, 0)
    elif asked.message.header.v:
        raise Refused("the answer settles keys and streams: give the TRANSFER_RESP as well")
    else:
        after = _unanswered(seen, asked)
    return replace(after, role=None, local=ends[0], remote=ends[1])


def _starter(init: Incoming, answer: Incoming | None) -> IdRole:
    """Return which end started an update that was observed.

    The answer names the end that answers, and the first identity of the update is its sender's.
    Without identities the lowest bit of T tells, if the sender keeps to interpretation 1.
    """
    answering = None if answer is None else answer.message.find(IDR)
    if answering is not None:
        by_responder = answering.id_role == IdRole.INITIATOR
    elif (roles := [idr.id_role for idr in init.message.all(IDR)])[1:]:
        by_responder = roles[0] == IdRole.RESPONDER
    else:
        by_responder = bool(init.t.value[-1] & 1)
    return IdRole.RESPONDER if by_responder else IdRole.INITIATOR


def _unanswered(session: Session, init: Incoming) -> Session:
    """Return the sender's session after an update that asks for no answer."""
    sent_keys = keys_in(session, init, own_role(session))
    session = with_keys(session, sent_keys, 0)
    # Whoever answers has nothing to bring.
    env = Environment(clock=lambda: 0, random=bytes)
    brought = Brought(lambda _policy: True)
    agreed = answered_map(env, session, init, brought, new_keys=bool(sent_keys))
    session = with_policies(session, init.message.all(SP), agreed)
    session = merged(session, agreed, own_role(session), 0)
    session.check()
    return session


class _Content(NamedTuple):
    """What is in a message of an update, apart from HDR and V."""

    t: Timestamp
    entries: Sequence[GenericIdEntry]
    payloads: Sequence[Payload]
    keys: Sequence[KeyData]
    encr_alg: int


def _message(session: Session, kind: DataType, content: _Content, behind: bytes) -> Message:
    profile, keys, csb_id = profile_of(session.policy.prf), update_keys(session), session.csb_id
    payloads: list[Payload] = [content.t.payload(), *content.payloads]
    if content.keys:
        payloads.append(seal_kemac(content.encr_alg, content.keys, keys, csb_id, content.t))
    v = kind == DataType.TRANSFER_INIT
    header = transfer_header(kind, profile, csb_id, content.entries, v=v)
    return protect(header, payloads, profile, keys, behind)
