"""The keys of one seat: the group keys, and a floor key of its own.

Whoever holds a TLS pre-shared key can be either end of the connection, so members must not share
one. The floor key of the conference stays in the system. That of a seat is derived from it with
HKDF-SHA-256 (RFC 5869), and so is its SPI, which in hex is the PSK identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mikeytool.conference.model import GroupKey, Purpose
from mikeytool.wire.identity import Identity

_SPI_LENGTH = 8
"""In octets; so long that the SPIs of all seats differ. The floor server finds keys by them."""


def seat_keys(keys: Iterable[GroupKey], seat: int, who: Identity) -> list[GroupKey]:
    """Return the keys that a seat gets, where the system has these."""
    return [_floor_key(key, seat, who) if key.purpose == Purpose.FLOOR else key for key in keys]


def _floor_key(key: GroupKey, seat: int, who: Identity) -> GroupKey:
    if not key.tek:
        return key  # it has expired, and has been wiped
    length = len(key.tek)
    hkdf = HKDF(
        algorithm=SHA256(),
        length=length + _SPI_LENGTH,
        salt=key.salt,
        info=b"mikeytool floor key" + seat.to_bytes(8) + who.data,
    )
    made = hkdf.derive(key.tek)
    return replace(key, tek=made[:length], salt=b"", spi=made[length:])
