"""Ways for a responder to get the keys of a ticket: from the KMS, with the key that protects the
ticket, or from a ticket file.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from mikeytool.client.credentials import Credentials
from mikeytool.client.kms_access import StoreKms, UrlKms
from mikeytool.client.ticket_files import read_ticket
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.offline_tickets import resolve_alone
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.resolve import ResolvedTicket
from mikeytool.exchange.ticket import ticket_octets
from mikeytool.exchange.transfer import TransferInit
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity

Resolve = Callable[[TransferInit], ResolvedTicket]
"""Resolves the ticket of a TRANSFER_INIT; raises Refused and the errors of a KMS."""


def with_kms(
    env: Environment,
    kms: Callable[[], StoreKms | UrlKms],
    credentials: Callable[[], Credentials],
    responder: Identity,
    kms_id: Identity | None = None,
) -> Resolve:
    """Resolve with Ticket Resolve (RFC 6043 4.2.3).

    The credentials and the KMS are opened when they are needed, in this order. `kms_id` goes into
    IDRkms instead of the KMS's own identity.
    """

    def resolve(init: TransferInit) -> ResolvedTicket:
        shown = credentials()
        with closing(kms()) as reached:
            profile = profile_of(init.policy.prf)
            identity = kms_id or reached.identity
            request = shown.resolve(env, profile, init.ticket, responder, identity)
            answer = reached.answer(env, request.init.raw)
            return request.resolved(env, answer, init.policy)

    return resolve


def with_tpk(env: Environment, tpk: bytes, responder: Identity) -> Resolve:
    """Resolve without the KMS, using the key that protects the ticket (modes 2 and 4)."""
    return lambda init: resolve_alone(env, init.ticket, tpk, responder)


def with_ticket_file(path: Path, responder: Identity) -> Resolve:
    """Take the keys from the file of a ticket that `responder` has resolved before.

    Raises StateError or WireError for a file that is not a ticket file, and Refused for the
    ticket of another responder.
    """
    ticket = read_ticket(path)
    if ticket.resolved_by is not None and ticket.resolved_by != responder:
        raise Refused(f"{path}: {ticket.resolved_by} resolved this ticket, not {responder}")

    def resolve(init: TransferInit) -> ResolvedTicket:
        if ticket.resolved_by is None:
            raise Refused(
                f"{path}: this ticket is for calling; give the one that `ticket resolve` saved"
            )
        if ticket_octets(ticket.ticket) != ticket_octets(init.ticket):
            raise Refused(f"{path}: the message has another ticket; resolve that one")
        if ticket.ticket.initiator_data != init.ticket.initiator_data and ticket.modifier:
            raise Refused(
                f"{path}: it was resolved for another TRANSFER_INIT; with key forking"
                " each takes a resolving of its own"
            )
        return ticket.resolved

    return resolve
