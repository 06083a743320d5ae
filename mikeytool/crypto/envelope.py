"""Envelope keys, encrypted with the public key of the KMS (RFC 3830 4.2.5 and 6.3, interpretation
36).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.padding import (
    MGF1,
    OAEP,
    AsymmetricPadding,
    PKCS1v15,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1

from mikeytool.wire.masked_repr import masked
from mikeytool.wire.payloads import PKE


def seal_envelope(public_key: RSAPublicKey, envelope_key: bytes, *, oaep: bool = False) -> PKE:
    """Encrypt an envelope key into a PKE that must not be cached (C is 0)."""
    return PKE(data=public_key.encrypt(envelope_key, _padding(oaep)))


MAX_KEYS = 8
"""How many private keys to try on one envelope."""


def unseal_envelope(
    private_keys: Iterable[RSAPrivateKey], pke: PKE, length: int, *, instead: bytes
) -> bytes:
    """Decrypt the envelope key of `length` octets in a PKE. The message must be verified already.

    The cache bits are ignored. The message does not say which padding was used, so both are tried.
    Of several keys, at most MAX_KEYS with the size of the PKE are tried, and always all of them.
    OAEP proves its result; otherwise the first one with the right length is returned, since
    PKCS#1 v1.5 with the wrong key gives octets of any length. Never raises: if nothing fits, the
    result is `instead` (`length` fresh random octets) or the result of implicit rejection. The
    sender then learns only that the MAC of the answer is wrong.
    """
    fitting = (key for key in private_keys if (key.key_size + 7) // 8 == len(pke.data))
    found = [one for key in islice(fitting, MAX_KEYS) for one in islice(_opened(key, pke), 1)]
    found.sort(key=lambda one: not one.is_proven)
    return next((one.key for one in found if len(one.key) == length), instead)


class PossibleKey(NamedTuple):
    """Octets that may be an envelope key. With OAEP, they certainly are."""

    key: bytes
    is_proven: bool

    def __repr__(self) -> str:
        """Return a text that does not show the key."""
        return f"PossibleKey(key={masked(self.key)}, is_proven={self.is_proven})"


def possible_keys(private_key: RSAPrivateKey, pke: PKE) -> Iterator[PossibleKey]:
    """Find what may be the envelope key in a PKE, with either padding and of any length.

    This is for inspecting messages. PKCS#1 v1.5 with implicit rejection returns octets for any
    input. Only a MAC under keys derived from them shows whether they are the key.
    """
    return (one for one in _opened(private_key, pke) if one.key)


def _opened(private_key: RSAPrivateKey, pke: PKE) -> Iterator[PossibleKey]:
    for oaep in (True, False):
        try:
            yield PossibleKey(private_key.decrypt(pke.data, _padding(oaep)), oaep)
        except ValueError:
            continue


def _padding(oaep: bool) -> AsymmetricPadding:
    return OAEP(MGF1(SHA1()), SHA1(), None) if oaep else PKCS1v15()  # noqa: S303
