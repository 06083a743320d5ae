"""A message as the rules see it: its readable content, and the previous message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, NamedTuple, TypeVar

from mikeytool.lint.notation import Layout, inner_layout, message_layout, name_of
from mikeytool.lint.rule import HEADER, Place, Relation, Spot
from mikeytool.wire.errors import WireError
from mikeytool.wire.extensions import read_extension
from mikeytool.wire.generate_builder import build
from mikeytool.wire.grammar import Record
from mikeytool.wire.header import HDR, GenericIdEntry, SrtpIdEntry
from mikeytool.wire.message import Message, content, contents
from mikeytool.wire.message_types import ANSWERED, answers, is_update, updates
from mikeytool.wire.mission_critical import is_mission_critical
from mikeytool.wire.payloads import (
    IDR,
    KEMAC,
    RANDR,
    SP,
    TICKET,
    TP,
    GeneralExt,
    KeyData,
    Payload,
    V,
)
from mikeytool.wire.protocol_list import Carried
from mikeytool.wire.registry import (
    DataType,
    EncrAlg,
    IdRole,
    KeyType,
    ProtType,
    RandRole,
    TicketType,
    label,
    labels,
)
from mikeytool.wire.srtp_policy import SrtpPolicy

D = DataType
P = TypeVar("P", bound=Payload)


@dataclass(slots=True)
class Within:
    """What holds payloads: the message itself, or `content`, the name of a field of `holder`.

    `parent` is the layer in which the holder stands; `names` and `labels` are those of the
    payloads, with and without their roles.
    """

    name: str
    layout: Layout | None
    payloads: list[Payload]
    names: tuple[str, ...] = field(init=False)
    labels: tuple[str, ...] = field(init=False)
    content: str = ""
    holder: Payload | None = None
    parent: Within | None = None

    def __post_init__(self) -> None:
        self.names = tuple(map(name_of, self.payloads))
        self.labels = tuple(payload.label for payload in self.payloads)

    def all(self, kind: type[P]) -> list[P]:
        """Every payload of a kind, in order."""
        return [payload for payload in self.payloads if type(payload) is kind]


_NAMES = {
    "tp_data": "TP Data", "ticket_data": "Ticket Data", "initiator_data": "Initiator Data",
    "encr_data": "Encr data",
}  # fmt: skip


_ID_IN_KEMAC = (D.PUBLIC_KEY, D.RSA_R_R_MSG, D.REQUEST_KEY_RESP)
"""The data types in which an identity comes before the keys of a KEMAC, which are always
encrypted (RFC 3830 6.2, RFC 4738 3.6, RFC 6267 4.2.1.3)."""

MOST_PAYLOADS = 1000
"""How many payloads of a message are checked one by one."""


class MapEntry(NamedTuple):
    """A crypto session of the CS ID map: where it stands, and its CS ID."""

    place: Spot
    cs_id: int
    entry: SrtpIdEntry | GenericIdEntry


@dataclass
class Subject:
    """One message, with the message before it in `init` if there is one, at a time.

    `now_ns` is Unix time in nanoseconds. `missing_sessions` is #CS if the message was read without
    the map that it should have. `carried` is its place in a session description, if it comes from
    one. `layers` are the message and everything in it that holds payloads, three deep at most;
    `faults` what in there could not be read.
    """

    message: Message
    now_ns: int
    init: Message | None = None
    missing_sessions: int = 0
    carried: Carried | None = None
    layers: list[Within] = field(default_factory=list)
    faults: list[tuple[Payload, str, WireError]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.header = self.message.header
        self.kind: int = self.header.data_type
        self.name = label(DataType, self.kind)
        self.is_update = self._is_update()
        self._srtp: dict[int, SrtpPolicy] = {}
        self._inside: dict[tuple[int, str], list[Payload]] = {}
        layout = message_layout(self.kind, self.is_update)
        self._add(Within(self.name, layout, self.message.payloads))

    def _is_update(self) -> bool:
        """Whether the message belongs to a CSB update, which may repeat RANDs and the ticket,
        although it should not (RFC 6043 5.2)."""
        if self.kind == D.TRANSFER_RESP and self.relation is Relation.ANSWER:
            by_initiator = identity_in(self.message.payloads, IdRole.INITIATOR) is not None
            return by_initiator or (self.init is not None and repeats_ticket(self.init))
        if is_update(self.message) or self.relation is Relation.UPDATE:
            return True
        return self.kind == D.TRANSFER_INIT and has_rands_of_others(self.message)

    def _add(self, layer: Within) -> None:
        """Put a layer on the list, and those in it where the RFCs put any."""
        self.layers.append(layer)
        self._inside[id(layer.holder), layer.content] = layer.payloads
        for payload in layer.payloads:
            if type(payload) is KEMAC:
                if payload.encr_alg == EncrAlg.NULL and self.kind not in _ID_IN_KEMAC:
                    self._read(payload, layer)
            elif isinstance(payload, TP) and layer.holder is None:
                self._read(payload, layer)
            elif type(payload) is GeneralExt:
                try:
                    read_extension(payload)
                except WireError as error:
                    self.faults.append((payload, "Data", error))

    def _read(self, holder: Payload, parent: Within) -> None:
        for name, found, fault in contents(holder):
            if not getattr(holder, name) or (name == "ticket_data" and not _is_base(holder)):
                continue
            layout = None
            if fault is None:
                layout = inner_layout(name)
            elif name == "ticket_data" and not _must_be_base(holder):
                continue  # interpretation 39
            else:
                self.faults.append((holder, _NAMES[name], fault))
            self._add(Within(_NAMES[name], layout, found, name, holder, parent))

    def inside(self, holder: Payload, content: str) -> list[Payload]:
        """The payloads in a field of a payload; none where it cannot be read."""
        return self._inside.get((id(holder), content), [])

    def parts(self) -> Iterator[tuple[Within, Payload]]:
        """Every payload at any depth, and what holds it."""
        return ((layer, payload) for layer in self.layers for payload in layer.payloads)

    @cached_property
    def relation(self) -> Relation | None:
        """How the message relates to `init`; None when it does not."""
        if self.init is None or self.init.header.csb_id != self.header.csb_id:
            return None
        before = self.init.header.data_type
        if answers(self.kind, before):
            return Relation.ANSWER
        if any(updates(self.kind, first) for first in (before, *ANSWERED.get(before, ()))):
            return Relation.UPDATE
        return None

    @cached_property
    def is_mission_critical(self) -> bool:
        """Whether the message is one of 3GPP's mission-critical systems."""
        return self.kind == D.SAKKE_MSG and is_mission_critical(self.message)

    @cached_property
    def map(self) -> list[MapEntry]:
        """The crypto sessions of the header."""
        return crypto_sessions(self.header)

    @cached_property
    def unregistered(self) -> list[tuple[Place, str, int]]:
        """Every enumerated field with an unregistered number: place, field, number."""
        records: list[tuple[Place, Any]] = [(HEADER, self.header)]
        records += [(at.place, at.entry) for at in self.map]
        records += [(payload, payload) for layer in self.layers for payload in layer.payloads]
        return [
            (place, name, getattr(record, name))
            for place, record in records
            for name, known in _enumerated(type(record))  # type: ignore[arg-type]
            if getattr(record, name) not in known
        ]

    @cached_property
    def policies(self) -> dict[int, SP]:
        """The SP payloads by policy number, those of the message that is answered included."""
        before = self.init.all(SP) if self.init is not None and self.relation else []
        return {sp.policy_no: sp for sp in (*before, *self.message.all(SP))}

    def srtp(self, sp: SP) -> SrtpPolicy | None:
        """What an SP says about SRTP; None when it is for another protocol."""
        if sp.protocol != ProtType.SRTP:
            return None
        policy = self._srtp.get(id(sp))
        if policy is None:
            policy = self._srtp[id(sp)] = SrtpPolicy(sp)
        return policy

    @cached_property
    def teks(self) -> list[KeyData]:
        """Every TEK in the clear, except those that a Ticket Policy requests."""
        return [
            key
            for layer in self.layers
            if layer.content == "encr_data" and layer.parent and layer.parent.content != "tp_data"
            for key in layer.all(KeyData)
            if key.type in (KeyType.TEK, KeyType.TEK_SALT)
        ]

    @cached_property
    def tek_lengths(self) -> set[tuple[int, int]]:
        """Octets of key and salt by the policies for SRTP; by its defaults without any."""
        found = [policy for sp in self.policies.values() if (policy := self.srtp(sp))]
        return {(each.key_length, each.salt_length) for each in found or [SrtpPolicy()]}

    @cached_property
    def numbers(self) -> set[int | None]:
        """The numbers of all payloads in the message, at any depth."""
        return {payload.number for layer in self.layers for payload in layer.payloads}


