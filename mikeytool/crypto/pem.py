"""Private keys and certificates in PEM (RFC 7468)."""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from mikeytool.crypto.certificates import read_certificate
from mikeytool.wire.errors import Refused, UsageError, WireError

_UNREADABLE = (ValueError, UnsupportedAlgorithm)


def private_key(pem: bytes, what: str, passphrase: Callable[[], bytes]) -> RSAPrivateKey:
    """Read the RSA private key in a PEM file; `passphrase` is called if it is encrypted.

    `what` names the file in errors. Raises WireError if the file cannot be read, UsageError if the
    key is not for RSA, Refused if the passphrase is wrong.
    """
    try:
        found = load_pem_private_key(pem, None)
    except TypeError:
        try:
            found = load_pem_private_key(pem, passphrase())
        except (*_UNREADABLE, TypeError):
            raise Refused(f"{what}: the passphrase does not open this private key") from None
    except _UNREADABLE:
        raise WireError(f"{what}: this is no private key in PEM") from None
    if not isinstance(found, RSAPrivateKey):
        raise UsageError(f"{what}: this key is not for RSA, and MIKEY has no other")
    return found


def certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    """Read the certificates in a PEM file, in order.

    Raises WireError if there are none, Refused (Invalid Cert) if one is unusable.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
    except _UNREADABLE:
        raise WireError(f"{what}: this is no certificate in PEM") from None
    return [read_certificate(one.public_bytes(Encoding.DER)) for one in found]
