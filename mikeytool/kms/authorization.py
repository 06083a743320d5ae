"""Who may do what at the KMS: identities that users act as, and groups (RFC 6043 12.5,
interpretations 16 and 17).
"""

from __future__ import annotations

import re

from mikeytool.exchange.policy import TicketPolicy
from mikeytool.kms.store import Store, User
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity


def matches(identity: Identity, pattern: str) -> bool:
    """Whether an identity fits a pattern: octet by octet, `*` for any number of octets."""
    octets = pattern.encode("utf-8", "surrogateescape")
    expression = b".*".join(map(re.escape, octets.split(b"*")))
    return re.fullmatch(expression, identity.data, re.DOTALL) is not None


def may_act_as(store: Store, user: User, identity: Identity) -> bool:
    """Whether a user's key speaks for an identity: the user's own, or one of act-as."""
    if identity == user.identity:
        return True
    return any(matches(identity, pattern) for pattern in store.act_as(user.identity))


def acting_responder(store: Store, user: User, acting: Identity, policy: TicketPolicy) -> Identity:
    """Who resolves a ticket, as IDRr of the answer names them; raises Refused for others.

    That is who `acting` says, when the ticket names them or a group that they are in, else
    a responder of the ticket that the user may act as.
    """
    groups = store.groups_of(acting)
    if acting in policy.responders or any(group in policy.responders for group in groups):
        return acting
    for responder in policy.responders:
        if may_act_as(store, user, responder):
            return responder
    names = ", ".join(map(str, policy.responders)) or "nobody"
    raise Refused(f"{acting} may not resolve a ticket for {names}")
