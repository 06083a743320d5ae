"""The envelope key under the public key of the KMS (RFC 3830 4.2.5 and 6.3, interpretation 36)."""

from __future__ import annotations

from collections.abc import Iterator
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
    """The PKE that carries an envelope key, not to be cached (C is 0)."""
    return PKE(data=public_key.encrypt(envelope_key, _padding(oaep)))


def unseal_envelope(private_key: RSAPrivateKey, pke: PKE, length: int, *, instead: bytes) -> bytes:
    """The envelope key of `length` octets in a PKE, whose cache bits are ignored.

    Nothing in a message names the padding, so both are tried. Whoever calls has verified
    the signature before. Never raises: for broken padding and for another length it gives
    `instead`, `length` fresh random octets, or what implicit rejection makes of the data, so
    that the sender learns no more than that the MAC of the answer is wrong.
    """
    for oaep in (True, False):
        try:
            found = private_key.decrypt(pke.data, _padding(oaep))
        except ValueError:
            continue
        return found if len(found) == length else instead
    return instead


class PossibleKey(NamedTuple):
    """Octets that may be an envelope key; OAEP proves that they were meant."""

    key: bytes
    is_proven: bool

    def __repr__(self) -> str:
        """The key is masked."""
        return f"PossibleKey(key={masked(self.key)}, is_proven={self.is_proven})"


def possible_keys(private_key: RSAPrivateKey, pke: PKE) -> Iterator[PossibleKey]:
    """What may be the envelope key in a PKE, with either padding and of any length.

    This is for looking into messages. PKCS#1 v1.5 with implicit rejection gives octets for
    any data, and only a MAC under keys derived from them tells.
    """
    for oaep in (True, False):
        try:
            found = private_key.decrypt(pke.data, _padding(oaep))
        except ValueError:
            continue
        if found:
            yield PossibleKey(found, oaep)


def _padding(oaep: bool) -> AsymmetricPadding:
    return OAEP(MGF1(SHA1()), SHA1(), None) if oaep else PKCS1v15()  # noqa: S303
