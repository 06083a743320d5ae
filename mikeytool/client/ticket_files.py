"""Ticket files and pending requests, and a user's exchanges with a KMS (RFC 6043 4.2.1, 4.2.3).

A ticket file holds what `ticket show` shows: a ticket with its keys, either as the initiator
requested it or as a responder resolved it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.request import (
    Difference,
    HeldTicket,
    RequestInit,
    accept_request_resp,
    read_request_init,
)
from mikeytool.exchange.resolve import (
    Modifier,
    ResolvedTicket,
    ResolveInit,
    accept_resolve_resp,
    read_resolve_init,
)
from mikeytool.exchange.ticket import TicketKeys, new_key, ticket_octets
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.storage.private_files import Json, check_kind, parse_json, read_json, write_json
from mikeytool.wire.errors import MikeyError, Refused, WireError
from mikeytool.wire.identity import MAX_IDENTITY, Identity
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.message import Message, read_payload
from mikeytool.wire.message_types import REQUEST_INITS, RESOLVE_INITS
from mikeytool.wire.payloads import TICKET, KeyData
from mikeytool.wire.registry import ErrorNo, KeyType, label, labels

KIND = "ticket"
PENDING = "pending request"

BROKEN = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MikeyError,
)
"""The errors that reading a damaged file may raise."""

_MPK_SPI = b"\0"
"""MPKs have an SPI on the wire that nothing refers to, so files omit it."""


@dataclass(frozen=True, slots=True)
class TicketFile:
    """A ticket with its keys.

    `resolved_by` is the responder that resolved it, or None for the initiator's ticket.
    `responder` is the IDRr that the KMS returned. `modifier` is what a forked ticket needs.
    """

    ticket: TICKET
    policy: TicketPolicy
    keys: TicketKeys
    used: bool = False
    resolved_by: Identity | None = None
    responder: Identity | None = None
    modifier: Modifier | None = None

    @property
    def held(self) -> HeldTicket:
        """Return the ticket in the form that its initiator uses."""
        return HeldTicket(self.ticket, self.policy, self.keys)

    @property
    def resolved(self) -> ResolvedTicket:
        """Return the ticket in the form that its responder uses."""
        return ResolvedTicket(self.policy, self.keys, self.responder, self.modifier)

    @classmethod
    def of_resolved(cls, ticket: TICKET, resolved: ResolvedTicket, by: Identity) -> TicketFile:
        """Make a ticket file from a ticket that a responder has resolved."""
        return cls(
            ticket, resolved.policy, resolved.keys, False, by, resolved.responder, resolved.modifier
        )

    def json(self) -> Json:
        """Return the content of the file, which `ticket show --json` prints, including keys."""
        policy, keys = self.policy, self.keys
        content: Json = {
            **policy_json(policy),
            "mpki": keys.mpki.key.hex(),
            "mpkr": keys.mpkr.key.hex() if keys.mpkr else None,
            "keys": [key_json(key) for key in keys.keys],
            "used": self.used,
            "ticket": ticket_octets(self.ticket).hex(),
        }
        if self.resolved_by is not None:
            content["resolved_by"] = identity_json(self.resolved_by)
        if self.responder is not None:
            content["responder"] = identity_json(self.responder)
        if self.modifier is not None:
            content["randr_kms"] = self.modifier.randr_kms.hex()
            content["initiator_data"] = self.ticket.initiator_data.hex()
        return content

    @classmethod
    def of_json(cls, content: Json) -> TicketFile:
        """Reverse `json`; raises KeyError, ValueError or MikeyError for other content."""
        ticket = parse_ticket_octets(bytes.fromhex(content["ticket"]))
        policy = TicketPolicy.of(ticket)
        keys = TicketKeys(
            _mpk(content["mpki"]),
            _mpk(content["mpkr"]) if content["mpkr"] else None,
            tuple(key_of_json(key) for key in content["keys"]),
        )
        resolved_by, responder = (
            identity_of_json(content[name]) if content.get(name) else None
            for name in ("resolved_by", "responder")
        )
        modifier = None
        if responder is not None and content.get("randr_kms"):
            modifier = Modifier(responder, bytes.fromhex(content["randr_kms"]))
            sent = bytes.fromhex(content["initiator_data"])
            ticket = ticket.copy(initiator_data=sent, initiator_data_length=None)
        return cls(ticket, policy, keys, bool(content["used"]), resolved_by, responder, modifier)

    def write(self, path: Path, *, force: bool) -> None:
        """Write the ticket file."""
        write_json(path, KIND, self.json(), force=force)


def _mpk(octets: str) -> KeyData:
    return new_key(KeyType.MPK, bytes.fromhex(octets), None, _MPK_SPI)


def policy_json(policy: TicketPolicy) -> Json:
    """Return the parts of a Ticket Policy that `ticket show` names."""
    return {
        "kms": None if policy.kms is None else str(policy.kms),
        "initiator": None if policy.initiator is None else str(policy.initiator),
        "responders": [str(responder) for responder in policy.responders],
        "flags": policy.flags.letters,
        "valid_from": policy.valid_from and policy.valid_from.json,
        "valid_to": policy.valid_to and policy.valid_to.json,
        "rekey": policy.rekey,
        "apps": [str(app) for app in policy.apps],
    }


def identity_json(identity: Identity) -> Json:
    """Return an identity in the form that state files hold, octet for octet."""
    return {"id_type": int(identity.id_type), "id_hex": identity.data.hex(), "id": str(identity)}


def identity_of_json(content: Json) -> Identity:
    """Reverse `identity_json`; raises KeyError or ValueError for other content."""
    octets = bytes.fromhex(content["id_hex"])
    if len(octets) > MAX_IDENTITY:
        raise ValueError(f"an identity has {len(octets)} octets; it has at most {MAX_IDENTITY}")
    return Identity(octets, int(content["id_type"]))


def key_json(key: KeyData) -> dict[str, Any]:
    """Return a key in the form that ticket files and `ticket show --json` use."""
    return {
        "type": label(KeyType, key.type),
        "key": key.key.hex(),
        "salt": None if key.salt is None else key.salt.hex(),
        "spi": None if key.spi is None else key.spi.hex(),
    }


def key_of_json(content: dict[str, Any]) -> KeyData:
    """Reverse `key_json`; raises KeyError or ValueError for other content."""
    kind = {name: number for number, name in labels(KeyType).items()}[content["type"]]
    salt = None if content["salt"] is None else bytes.fromhex(content["salt"])
    spi = bytes.fromhex(content["spi"] or "")
    return new_key(KeyType(kind), bytes.fromhex(content["key"]), salt, spi)


def parse_ticket_octets(data: bytes) -> TICKET:
    """Reverse `ticket_octets`; raises WireError."""
    octets = b"\0" + data + b"\0\0"
    ticket, end = read_payload(TICKET, octets, 0, len(octets))
    if end != len(octets):
        raise WireError("this is no TICKET payload from Ticket Type to the end of Ticket Data")
    return ticket.copy(next_payload=None)


def read_ticket(path: Path) -> TicketFile:
    """Read a ticket file; raises StateError if it is missing, WireError if it is another file."""
    return ticket_of_json(read_json(path, KIND), str(path))


def ticket_of_json(content: Json, where: str) -> TicketFile:
    """Return the ticket file with this content; raises WireError for any other or a broken one."""
    check_kind(content, KIND, where)
    try:
        return TicketFile.of_json(content)
    except BROKEN:
        raise WireError(f"{where}: the ticket in it is broken; request a new one") from None


def find_ticket(data: bytes) -> TICKET | None:
    """Find the ticket in a ticket file, in a TRANSFER_INIT, or bare from Ticket Type on.

    Returns None when `data` contains no ticket. A ticket with the I flag needs its TRANSFER_INIT,
    because that holds the Initiator Data.
    """
    content = parse_json(data)
    if content is not None:
        try:
            return TicketFile.of_json(content).ticket
        except BROKEN:
            return None
    try:
        return Message.parse(data).find(TICKET)
    except MikeyError:
        pass
    for octets in (data, data[1:]):
        try:
            return parse_ticket_octets(octets)
        except WireError:
            continue
    return None


@masked_repr
@dataclass(frozen=True, slots=True)
class Pending:
    """A request to a KMS that waits for its answer, for `--pending`.

    `key` protects the answer: it is the pre-shared key or the envelope key.
    """

    init: RequestInit | ResolveInit
    key: bytes = field(repr=False)
    kms: Identity

    def write(self, path: Path, *, force: bool) -> None:
        """Write the pending file."""
        content = {
            "message": self.init.raw.hex(),
            "key": self.key.hex(),
            "kms": identity_json(self.kms),
        }
        write_json(path, PENDING, content, force=force)

    @classmethod
    def read(cls, path: Path) -> Pending:
        """Read a pending file; raises StateError or WireError."""
        content = read_json(path, PENDING)
        try:
            init, key = bytes.fromhex(content["message"]), bytes.fromhex(content["key"])
            return cls(_init_of(Message.parse(init)), key, identity_of_json(content["kms"]))
        except BROKEN:
            raise WireError(f"{path}: it is broken; make the request again") from None

    def accept(self, env: Environment, answer: bytes) -> tuple[TicketFile, Sequence[Difference]]:
        """Verify the answer; return the ticket, and how it differs from what was requested.

        Raises ErrorReceived, Refused or WireError.
        """
        if isinstance(self.init, ResolveInit):
            resolved = self.resolved(env, answer)
            if self.init.sender is None:
                raise Refused("the request does not name who resolves", ErrorNo.INVALID_ID)
            return TicketFile.of_resolved(self.init.ticket, resolved, self.init.sender), ()
        granted = accept_request_resp(env, self.init, self.key, answer)
        held = granted.held
        return TicketFile(held.ticket, held.policy, held.keys), granted.differences

    def resolved(
        self, env: Environment, answer: bytes, policy: TicketPolicy | None = None
    ) -> ResolvedTicket:
        """Verify the answer to a RESOLVE_INIT; raises the same errors as `accept`.

        `policy` is the policy of the ticket, if it is already known.
        """
        assert isinstance(self.init, ResolveInit)  # noqa: S101 - so it was made
        return accept_resolve_resp(env, self.init, self.key, answer, policy)


def _init_of(message: Message) -> RequestInit | ResolveInit:
    if message.header.data_type in RESOLVE_INITS:
        return read_resolve_init(message, RESOLVE_INITS)
    return read_request_init(message, REQUEST_INITS)
