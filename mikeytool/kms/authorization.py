"""Permissions at the KMS: identities that users may act as, and groups (RFC 6043 12.5,
interpretations 16 and 17).
"""

from __future__ import annotations

from typing import NamedTuple

from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.kms.store.records import Peer, User
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, StateError
from mikeytool.wire.identity import Identity
from mikeytool.wire.pattern import matches


def may_act_as(store: Store, user: User, identity: Identity) -> bool:
    """Whether an identity is the user's own, or matches one of the user's act-as patterns."""
    if identity == user.identity:
        return True
    return any(matches(identity, pattern) for pattern in store.act_as(user.identity))


def check_enabled(store: Store, identity: Identity, what: str, *, known: bool = True) -> None:
    """Refuse a user who is disabled. If `known` is set, refuse a removed user too."""
    user = store.user(identity)
    if user is not None and not user.enabled:
        raise Refused(f"{what} {identity} is disabled")
    if user is None and known:
        raise Refused(f"{what} {identity} is no longer a user")


class SpeaksForNobody(Refused, StateError):
    """Another KMS was added before operators had to say which identities it speaks for."""


def check_foreign(store: Store, identity: Identity) -> None:
    """Refuse an identity of ours if another KMS speaks for it.

    Otherwise that KMS could get the keys of all calls. Our identities are this KMS, users,
    groups, and all identities that a user may act as. They do not include removed users. To keep
    a user from coming back, disable the user instead of removing them.
    """
    if identity == store.identity:
        raise Refused(f"{identity} is the KMS here; no other KMS speaks for it")
    if store.user(identity) is not None:
        raise Refused(f"{identity} is a user here, and must ask here")
    if store.is_group(identity):
        raise Refused(f"{identity} is a group here; its members must ask")
    if any(matches(identity, pattern) for pattern in store.act_as()):
        raise Refused(f"{identity} is an identity that a user here may act as, and must ask here")


def is_ours(store: Store, identity: Identity) -> bool:
    """Whether an identity is one for which no other KMS speaks, as `check_foreign` decides."""
    try:
        check_foreign(store, identity)
    except Refused:
        return True
    return False


def check_speaks_for(store: Store, peer: Peer, identity: Identity) -> None:
    """Refuse an identity that matches none of the other KMS's patterns."""
    if not peer.patterns:
        raise SpeaksForNobody(
            f"{store.where}: it does not say for whom the KMS {peer.identity} speaks; see"
            f" kms peer set {store.where} {peer.identity} --for PATTERN"
        )
    if not peer.closeness(identity):
        raise Refused(
            f"the KMS {peer.identity} does not speak for {identity}; see `kms peer set --for`"
        )


class Responder(NamedTuple):
    """The responder that resolves a ticket, and the name in the ticket that admits them."""

    acting: Identity
    named: Identity


def acting_responder(
    store: Store, user: User, acting: Identity, ticket_policy: TicketPolicy
) -> Responder:
    """Return the responder that resolves a ticket, for the IDRr of the answer.

    This is `acting` if the ticket names them or one of their groups. Otherwise it is a responder
    in the ticket that the user may act as. Raises Refused if there is none.
    """
    if acting in ticket_policy.responders:
        return Responder(acting, acting)
    for group in store.groups_of(acting):
        if group in ticket_policy.responders:
            return Responder(acting, group)
    for responder in ticket_policy.responders:
        if may_act_as(store, user, responder):
            return Responder(responder, responder)
    names = ", ".join(map(str, ticket_policy.responders)) or "nobody"
    raise Refused(f"{acting} may not resolve a ticket for {names}")
