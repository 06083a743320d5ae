"""New RSA key pairs with certificates for an identity (interpretation 34)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import IdType


class Issuer(NamedTuple):
    """The name and private key of the issuer that signs a certificate."""

    name: x509.Name
    key: RSAPrivateKey


def read_issuer(certificate: bytes, key: bytes) -> Issuer:
    """Read the certificate and private key of a CA, both in PEM without a passphrase.

    Raises UsageError if they cannot be read or if the key is not for RSA.
    """
    try:
        name = x509.load_pem_x509_certificate(certificate).subject
        loaded = load_pem_private_key(key, None)
    except (ValueError, TypeError):
        raise UsageError("this is no PEM without a passphrase") from None
    if not isinstance(loaded, RSAPrivateKey):
        raise UsageError("an RSA key is expected")
    return Issuer(name, loaded)


def make_key_pair(
    identity: Identity, now_ns: int, *, bits: int = 3072, issuer: Issuer | None = None
) -> tuple[bytes, bytes]:
    """Make an RSA key of `bits` bits and its certificate, valid for a year. Both are PEM.

    The subjectAltName contains the identity. `now_ns` is the time in Unix nanoseconds. Without an
    `issuer` the certificate is self-signed and may certify others. Raises UsageError if the
    identity is not ASCII.
    """
    key = generate_private_key(public_exponent=65537, key_size=bits)
    text = identity.data.decode("utf-8", "replace")
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text[:64])])
    signer = issuer or Issuer(subject, key)
    start = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    try:
        is_mail = identity.id_type == IdType.NAI
        name = x509.RFC822Name(text) if is_mail else x509.UniformResourceIdentifier(text)
    except ValueError:
        raise UsageError("a certificate takes ASCII alone, escape the rest") from None
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - timedelta(minutes=5))
        .not_valid_after(start + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signer.key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, certificate.public_bytes(Encoding.PEM)
