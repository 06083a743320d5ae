"""The Ticket Request exchange (RFC 6043 4.2.1).

The initiator calls `request_init`, then `accept_request_resp`. The KMS calls `read_request_init`,
`verify_init` of `kms_messages`, then `request_resp`. With a public key only REQUEST_INIT differs
(see `public_key`): the envelope key then protects the response instead of the PSK.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.kms_messages import (
    KmsExchange,
    KmsInit,
    fields_of,
    init_with_psk,
    keys_in_response,
    kms_response,
    verified_response,
)
from mikeytool.exchange.profile import Profile
from mikeytool.exchange.ticket import TicketKeys
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import TICKET, TP, KeyData
from mikeytool.wire.printable import number_of
from mikeytool.wire.registry import DataType, ErrorNo, IdRole, KeyType, RandRole, TicketFlag, label
from mikeytool.wire.timestamp import Timestamp

F = TicketFlag

TICKET_REQUEST = KmsExchange(
    DataType.REQUEST_INIT_PSK,
    DataType.REQUEST_INIT_PK,
    DataType.REQUEST_RESP,
    IdRole.INITIATOR,
    RandRole.INITIATOR,
)


@dataclass(frozen=True, slots=True)
class HeldTicket:
    """A ticket held by its initiator, with the keys that came with it."""

    ticket: TICKET
    policy: TicketPolicy
    keys: TicketKeys


@dataclass(frozen=True, slots=True)
class RequestInit(KmsInit):
    """A REQUEST_INIT with the Ticket Policy that it asks for."""

    exchange = TICKET_REQUEST

    policy: TicketPolicy


def request_init(
    env: Environment,
    profile: Profile,
    policy: TicketPolicy,
    *,
    initiator: Identity,
    kms: Identity,
    psk: bytes,
    psk_id: Identity | None = None,
) -> RequestInit:
    """Make a REQUEST_INIT_PSK that asks for a ticket with a policy (4.2.1.1, 4.2.1.2).

    Draws the CSB ID and RANDRi. Raises Refused for flags that contradict each other, UsageError for
    a key under 128 bits.
    """
    policy.check_flags()
    content = [policy.tp()]
    message = init_with_psk(
        env, TICKET_REQUEST, profile, content, sender=initiator, kms=kms, psk=psk, psk_id=psk_id
    )
    return request_init_of(Incoming.read(message, TICKET_REQUEST.init_psk), policy)


def request_init_of(incoming: Incoming, policy: TicketPolicy | None = None) -> RequestInit:
    """Return the REQUEST_INIT in a message; `policy` is its own policy, if already known."""
    fields = fields_of(TICKET_REQUEST, incoming)
    return RequestInit(*fields, policy or TicketPolicy.of(incoming.only(TP)))


def read_request_init(
    message: bytes | Message, variants: Sequence[DataType] = (DataType.REQUEST_INIT_PSK,)
) -> RequestInit:
    """Read a REQUEST_INIT of one of these variants (4.2.1.4); raises WireError and Refused."""
    return request_init_of(Incoming.read(message, *variants))


def request_resp(
    env: Environment,
    request: RequestInit,
    key: bytes,
    kms: Identity,
    ticket: TICKET,
    keys: TicketKeys,
) -> bytes:
    """Make the REQUEST_RESP with a ticket and its keys (4.2.1.5).

    `key` is the key that came with the request: the pre-shared key or the envelope key.
    """
    return kms_response(env, request, key, kms, keys, before=[ticket])


class Difference(NamedTuple):
    """A difference between the granted and the requested policy; less time is no `harm`."""

    text: str
    harm: bool


@dataclass(frozen=True, slots=True)
class Granted:
    """The result of a request; `asked` is the policy that the request asked for."""

    held: HeldTicket
    asked: TicketPolicy

    @property
    def differences(self) -> list[Difference]:
        """Return the differences between the granted policy and the requested one."""
        return policy_differences(self.asked, self.held)


def accept_request_resp(
    env: Environment, request: RequestInit, key: bytes, response: bytes | Message
) -> Granted:
    """Verify the response to a REQUEST_INIT and return its ticket (4.2.1.6).

    `key` is the pre-shared key or the envelope key. Raises ErrorReceived if the KMS refused,
    Refused if the response does not verify, WireError if it cannot be read. The caller decides
    whether the granted policy is acceptable, by its differences.
    """
    incoming = verified_response(env, request, key, response)
    ticket = bare_ticket(incoming.only(TICKET, ErrorNo.INVALID_TICKET))
    policy = TicketPolicy.of(ticket)
    policy.check_flags()
    if policy.prf != request.policy.prf:
        raise Refused(
            "the ticket is of another strength than was asked for (12.1)", ErrorNo.INVALID_PRF
        )
    keys = keys_in_response(request, key, incoming, policy)
    return Granted(HeldTicket(ticket, policy, keys), request.policy)


def bare_ticket(ticket: TICKET) -> TICKET:
    """Return a TICKET as the KMS makes it; raises Refused if it already has Initiator Data."""
    if ticket.initiator_data:
        raise Refused("a ticket from the KMS has no Initiator Data", ErrorNo.INVALID_TICKET)
    return ticket.copy(next_payload=None)


def policy_differences(asked: TicketPolicy, held: HeldTicket) -> list[Difference]:
    """Return how a granted policy differs from the requested one, in words for people."""
    granted = held.policy
    found = []
    for name, old, new in (
        ("flags", (asked.flags & ~F.K).letters, (granted.flags & ~F.K).letters),
        ("initiator", asked.initiator, granted.initiator),
        ("KMS", asked.kms or granted.kms, granted.kms),
        ("rekeying interval", asked.rekey, granted.rekey),
        ("ticket type", _form(asked), _form(granted)),
        ("applications", _texts(asked.apps), _texts(granted.apps)),
        ("responders", _texts(asked.responders), _texts(granted.responders)),
        ("keys", _kinds(asked.keys), _kinds(held.keys.keys)),
    ):
        if old not in (new, None):
            found.append(Difference(f"{name}: {old} asked, {new} granted", True))
    if asked.rekey is None and granted.rekey is not None:
        found.append(Difference(f"rekeying interval: {granted.rekey} s granted", False))
    start, end = asked.valid_from, asked.valid_to
    if _utc(start) != _utc(granted.valid_from):
        longer = _moment(granted.valid_from, 0) < _moment(start, 0)
        found.append(_validity("valid from", start, granted.valid_from, longer))
    if _utc(end) != _utc(granted.valid_to):
        longer = _moment(granted.valid_to, _FOREVER) > _moment(end, _FOREVER)
        found.append(_validity("valid to", end, granted.valid_to, longer))
    return found


_FOREVER = 1 << 64


def _form(policy: TicketPolicy) -> str:
    return f"{policy.ticket_type}.{policy.subtype}.{policy.version}"


def _validity(name: str, old: Timestamp | None, new: Timestamp | None, longer: bool) -> Difference:
    return Difference(f"{name}: {_utc(old)} asked, {_utc(new)} granted", longer)


def _moment(t: Timestamp | None, default: int) -> int:
    return default if t is None or t.unix_ns is None else t.unix_ns


def _utc(t: Timestamp | None) -> str | None:
    return None if t is None else t.utc or t.value.hex()


def _texts(identities: Sequence[Identity]) -> str:
    return ", ".join(map(str, identities)) or "none"


def _kinds(keys: Sequence[KeyData] | None) -> str | None:
    """Return types and lengths of keys, or None if a request leaves them to the KMS."""
    if keys is None:
        return None
    return (
        ", ".join(f"{label(KeyType, k.type)} of {number_of(len(k.key), 'octet')}" for k in keys)
        or "none"
    )
