"""Ticket protection keys: which one a new ticket gets, and which tickets a key can protect."""

from __future__ import annotations

from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.kms.authorization import check_enabled
from mikeytool.kms.kms_policy import KmsPolicy
from mikeytool.kms.store.records import Tpk
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import ErrorNo, TicketFlag


def tpk_for(store: Store, kms_policy: KmsPolicy, asked: TicketPolicy) -> Tpk:
    """The key that protects a new ticket.

    This is the key shared with the responder only if the initiator asks for it, and the ticket has
    exactly one responder, who is an enabled user.
    """
    wants_shared = TicketFlag.E not in asked.flags and TicketFlag.I not in asked.flags
    shared = None
    if wants_shared and not kms_policy.require_forking and len(asked.responders) == 1:
        party = store.user(asked.responders[0])
        if party is not None and party.enabled:
            shared = store.shared_tpk(party.identity)
    if shared is not None and len(shared.key) >= profile_of(asked.prf).key_length:
        return shared
    own = store.tpk()
    if own is None:
        raise Refused("the KMS has no ticket protection key")
    return own


def check_before_rotation(tpk: Tpk, ticket_policy: TicketPolicy) -> None:
    """Refuse a ticket under a rotated key if it ends later than any ticket made with the key."""
    if tpk.current or tpk.until_ns is None:
        return
    end = None if ticket_policy.valid_to is None else ticket_policy.valid_to.unix_ns
    if end is None or end > tpk.until_ns:
        raise Refused(
            f"the ticket is protected with the key {tpk.name}, which was rotated out, and is"
            " valid for longer than any ticket that was made with it",
            ErrorNo.INVALID_TICKET,
        )


def check_maker(store: Store, tpk: Tpk, ticket_policy: TicketPolicy) -> None:
    """Refuse a ticket that the owner of its protection key was not allowed to make.

    Anyone who has a key can make tickets with it. The KMS's own key protects tickets made by the
    KMS. A key shared with a user protects tickets that the user made as initiator (D is 0), and
    tickets that the KMS made for the user. In both cases the user must be enabled.
    """
    if tpk.shared_with is None:
        if TicketFlag.D not in ticket_policy.flags:
            raise Refused("D is 0, but only the KMS has this key", ErrorNo.INVALID_TICKET)
        return
    check_enabled(store, tpk.shared_with, "the owner of the ticket's protection key")
    flags = ticket_policy.flags
    made_by_user = TicketFlag.D not in flags and ticket_policy.initiator == tpk.shared_with
    for_user = TicketFlag.E not in flags and ticket_policy.responders == (tpk.shared_with,)
    if not (made_by_user or for_user):
        raise Refused(
            f"the ticket is protected with the key of {tpk.shared_with}, who may not have made it",
            ErrorNo.INVALID_TICKET,
        )
