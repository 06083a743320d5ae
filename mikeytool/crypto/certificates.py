"""X.509 certificates: the identities in them, and whether to trust them (RFC 3830 4.3 and 6.7,
interpretations 34, 37 and 48).

`cryptography.x509.verification` validates paths, with extension policies defined here. Its own
policies are for the Web: they require a DNS name, extended key usages and key identifiers, which
user certificates often lack. Path building accepts certificates in any order, so this module checks
that each certificate in a message certifies the one before it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from itertools import pairwise
from typing import NoReturn, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import MAX_IDENTITY, Identity
from mikeytool.wire.registry import ErrorNo, HashFunc, IdType, label

MIN_MODULUS = 2048
"""In bits. A shorter RSA key is weaker than any key that it protects."""

MAX_CHAIN = 8
"""The maximum number of certificates in one message."""

MAX_NAMES = 64
"""The maximum number of identities in a certificate that signs a message."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

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
    """The purpose of a certified key, named as in RFC 5280 4.2.1.3."""

    SIGNATURE = "digitalSignature"
    ENVELOPE = "keyEncipherment"


_PURPOSES = {
    "anyextendedkeyusage": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "serverauth": ExtendedKeyUsageOID.SERVER_AUTH,
    "clientauth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "codesigning": ExtendedKeyUsageOID.CODE_SIGNING,
    "emailprotection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocspsigning": ExtendedKeyUsageOID.OCSP_SIGNING,
}
"""Purposes of extended key usage by their names in RFC 5280 4.2.1.12, in lower case."""

_ALWAYS = {
    Use.SIGNATURE: (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,),
    # A KMS often uses the same certificate for its server.
    Use.ENVELOPE: (
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.SERVER_AUTH,
    ),
}
"""The extended key usages that allow each use; one of them is enough."""


def purpose(text: str) -> x509.ObjectIdentifier:
    """Parse a purpose of extended key usage: a name from RFC 5280 4.2.1.12 or a dotted OID.

    Raises UsageError for anything else.
    """
    known = _PURPOSES.get(text.lower())
    if known is not None:
        return known
    try:
        return x509.ObjectIdentifier(text)
    except ValueError:
        raise UsageError(
            f"{text} is no extended key usage; give one such as emailProtection, or a dotted OID"
        ) from None


def read_certificate(der: bytes) -> x509.Certificate:
    """Parse a certificate with its key, names, usages and basic constraints.

    Raises Refused (Invalid Cert) if any of them cannot be read.
    """
    try:
        with warnings.catch_warnings():
            # RFC 5280 4.1.2.2 requires serial numbers to be positive.
            warnings.simplefilter("error", CryptographyDeprecationWarning)
            certificate = x509.load_der_x509_certificate(der)
        certificate.public_key()
        _names(certificate)
        _extension(certificate, x509.KeyUsage)
        _extension(certificate, x509.ExtendedKeyUsage)
        _extension(certificate, x509.BasicConstraints)
    except _UNREADABLE as error:
        _refuse(f"a certificate cannot be read: {_line(error)}")
    return certificate


def rsa_key(certificate: x509.Certificate) -> RSAPublicKey:
    """Return the RSA key of a certificate.

    Raises Refused (Invalid Cert) if the key is weak or not for RSA.
    """
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        _refuse("the key in the certificate is not for RSA, and MIKEY has no other")
    if key.key_size < MIN_MODULUS:
        _refuse(f"the RSA key has {key.key_size} bits, {MIN_MODULUS} are the least")
    return key


def identities(certificate: x509.Certificate) -> list[Identity]:
    """Return the URIs and e-mail addresses in the subjectAltName, in order. The CN is ignored."""
    found = []
    for name in _names(certificate):
        if isinstance(name, x509.UniformResourceIdentifier):
            found.append(Identity(name.value.encode(), IdType.URI))
        elif isinstance(name, x509.RFC822Name):
            found.append(Identity(name.value.encode(), IdType.NAI))
    return found


def is_of(certificate: x509.Certificate, identity: Identity) -> bool:
    """Return whether a certificate contains exactly the identity of a user, octet for octet."""
    return identity in identities(certificate)


def is_of_kms(certificate: x509.Certificate, kms: Identity) -> bool:
    """Return whether a certificate names a KMS, by its identity or by its DNS name.

    A DNS name matches itself and any URI that consists of a scheme and that name, such as
    sip:kms.example.com.
    """
    host = _AUTHORITY.sub(b"", kms.data, count=1).lower()
    names = [name.value for name in _names(certificate) if isinstance(name, x509.DNSName)]
    return is_of(certificate, kms) or host in [name.lower().encode() for name in names]


