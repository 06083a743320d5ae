"""The MIKEY pseudo-random functions (RFC 3830 4.1.2, RFC 6043 6.1)."""

from __future__ import annotations

import hmac

from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import ErrorNo, PrfFunc

_BLOCK = 32
"""The inkey is split into blocks of 256 bits, whichever hash is used."""

_HASH = {PrfFunc.MIKEY_1.value: ("sha1", 20), PrfFunc.HMAC_SHA_256.value: ("sha256", 32)}


def prf(func: int, inkey: bytes, label: bytes, length: int) -> bytes:
    """Derive `length` octets of PRF(inkey, label) with the function of a PRF func number.

    Raises Refused (Invalid PRF) for any number other than those of MIKEY-1 and PRF-HMAC-SHA-256.
    Raises Refused for an empty inkey, because its outkey would be all zeros.
    """
    if not inkey:
        raise Refused("an empty key protects nothing")
    if func not in _HASH:
        raise Refused(f"PRF func {func} is not supported", ErrorNo.INVALID_PRF)
    digest, size = _HASH[func]
    blocks = -(-length // size)
    if len(inkey) <= _BLOCK:
        return _p(digest, inkey, label, blocks)[:length]
    outkey = 0
    for at in range(0, len(inkey), _BLOCK):
        outkey ^= int.from_bytes(_p(digest, inkey[at : at + _BLOCK], label, blocks))
    return outkey.to_bytes(blocks * size)[:length]


def _p(digest: str, s: bytes, label: bytes, m: int) -> bytes:
    """Compute P(s, label, m) of RFC 3830 4.1.2."""
    a = label
    out = b""
    for _ in range(m):
        a = hmac.digest(s, a, digest)
        out += hmac.digest(s, a + label, digest)
    return out
