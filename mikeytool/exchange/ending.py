"""Ending a session (interpretation 51).

RFC 6043 has no message for it. A CSB update that brings neither keys nor policies nor crypto
sessions, and asks for no answer, changes nothing; it says that its sender has ended the session.
"""

from __future__ import annotations

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.protection import protect
from mikeytool.exchange.session import Session
from mikeytool.exchange.transfer import transfer_header
from mikeytool.exchange.update_rules import own_role, parties, update_keys
from mikeytool.wire.payloads import Payload
from mikeytool.wire.registry import DataType, IdRole


def end_init(env: Environment, session: Session) -> bytes:
    """Return the TRANSFER_INIT that ends a session; nobody answers it.

    Raises Refused if the ticket has expired, because no update is valid after that.
    """
    session.policy.check_validity(env.clock())
    role, profile = own_role(session), profile_of(session.policy.prf)
    initiator, responder = parties(session)
    identities: list[Payload] = [initiator.idr(IdRole.INITIATOR), responder.idr(IdRole.RESPONDER)]
    if role == IdRole.RESPONDER:
        identities.reverse()
    header = transfer_header(DataType.TRANSFER_INIT, profile, session.csb_id, (), v=False)
    payloads = [session.fresh.next_t(env, role).payload(), *identities]
    behind = initiator.data + responder.data
    return protect(header, payloads, profile, update_keys(session), behind).raw
