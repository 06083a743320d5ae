"""What a CSB update may bring to a session, and the keys that protect it (RFC 6043 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mikeytool.crypto.derive import MessageKeys, message_keys
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.session import CryptoSession, Session, check_session_keys
from mikeytool.exchange.ticket import check_spis, ticket_digest
from mikeytool.exchange.transfer import (
    check_transfer_rands,
    open_own_kemac,
    refuse_unless,
)
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import IDR, KEMAC, RAND, RANDR, SP, TICKET, KeyData
from mikeytool.wire.registry import ErrorNo, IdRole, RandRole, TicketFlag

F = TicketFlag


def update_keys(session: Session) -> MessageKeys:
    """Return the keys of both messages of an update, for either direction (interpretation 29).

    Raises Refused for a session that no messages set up, which is that of a mixer.
    """
    if not session.mpk:
        raise Refused(
            "this is the session of a mixer, which takes no messages; conference mixer brings it up"
            " to date"
        )
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


def check_bundle(session: Session, incoming: Incoming) -> None:
    """Refuse a message of another crypto session bundle."""
    if incoming.csb_id != session.csb_id:
        raise Refused(
            f"the message is for another session: its CSB ID is {incoming.csb_id:#010x}, that"
            f" of this session is {session.csb_id:#010x}"
        )


def check_static(env: Environment, session: Session, incoming: Incoming) -> None:
    """Check what a verified message of an update repeats of the session (interpretation 44).

    Raises Refused for new RANDs or tickets, for identities other than the session's, and after the
    end of the ticket.
    """
    session.policy.check_validity(env.clock())
    for ticket in incoming.message.all(TICKET):
        if ticket_digest(ticket) != session.ticket_digest:
            raise Refused("an update brings no new ticket (5.2)", ErrorNo.INVALID_TICKET)
    known = {
        RandRole.INITIATOR.value: session.randr_i,
        RandRole.RESPONDER.value: session.randr_r,
        RandRole.KMS.value: session.randr_kms,
    }
    again = [known.get(one.rand_role) == one.rand for one in incoming.message.all(RANDR)]
    if incoming.message.find(RAND) is not None or not all(again):
        raise Refused("an update brings no new RAND (5.2)")
    initiator, responder = parties(session)
    named: dict[int, Identity] = {IdRole.INITIATOR: initiator, IdRole.RESPONDER: responder}
    for payload in incoming.message.all(IDR):
        if named.get(payload.id_role) != Identity.of(payload):
            raise Refused("it names other parties than the session has", ErrorNo.INVALID_ID)


def parties(session: Session) -> tuple[Identity, Identity]:
    """Return initiator and responder of the bundle, whichever end starts the update."""
    if session.role == IdRole.INITIATOR:
        return session.local, session.remote
    return session.remote, session.local


def check_may_send(session: Session, role: IdRole, keys: Sequence[KeyData]) -> None:
    """Refuse to send keys that the ticket does not let the end with a role send."""
    flag = F.L if role == IdRole.INITIATOR else F.M
    refuse_unless(
        not keys or flag in session.policy.flags,
        f"the ticket has no {flag.name} flag: this end must not send keys; request a ticket with"
        f" --flags=+{flag.name}",
    )


def keys_in(session: Session, incoming: Incoming, role: IdRole) -> Sequence[KeyData]:
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


def with_keys(session: Session, keys: Sequence[KeyData], now_ns: int) -> Session:
    """Return the session with new keys, which are not forked, in front (5.2).

    A key may be sent a second time, because the answer to its update may have been lost.
    """
    new = not_known(session, keys)
    since = {key.spi: now_ns for key in new if key.spi and now_ns}
    return replace(session, keys=(*new, *session.keys), keys_since={**session.keys_since, **since})


def not_known(session: Session, keys: Sequence[KeyData]) -> list[KeyData]:
    """Return the keys that the session has not; raises Refused for one that it must not get."""
    known = {(key.spi, key.type, key.key, key.salt) for key in session.keys}
    new = [key for key in keys if (key.spi, key.type, key.key, key.salt) not in known]
    check_spis((*new, *session.keys))
    check_transfer_rands(session.randr_i, session.randr_r, [session.mpk], new)
    return new


def with_policies(session: Session, sent: Sequence[SP], agreed: Sequence[CryptoSession]) -> Session:
    """Return the session with the policies of an update, so that later ones may refer to them."""
    used = [one.policy for one in agreed if one.policy is not None]
    every = {sp.policy_no: sp for sp in (*used, *sent)} | session.policies_by_number
    return replace(session, policies=tuple(every.values()))
