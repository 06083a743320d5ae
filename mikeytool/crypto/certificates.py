"""X.509 certificates: the identities in them, and whether to trust them (RFC 3830 4.3 and 6.7,
interpretations 34 and 37).

Paths are validated by `cryptography.x509.verification` with extension policies from here: its
own policies are for the Web and require a DNS name, extended key usages and key identifiers,
which certificates of users do without. Path building tolerates any order, so it is checked here
that each certificate in a message certifies the one before it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from itertools import pairwise
from typing import NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo, HashFunc, IdType, label

MIN_MODULUS = 2048
"""In bits; a shorter RSA key is weaker than any key that it protects."""

MAX_CHAIN = 8
"""The most certificates that one message may carry."""

_NS = 1_000_000_000
_AUTHORITY = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:(?://)?")
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    CryptographyDeprecationWarning,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class Use(Enum):
    """The purpose of a certified key, under its name in RFC 5280 4.2.1.3."""

    SIGNATURE = "digitalSignature"
    ENVELOPE = "keyEncipherment"


def read_certificate(der: bytes) -> x509.Certificate:
    """Read a certificate, its key, names and key usage.

    Raises Refused (Invalid Cert) if any of them cannot be read.
    """
    try:
        with warnings.catch_warnings():
            # Serial numbers that are not positive, which RFC 5280 4.1.2.2 forbids.
            warnings.simplefilter("error", CryptographyDeprecationWarning)
            certificate = x509.load_der_x509_certificate(der)
        certificate.public_key()
        _names(certificate)
        _key_usage(certificate)
    except _UNREADABLE as error:
        _refuse(f"a certificate cannot be read: {_line(error)}")
    return certificate


def rsa_key(certificate: x509.Certificate) -> RSAPublicKey:
    """Give the RSA key in a certificate; raises Refused (Invalid Cert) for another or weak key."""
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        _refuse("the key in the certificate is not for RSA, and MIKEY has no other")
    if key.key_size < MIN_MODULUS:
        _refuse(f"the RSA key has {key.key_size} bits, {MIN_MODULUS} are the least")
    return key


def identities(certificate: x509.Certificate) -> list[Identity]:
    """Give the URIs and e-mail addresses in the subjectAltName, in order; never the CN."""
    found = []
    for name in _names(certificate):
        if isinstance(name, x509.UniformResourceIdentifier):
            found.append(Identity(name.value.encode(), IdType.URI))
        elif isinstance(name, x509.RFC822Name):
            found.append(Identity(name.value.encode(), IdType.NAI))
    return found


def is_of(certificate: x509.Certificate, identity: Identity) -> bool:
    """Tell whether a certificate names a user: it has the identity octet for octet."""
    return identity in identities(certificate)


def is_of_kms(certificate: x509.Certificate, kms: Identity) -> bool:
    """Tell whether a certificate names a KMS, by its identity or by its DNS name.

    A DNS name stands for itself and for a URI made of a scheme and that name, such as
    sip:kms.example.com.
    """
    host = _AUTHORITY.sub(b"", kms.data, count=1).lower()
    names = [name.value for name in _names(certificate) if isinstance(name, x509.DNSName)]
    return is_of(certificate, kms) or host in [name.lower().encode() for name in names]


def check_certificate(
    chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], now_ns: int, use: Use
) -> None:
    """Check that the first certificate of a chain is trusted, valid now and fit for a use.

    `now_ns` is the Unix time in nanoseconds. Each certificate must certify the one before it;
    the root may be left out, and an anchor may be the certificate itself. Raises Refused
    (Invalid Cert) otherwise.
    """
    if not 0 < len(chain) <= MAX_CHAIN:
        _refuse(f"a chain has 1 to {MAX_CHAIN} certificates, this one {len(chain)}")
    own = chain[0]
    rsa_key(own)
    _check_use(own, use)
    now = datetime.fromtimestamp(now_ns // _NS, UTC)
    for certificate in chain:
        _check_time(certificate, now)
    for nth, (below, above) in enumerate(pairwise(chain), start=2):
        try:
            below.verify_directly_issued_by(above)
        except (*_UNREADABLE, InvalidSignature):
            _refuse(f"certificate {nth} of the chain does not certify the one before it")
    if not anchors:
        _refuse("no certificate is trusted, because no trust anchor is given")
    builder = (
        PolicyBuilder()
        .store(Store(list(anchors)))
        .time(now)
        .extension_policies(ca_policy=_AUTHORITIES, ee_policy=ExtensionPolicy.permit_all())
    )
    try:
        builder.build_client_verifier().verify(own, list(chain[1:]))
    except (*_UNREADABLE, VerificationError) as error:
        _refuse(f"no trust anchor vouches for the certificate: {_line(error)}")


def certificate_hash(hash_func: int, certificate: x509.Certificate) -> bytes:
    """Hash a certificate for CHASH; raises Refused (Invalid HA) for MD5 and unknown hashes."""
    if hash_func == HashFunc.SHA_1:
        return certificate.fingerprint(SHA1())  # noqa: S303
    if hash_func == HashFunc.SHA_256:
        return certificate.fingerprint(SHA256())
    raise Refused(f"{label(HashFunc, hash_func)} is not accepted in CHASH", ErrorNo.INVALID_HA)


def _check_time(certificate: x509.Certificate, now: datetime) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        _refuse(f"a certificate is valid only from {start:%Y-%m-%dT%H:%M:%SZ}")
    if now > end:
        _refuse(f"a certificate expired at {end:%Y-%m-%dT%H:%M:%SZ}")


def _check_use(certificate: x509.Certificate, use: Use) -> None:
    usage = _key_usage(certificate)
    if usage is None:
        return
    if use == Use.SIGNATURE:
        good = usage.digital_signature or usage.content_commitment
    else:
        good = usage.key_encipherment
    if not good:
        _refuse(f"the key usage of the certificate does not include {use.value}")


def _certifies(_policy: Policy, _by: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("a certificate that is not for a CA certifies another")


def _signs_certificates(
    _policy: Policy, _by: x509.Certificate, usage: x509.KeyUsage | None
) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("a certificate whose key usage misses keyCertSign certifies another")


_AUTHORITIES = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _certifies)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs_certificates)
)


def _names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(found.value)


def _key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _refuse(text: str) -> NoReturn:
    raise Refused(text, ErrorNo.INVALID_CERT)
