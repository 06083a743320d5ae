"""Checks that every role makes first on a message (RFC 3830 5.3, RFC 6043 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

from mikeytool.exchange.identity_length import identity_of
from mikeytool.exchange.profile import Profile, profile_of
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import HDR
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import (
    CHASH,
    ID,
    IDR,
    KEMAC,
    PKE,
    RANDR,
    SIGN,
    SP,
    TICKET,
    TP,
    Payload,
    T,
    V,
)
from mikeytool.wire.registry import (
    MIKEY_VERSION,
    CsIdMapType,
    DataType,
    ErrorNo,
    IdRole,
    RandRole,
    label,
)
from mikeytool.wire.timestamp import Timestamp

P = TypeVar("P", bound=Payload)

_ONCE: dict[type[Payload], None] = dict.fromkeys((T, TP, TICKET, KEMAC, CHASH, PKE, V, SIGN))
_DISTINCT: dict[type[Payload], tuple[str, str, ErrorNo]] = {
    IDR: ("id_role", "ID role", ErrorNo.INVALID_ID),
    RANDR: ("rand_role", "RAND role", ErrorNo.UNSPECIFIED),
    SP: ("policy_no", "policy number", ErrorNo.INVALID_SP),
}
"""Payloads that may be repeated with different numbers: the field, what it is, the error."""

_LAST = (V, SIGN)


def only(payloads: Sequence[Payload], kind: type[P], where: str, error_no: ErrorNo) -> P:
    """Return the only payload of a kind; raises Refused if there is none or more than one."""
    found = [payload for payload in payloads if type(payload) is kind]
    if len(found) != 1:
        many = "misses" if not found else f"has {len(found)} of"
        raise Refused(f"{where} {many} the payload {kind.label}", error_no)
    return found[0]


def message_of(message: bytes | Message) -> Message:
    """Parse octets with `Message.read`; return a parsed message unchanged."""
    return message if isinstance(message, Message) else Message.read(message)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that was read completely and has no duplicates; it is not verified yet.

    A message built by this tool uses the same class, without being read.
    """

    message: Message
    data_type: DataType
    profile: Profile
    t: Timestamp

    @classmethod
    def read(cls, message: bytes | Message, *expected: DataType) -> Incoming:
        """Read a message of one of the `expected` data types, or take one that is already read.

        Raises WireError if it cannot be read. Raises Refused for another version or data type, an
        unknown PRF, a missing T, a duplicate of a payload that may occur only once, a V or SIGN
        that is not last (interpretation 25), and an identity of over 1,024 octets.
        """
        message = message_of(message)
        message.check_whole()
        header = message.header
        if header.version != MIKEY_VERSION:
            raise Refused(f"MIKEY version {header.version} is not supported")
        if header.data_type not in expected:
            wanted = " or ".join(kind.label for kind in expected)
            got = label(DataType, header.data_type)
            raise Refused(f"this is {got}, {wanted} is expected", ErrorNo.INVALID_DT)
        _refuse_duplicates(message.payloads)
        _check_last(message.payloads)
        t = only(message.payloads, T, "the message", ErrorNo.UNSPECIFIED)
        kind = DataType(header.data_type)
        return cls(message, kind, profile_of(header.prf), Timestamp.of(t))

    @property
    def raw(self) -> bytes:
        """Return the octets of the message."""
        return self.message.raw

    @property
    def csb_id(self) -> int:
        """Return the CSB ID of the header."""
        return self.message.header.csb_id

    def identity(self, role: IdRole) -> Identity | None:
        """Return the identity of a role in the message, or None if it is omitted."""
        for payload in self.message.payloads:
            if type(payload) is IDR and payload.id_role == role:
                return Identity.of(payload)
        return None

    def rand(self, role: RandRole) -> bytes | None:
        """Return the RAND of a role, or None if it is omitted."""
        for payload in self.message.payloads:
            if type(payload) is RANDR and payload.rand_role == role:
                return payload.rand
        return None

    def need_rand(self, role: RandRole) -> bytes:
        """Return the RAND of a role; raises Refused if it is missing or empty.

        `check_rands` checks its length once the keys are known (12.1).
        """
        rand = self.rand(role)
        if not rand:
            raise Refused(f"{self.data_type.label} misses {role.label}, or it is empty")
        return rand

    def only(self, kind: type[P], error_no: ErrorNo = ErrorNo.UNSPECIFIED) -> P:
        """Return the only payload of a kind; raises Refused unless there is exactly one."""
        return only(self.message.payloads, kind, self.data_type.label, error_no)

    @property
    def v(self) -> V:
        """Return the V payload; raises Refused if no V protects the message."""
        return self.only(V, ErrorNo.AUTH_FAILURE)

    @property
    def proof(self) -> bytes:
        """Return the MAC in V, or a digest of SIGN: only the sender can make it, and only once.

        Raises Refused if the message has neither.
        """
        signature = self.message.find(SIGN)
        if signature is not None:
            return sha256(signature.signature).digest()
        return self.v.ver_data

    def check_no_crypto_sessions(self) -> None:
        """Refuse crypto sessions where none are allowed (4.2.1.1, 4.2.3.1)."""
        header = self.message.header
        if header.cs_count or header.cs_id_map_type != CsIdMapType.EMPTY:
            raise Refused(
                f"{self.data_type.label} has an Empty map with #CS 0, and no other (4.2.1.1)"
            )

    def check_answers(self, theirs: HDR) -> None:
        """Refuse a response unless it echoes the PRF func and CSB ID of the header it answers."""
        mine = self.message.header
        for name in ("version", "prf", "csb_id"):
            if getattr(mine, name) != getattr(theirs, name):
                raise Refused(
                    f"{self.data_type.label} does not answer this"
                    f" {label(DataType, theirs.data_type)}:"
                    f" another {name} ({getattr(mine, name):#x},"
                    f" not {getattr(theirs, name):#x})"
                )


def _refuse_duplicates(payloads: Sequence[Payload]) -> None:
    """Refuse duplicates of payloads that may occur only once, and identities that are too long.

    One pass finds out whether there are any.
    """
    marks: list[Any] = []
    for payload in payloads:
        kind = type(payload)
        if isinstance(payload, ID | IDR):
            identity_of(payload)
        if kind in _ONCE:
            marks.append(kind)
        elif kind in _DISTINCT:
            marks.append((kind, payload[_DISTINCT[kind][0]]))
    if len(set(marks)) == len(marks):
        return
    for kind in _ONCE:
        if marks.count(kind) > 1:
            raise Refused(f"the message has {kind.label} more than once")
    for kind, (_, what, error_no) in _DISTINCT.items():
        numbers = [mark[1] for mark in marks if type(mark) is tuple and mark[0] is kind]
        for at, number in enumerate(numbers):
            if number in numbers[:at]:
                raise Refused(f"the message has two payloads of {what} {number}", error_no)


def _check_last(payloads: Sequence[Payload]) -> None:
    for payload in payloads[:-1]:
        if isinstance(payload, _LAST):
            raise Refused(f"{payload.label} is not the last payload")
