"""Identities as ID and IDR payloads carry them (RFC 3830 6.7, RFC 6043 6.5 and 6.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from mikeytool.wire.registry import IdRole, IdType

if TYPE_CHECKING:
    from mikeytool.wire.payloads import ID, IDR

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

MAX_IDENTITY = 1024
"""In octets. Longer identities are shown when a message is read, but every role refuses them."""


def _octets(text: str) -> bytes:
    """Encode as UTF-8; octets of a command line that are not UTF-8 are kept unchanged."""
    return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Identity:
    """ID Data with its ID Type; two identities are equal if their ID Data octets are."""

    data: bytes
    id_type: int = field(default=IdType.URI, compare=False)

    @classmethod
    def of(cls, payload: ID | IDR) -> Self:
        """The identity in an ID or IDR payload."""
        return cls(payload.id_data, payload.id_type)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """An identity of type URI, or of type NAI for `user@host` without a scheme."""
        nai = "@" in text and not _SCHEME.match(text)
        return cls(_octets(text), IdType.NAI if nai else IdType.URI)

    @classmethod
    def key_name(cls, text: str) -> Self:
        """The name of a key, of ID Type byte string (RFC 6043 6.5)."""
        return cls(_octets(text), IdType.BYTE_STRING)

    def idr(self, role: IdRole) -> IDR:
        """The identity as an IDR payload."""
        from mikeytool.wire.payloads import IDR  # many commands need no payloads

        return IDR(id_role=int(role), id_type=int(self.id_type), id_data=self.data)

    def __str__(self) -> str:
        """Text for people: the ID Data if it is printable UTF-8, otherwise hex."""
        try:
            text = self.data.decode()
        except UnicodeDecodeError:
            return f"0x{self.data.hex()}"
        return text if text.isprintable() else f"0x{self.data.hex()}"
