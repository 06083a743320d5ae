"""Tickets without the KMS (RFC 6043 4.1.1, modes 2 to 4).

The initiator makes the ticket or the responder resolves it, or both, with a ticket protection key
that they share with the KMS or each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.profile import check_key
from mikeytool.exchange.request import HeldTicket
from mikeytool.exchange.resolve import ResolvedTicket
from mikeytool.exchange.ticket import BaseTicket, make_ticket
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import TICKET, KeyData
from mikeytool.wire.registry import EncrAlg, ErrorNo, TicketFlag

F = TicketFlag


def create_ticket(
    env: Environment,
    policy: TicketPolicy,
    keys: Sequence[KeyData],
    tpk: bytes,
    tpk_id: Identity | None,
    encr_alg: EncrAlg | None = None,
) -> HeldTicket:
    """Make a ticket as its initiator (modes 3 and 4); the D flag must be 0.

    `encr_alg` replaces the profile's default. Raises Refused for flags that contradict each other
    or the keys and for a ticket type that is not known here, UsageError for a key under 128 bits.
    """
    policy.check_base_ticket()
    policy.check_flags()
    policy.check_forks(keys)
    check_key(tpk, "ticket protection key")
    if F.D in policy.flags:
        raise Refused("D says that the KMS made the ticket; this one is made here")
    ticket, handed_out = make_ticket(env, policy.granted(), keys, tpk, tpk_id, encr_alg)
    return HeldTicket(ticket, policy.granted(), handed_out)


def resolve_alone(env: Environment, ticket: TICKET, tpk: bytes, local: Identity) -> ResolvedTicket:
    """Resolve a ticket with its TPK for the responder `local` (modes 2 and 4).

    The ticket must name `local` itself (interpretation 17), because only the KMS knows the members
    of a group. Raises Refused if it does not, if the E flag requires the KMS, outside the validity
    period, and if the ticket does not verify.
    """
    base = BaseTicket.of(ticket)
    policy = base.policy
    policy.check_base_ticket()
    policy.check_flags()
    if F.E in policy.flags:
        raise Refused(
            "the E flag of the ticket asks for the KMS to resolve it", ErrorNo.INVALID_TICKET
        )
    if local not in policy.responders:
        names = ", ".join(map(str, policy.responders)) or "nobody"
        raise Refused(f"the ticket is for {names}, not for {local}; for a group ask the KMS")
    keys = base.open(tpk)
    policy.check_validity(env.clock())
    return ResolvedTicket(policy, keys, None, None)
