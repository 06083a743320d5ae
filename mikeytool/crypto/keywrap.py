"""AES key wrap with the 64-bit salt of MIKEY as its IV (RFC 3394 2.2, RFC 3830 4.2.3).

`cryptography` supports only the default IV of RFC 3394 2.2.3.1.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.registry import ErrorNo

_HALF = 8
_ROUNDS = 6


def wrap(kek: bytes, iv: bytes, data: bytes) -> bytes:
    """Wrap `data`; the result is 8 octets longer.

    `data` must have at least 16 octets and a length that is a multiple of 8; any other length
    raises UsageError. `iv` has 8 octets.
    """
    if len(data) % _HALF or len(data) < 2 * _HALF:
        raise UsageError(
            f"AES-KW takes key data of 16 octets or more, in multiples of 8; this has {len(data)}"
        )
    # ECB is the bare block cipher, on which the key wrap is built.
    block = Cipher(algorithms.AES(kek), modes.ECB()).encryptor()  # noqa: S305
    a = iv
    r = [data[at : at + _HALF] for at in range(0, len(data), _HALF)]
    for j in range(_ROUNDS):
        for i, half in enumerate(r):
            b = block.update(a + half)
            a = _xor(b[:_HALF], len(r) * j + i + 1)
            r[i] = b[_HALF:]
    return a + b"".join(r)


def unwrap(kek: bytes, iv: bytes, data: bytes) -> bytes:
    """Undo `wrap`; raises Refused (Auth failure) if the result does not contain the IV."""
    if len(data) % _HALF or len(data) < 3 * _HALF:
        raise Refused(f"{len(data)} octets are no wrapped key data", ErrorNo.AUTH_FAILURE)
    block = Cipher(algorithms.AES(kek), modes.ECB()).decryptor()  # noqa: S305
    a = data[:_HALF]
    r = [data[at : at + _HALF] for at in range(_HALF, len(data), _HALF)]
    for j in reversed(range(_ROUNDS)):
        for i in reversed(range(len(r))):
            b = block.update(_xor(a, len(r) * j + i + 1) + r[i])
            a, r[i] = b[:_HALF], b[_HALF:]
    if not hmac.compare_digest(a, iv):
        raise Refused("the key wrap does not verify: another key, or changed", ErrorNo.AUTH_FAILURE)
    return b"".join(r)


def _xor(half: bytes, t: int) -> bytes:
    return (int.from_bytes(half) ^ t).to_bytes(_HALF)