def check_certificate(
    chain: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    now_ns: int,
    use: Use,
    purposes: Sequence[x509.ObjectIdentifier] = (),
) -> None:
    """Check that the first certificate of a chain is trusted, valid now and fit for a use.

    `now_ns` is the Unix time in nanoseconds. Each certificate must certify the one before it. The
    root may be omitted, and an anchor may be the certificate itself. `purposes` are accepted in
    every certificate of the path, in addition to those that `check_use` accepts. Raises Refused
    (Invalid Cert) if a check fails.
    """
    if not 0 < len(chain) <= MAX_CHAIN:
        _refuse(f"a chain has 1 to {MAX_CHAIN} certificates, this one {len(chain)}")
    own = chain[0]
    check_use(own, use, purposes)
    _check_names(own)
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
        .extension_policies(
            ca_policy=_authorities(frozenset((*_ALWAYS[use], *purposes))),
            ee_policy=ExtensionPolicy.permit_all(),
        )
    )
    try:
        builder.build_client_verifier().verify(own, list(chain[1:]))
    except (*_UNREADABLE, VerificationError) as error:
        _refuse(f"no trust anchor vouches for the certificate: {_line(error)}")


def check_use(
    certificate: x509.Certificate, use: Use, purposes: Sequence[x509.ObjectIdentifier] = ()
) -> None:
    """Check that the key in a certificate is an RSA key and is certified for a use.

    If the certificate has a key usage, it must include the use. If it has an extended key usage,
    that must include one of `purposes` or anyExtendedKeyUsage; for the envelope key of a KMS,
    serverAuth is enough as well. It makes no difference whether the extended key usage is critical
    (RFC 5280 4.2.1.12, interpretation 48). Raises Refused (Invalid Cert) if a check fails.
    """
    rsa_key(certificate)
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None:
        signs = usage.digital_signature or usage.content_commitment
        if not (signs if use == Use.SIGNATURE else usage.key_encipherment):
            _refuse(f"the key usage of the certificate does not include {use.value}")
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    if extended is not None and not {*_ALWAYS[use], *purposes} & {*extended}:
        listed = ", ".join(_name(one) for one in extended)
        _refuse(
            f"the extended key usage of the certificate allows {listed} and not this use; the"
            " operator may accept such certificates (kms policy set --extended-key-usage)"
            if use == Use.SIGNATURE
            else f"the extended key usage of the certificate allows {listed} and not this use"
        )


def check_authority(certificate: x509.Certificate) -> None:
    """Check that a certificate belongs to a CA and may certify others (RFC 5280 4.2.1.9).

    Raises Refused (Invalid Cert) if it does not, or if its key is weak or not for RSA.
    """
    rsa_key(certificate)
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.ca:
        _refuse("this certificate is not that of a CA: its basicConstraints do not say cA")
    if usage is not None and not usage.key_cert_sign:
        _refuse("this certificate is not that of a CA: its key usage misses keyCertSign")


def is_authority(certificate: x509.Certificate) -> bool:
    """Return whether `check_authority` accepts a certificate."""
    try:
        check_authority(certificate)
    except Refused:
        return False
    return True


def certificate_hash(hash_func: int, certificate: x509.Certificate) -> bytes:
    """Hash a certificate for CHASH.

    Raises Refused (Invalid HA) for MD5 and unknown hashes.
    """
    if hash_func == HashFunc.SHA_1:
        return certificate.fingerprint(SHA1())  # noqa: S303
    if hash_func == HashFunc.SHA_256:
        return certificate.fingerprint(SHA256())
    raise Refused(f"{label(HashFunc, hash_func)} is not accepted in CHASH", ErrorNo.INVALID_HA)


def _check_names(certificate: x509.Certificate) -> None:
    """Bound the identities, because a KMS looks each of them up."""
    found = identities(certificate)
    if len(found) > MAX_NAMES:
        _refuse(f"the subjectAltName has {len(found)} identities; at most {MAX_NAMES} are accepted")
    longest = max((len(one.data) for one in found), default=0)
    if longest > MAX_IDENTITY:
        _refuse(
            f"the subjectAltName has an identity of {longest} octets; it has at most {MAX_IDENTITY}"
        )


def _check_time(certificate: x509.Certificate, now: datetime) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        _refuse(f"a certificate is valid only from {start:%Y-%m-%dT%H:%M:%SZ}")
    if now > end:
        _refuse(f"a certificate expired at {end:%Y-%m-%dT%H:%M:%SZ}")


def _certifies(_policy: Policy, _by: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("a certificate that is not for a CA certifies another")


def _signs_certificates(
    _policy: Policy, _by: x509.Certificate, usage: x509.KeyUsage | None
) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("a certificate whose key usage misses keyCertSign certifies another")


def _authorities(purposes: frozenset[x509.ObjectIdentifier]) -> ExtensionPolicy:
    """Return the requirements for CAs. The purposes of a CA limit those of what it certifies."""

    def for_purposes(
        _policy: Policy, _by: x509.Certificate, extended: x509.ExtendedKeyUsage | None
    ) -> None:
        if extended is not None and not purposes & {*extended}:
            raise ValueError("the extended key usage of a CA does not allow this use")

    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _certifies)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs_certificates)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, for_purposes)
    )


def _names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    return list(_extension(certificate, x509.SubjectAlternativeName) or ())


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(oid: x509.ObjectIdentifier) -> str:
    """Return the name of a purpose, or its dotted OID if it has none."""
    return {ours: name for name, ours in _PURPOSES.items()}.get(oid, oid.dotted_string)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _refuse(text: str) -> NoReturn:
    raise Refused(text, ErrorNo.INVALID_CERT)