def crypto_sessions(header: HDR) -> list[MapEntry]:
    """The crypto sessions of a header; in an SRTP-ID map the position is the CS ID."""
    entries = []
    at = len(build(header.copy(cs_id_map=[])))
    for position, entry in enumerate(header.cs_id_map, 1):
        cs_id = position if isinstance(entry, SrtpIdEntry) else entry.cs_id
        entries.append(MapEntry(Spot("CS ID map", at), cs_id, entry))
        at += len(build(entry))
    return entries


@cache
def _enumerated(kind: type[Record]) -> list[tuple[str, dict[int, str]]]:
    """The enumerated fields of a record, each with the numbers that are registered.

    The number of the next payload is left out: reading stops at an unknown one.
    """
    return [
        (name, labels(field.names))
        for name, field in kind.fields.items()
        if field.names is not None and name != "next_payload"
    ]


def _is_base(holder: Payload) -> bool:
    """Whether Ticket Data may be made as that of a base ticket (interpretation 39)."""
    return isinstance(holder, TICKET) and holder.ticket_type in (
        TicketType.MIKEY_BASE,
        TicketType.BASE_3GPP,
    )


def _must_be_base(holder: Payload) -> bool:
    return isinstance(holder, TICKET) and holder.ticket_type == TicketType.MIKEY_BASE


def ticket_of(message: Message | None) -> TICKET | None:
    """The TICKET of a message."""
    return None if message is None else message.find(TICKET)


def vi_of(message: Message) -> V | None:
    """Vi, the first V of the Initiator Data of a message."""
    ticket = ticket_of(message)
    if ticket is None or not ticket.initiator_data:
        return None
    found: list[Payload] = []
    with suppress(WireError):
        content(ticket, "initiator_data", found)
    return next((one for one in found if isinstance(one, V)), None)


def has_rands_of_others(message: Message) -> bool:
    """Whether a message has a RAND that the responder or the KMS made."""
    return any(rand.rand_role in (RandRole.RESPONDER, RandRole.KMS) for rand in message.all(RANDR))


def repeats_ticket(initial: Message) -> bool:
    """Whether a TRANSFER_INIT is an update that repeats the ticket or lacks it.

    Its Initiator Data is that of the first message, so Vi is not its own V.
    """
    if ticket_of(initial) is None or has_rands_of_others(initial):
        return True
    vi, v = vi_of(initial), initial.find(V)
    return vi is not None and v is not None and vi.ver_data != v.ver_data


def identity_in(payloads: list[Payload], role: int) -> IDR | None:
    """The first IDR payload of a role."""
    return next((p for p in payloads if type(p) is IDR and p.id_role == role), None)
