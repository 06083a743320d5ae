"""A user's tickets: made without the KMS, taken from its answers, or described."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from mikeytool.client.state import open_state
from mikeytool.client.ticket_files import Pending, TicketFile, policy_json
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.offline_tickets import create_ticket, resolve_alone
from mikeytool.exchange.ticket import ticket_octets
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.kms.grant import make_keys
from mikeytool.wire.describe import masked
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import TICKET
from mikeytool.wire.registry import EncrAlg


def make_ticket_file(
    env: Environment,
    policy: TicketPolicy,
    tpk: bytes,
    tpk_name: Identity | None = None,
    encr_alg: EncrAlg | None = None,
) -> TicketFile:
    """Make a ticket without the KMS, with new keys (modes 3 and 4 of RFC 6043 4.1.1).

    `tpk` is the ticket protection key, which the resolver of the ticket also has. `tpk_name` is
    the name of that key for IDRpsk. Raises Refused for a Ticket Policy that such a ticket cannot
    have, and UsageError for an unusable key.
    """
    keys = make_keys(env, policy.keys or ())
    made = create_ticket(env, policy, keys, tpk, tpk_name, encr_alg)
    return TicketFile(made.ticket, made.policy, made.keys)


def resolve_with_tpk(
    env: Environment, ticket: TICKET, tpk: bytes, responder: Identity
) -> TicketFile:
    """Resolve a ticket with the key that protects it (modes 2 and 4).

    Raises Refused when the key is a different one, or when `responder` is not among the
    responders.
    """
    resolved = resolve_alone(env, ticket, tpk, responder)
    return TicketFile.of_resolved(ticket, resolved, responder)


def accept_answer(
    env: Environment,
    pending: Pending,
    answer: bytes,
    path: Path,
    *,
    accept_changed: bool = False,
    force: bool = False,
    note: Callable[[str], None] = lambda _text: None,
) -> TicketFile:
    """Verify an answer of the KMS and write its ticket to a file.

    A resolved ticket is also remembered in the client's state. `note` is called with each
    difference from the Ticket Policy that was requested. Unless `accept_changed` is set, raises
    Refused for a difference other than a shorter validity. Raises ErrorReceived, Refused or
    WireError for an answer that does not verify, and StateError when the file cannot be written.
    """
    accepted, differences = pending.accept(env, answer)
    for difference in differences:
        note(f"changed by the KMS: {difference.text}")
    if any(difference.harm for difference in differences) and not accept_changed:
        raise Refused("the KMS changed the Ticket Policy; look at it and add --accept-changed")
    accepted.write(path, force=force)
    if accepted.resolved_by is not None:
        with closing(open_state()) as state:
            state.keep(env, accepted)
    return accepted


def describe_ticket(ticket: TICKET | TicketFile, *, show_keys: bool = False) -> dict[str, Any]:
    """Describe a ticket as `ticket show --json` prints it.

    Only a ticket file has keys. They are shown as the beginning of their SHA-256 unless
    `show_keys` is set.
    """
    if isinstance(ticket, TICKET):
        return {
            **policy_json(TicketPolicy.of(ticket)),
            "mpki": None,
            "mpkr": None,
            "keys": [],
            "used": None,
            "ticket": ticket_octets(ticket).hex(),
        }
    described = ticket.json()
    if not show_keys:
        _mask(described, "mpki", "mpkr")
        for key in described["keys"]:
            _mask(key, "key", "salt")
    return described


def _mask(described: dict[str, Any], *names: str) -> None:
    for name in names:
        if described[name]:
            described[name] = masked(bytes.fromhex(described[name]))
