"""Who may do what at the KMS: identities that users act as, and groups (RFC 6043 12.5,
interpretations 16 and 17).
"""

from __future__ import annotations

from typing import NamedTuple

from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.kms.store.records import User
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.pattern import matches


def may_act_as(store: Store, user: User, identity: Identity) -> bool:
    """Whether a user's key speaks for an identity: the user's own, or one of act-as."""
    if identity == user.identity:
        return True
    return any(matches(identity, pattern) for pattern in store.act_as(user.identity))


def check_foreign(store: Store, acting: Identity) -> None:
    """Refuse another KMS that speaks for one of ours; it could have the keys of all calls.

    Ours are users, groups, and whoever a user may act as. Whom this KMS knows no more, a
    user who was removed, it cannot tell from a stranger: disable who must not come back.
    """
    if store.user(acting) is not None:
        raise Refused(f"{acting} is a user here, and has to ask here")
    if store.is_group(acting):
        raise Refused(f"{acting} is a group here, whose members have to ask")
    if any(matches(acting, pattern) for pattern in store.act_as()):
        raise Refused(f"{acting} is somebody whom a user here acts as, and has to ask here")


class Responder(NamedTuple):
    """Who resolves a ticket, and by which of the names in it."""

    acting: Identity
    named: Identity


def acting_responder(store: Store, user: User, acting: Identity, policy: TicketPolicy) -> Responder:
    """Who resolves a ticket, as IDRr of the answer names them; raises Refused for others.

    That is who `acting` says, when the ticket names them or a group that they are in, else
    a responder of the ticket that the user may act as.
    """
    if acting in policy.responders:
        return Responder(acting, acting)
    for group in store.groups_of(acting):
        if group in policy.responders:
            return Responder(acting, group)
    for responder in policy.responders:
        if may_act_as(store, user, responder):
            return Responder(responder, responder)
    names = ", ".join(map(str, policy.responders)) or "nobody"
    raise Refused(f"{acting} may not resolve a ticket for {names}")
