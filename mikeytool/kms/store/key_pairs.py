"""Key pairs of a KMS and certificates that it trusts, as rows of a store.

A module of its own, because X.509 takes long to load and few stores have either.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509 import Certificate, load_der_x509_certificate

from mikeytool.crypto.certificates import (
    Use,
    check_authority,
    check_use,
    is_of,
    is_of_kms,
    purpose,
    rsa_key,
)
from mikeytool.exchange.public_key import KmsKey
from mikeytool.kms.kms_policy import KmsPolicy
from mikeytool.kms.store.seal import Sealer
from mikeytool.kms.store.seal_context import private_key_context
from mikeytool.storage.sql import Db
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity


def name_of(certificate: Certificate) -> str:
    """The name of a certificate in the log: its fingerprint."""
    return f"sha256:{certificate.fingerprint(SHA256()).hex()}"


def user_certificate(certificate: Certificate, user: Identity, policy: KmsPolicy) -> bytes:
    """The DER of a certificate as `Store.add_user` takes it, which then needs no CA.

    Raises UsageError if it does not name the user, Refused if it is not one to sign with.
    """
    check_use(certificate, Use.SIGNATURE, [purpose(text) for text in policy.extended_key_usage])
    if not is_of(certificate, user):
        raise UsageError(f"the subjectAltName of the certificate does not name {user}")
    return certificate.public_bytes(Encoding.DER)


def anchor_row(certificate: Certificate) -> tuple[bytes, bytes]:
    """The row of a CA that is to be trusted: fingerprint and DER.

    Raises Refused if the certificate does not belong to a CA or has a weak key.
    """
    check_authority(certificate)
    return certificate.fingerprint(SHA256()), certificate.public_bytes(Encoding.DER)


def read_key_pair(der: bytes, cert: bytes) -> KmsKey:
    """A key pair from the DER of its private key (PKCS #8) and of its certificate."""
    # The key was checked when it was added, and checking it takes longer than using it.
    private_key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(private_key, RSAPrivateKey)  # noqa: S101 - no other kind can be added
    return KmsKey(private_key, load_der_x509_certificate(cert))


def insert_key_pair(
    db: Db, sealer: Sealer, private_key: RSAPrivateKey, certificate: Certificate
) -> bool:
    """Append a key pair within a transaction. Return False if it exists already."""
    fingerprint = certificate.fingerprint(SHA256())
    der = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    sealed = sealer.seal(der, *private_key_context(fingerprint))
    (last,) = db.execute("SELECT coalesce(max(position), 0) FROM kms_keys").fetchone()
    added = db.execute(
        "INSERT INTO kms_keys VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (fingerprint, sealed, certificate.public_bytes(Encoding.DER), last + 1),
    )
    return added.rowcount == 1


def check_key_pair(private_key: RSAPrivateKey, certificate: Certificate, kms: Identity) -> None:
    """Raise UsageError unless a certificate is for the key and names the KMS.

    Raises Refused if the certificate does not allow encrypting envelope keys.
    """
    check_use(certificate, Use.ENVELOPE)
    if rsa_key(certificate).public_numbers() != private_key.public_key().public_numbers():
        raise UsageError("the private key does not belong to the certificate")
    if not is_of_kms(certificate, kms):
        raise UsageError(f"the subjectAltName of the certificate does not name {kms}")
