"""Rules about the certificates in a message (RFC 3830 6.7, RFC 6043 4.2.1.3).

Reading a certificate loads OpenSSL, so this is put off until a message has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from mikeytool.lint.rule import Found, Level, rule
from mikeytool.lint.strength import MIN_RSA
from mikeytool.lint.subject import Subject, Within, identity_in
from mikeytool.lint.times import span
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import CERT, ID, IDR, SIGN
from mikeytool.wire.registry import CertType, DataType, IdRole, SType

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

D = DataType
MOST = 8
"""How many certificates of a message are checked."""

_NS = 1_000_000_000
_CHAINED = (D.REQUEST_INIT_PK, D.RESOLVE_INIT_PK)
"""The data types in which several certificates are a chain; in others some may be for
signatures and others for encryption (RFC 3830 6.7)."""

_WEAK_HASHES = ("md5", "sha1")


@lru_cache(maxsize=2 * MOST)
def _read(der: bytes) -> Certificate | str:
    """A certificate, or why it cannot be read."""
    from mikeytool.crypto.certificates import read_certificate

    try:
        return read_certificate(der)
    except Refused as error:
        return str(error)


def _certs(subject: Subject) -> list[CERT]:
    """The first CERT payloads that hold a certificate rather than a URL."""
    held = (p for p in subject.message.all(CERT) if p.cert_type != CertType.X509V3_URL)
    return [payload for payload, _ in zip(held, range(MOST), strict=False)]


def _certificates(subject: Subject) -> Iterator[tuple[CERT, Certificate]]:
    for payload in _certs(subject):
        certificate = _read(payload.cert_data)
        if not isinstance(certificate, str):
            yield payload, certificate


@rule("cert-unreadable", Level.ERROR, "RFC 3830 6.7", needs=CERT)
def cert_unreadable(subject: Subject) -> Iterator[Found]:
    """A CERT payload without a readable X.509 certificate in DER."""
    for payload in _certs(subject):
        trouble = _read(payload.cert_data)
        if isinstance(trouble, str):
            yield Found(payload, f"{trouble}; DER is expected")


@rule("cert-url", Level.ERROR, "RFC 3830 6.7", on=CERT)
def cert_url(subject: Subject, payload: CERT, within: Within) -> Iterator[Found]:
    """A certificate URL that is not a plain ASCII URL."""
    if payload.cert_type == CertType.X509V3_URL:
        url = payload.cert_data
        if not (url.isascii() and b"://" in url and not set(url) & set(range(33))):
            yield Found(payload, "the content is not a URL in plain ASCII, scheme://host/path")


@rule("cert-chain", Level.ERROR, "RFC 6043 4.2.1.3", needs=CERT, kinds=_CHAINED)
def cert_chain(subject: Subject) -> Iterator[Found]:
    """A chain in which a certificate does not certify the one before it."""
    for (_, below), (payload, above) in pairwise(_certificates(subject)):
        if below.issuer != above.subject:
            yield Found(
                payload,
                "the certificate does not certify the one before it; put the sender's own first,"
                " then each one that certifies the one before it",
            )


@rule("cert-weak", Level.WARNING, "RFC 3830 4.3.1", needs=CERT)
def cert_weak(subject: Subject) -> Iterator[Found]:
    """A certificate with a short RSA key, another kind of key, or a SHA-1 or MD5 signature."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    for payload, certificate in _certificates(subject):
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            yield Found(
                payload,
                "the key is not an RSA key, and MIKEY supports no other kind in a certificate",
            )
        elif key.key_size < MIN_RSA:
            yield Found(payload, f"the RSA key has {key.key_size} bits; use at least {MIN_RSA}")
        try:
            signed_with = certificate.signature_hash_algorithm
        except UnsupportedAlgorithm:
            continue
        if signed_with is not None and signed_with.name in _WEAK_HASHES:
            yield Found(payload, f"the certificate is signed with {signed_with.name}")


@rule("cert-expired", Level.NOTE, "RFC 3830 4.3.1", needs=CERT)
def cert_expired(subject: Subject) -> Iterator[Found]:
    """A certificate that has expired."""
    for payload, certificate in _certificates(subject):
        ended = int(certificate.not_valid_after_utc.timestamp()) * _NS
        if ended < subject.now_ns:
            yield Found(payload, f"the certificate expired {span(subject.now_ns - ended)} ago")


@rule("cert-to-come", Level.WARNING, "RFC 3830 4.3.1", needs=CERT)
def cert_to_come(subject: Subject) -> Iterator[Found]:
    """A certificate that is not valid yet."""
    for payload, certificate in _certificates(subject):
        begins = int(certificate.not_valid_before_utc.timestamp()) * _NS
        if begins > subject.now_ns:
            yield Found(
                payload, f"the certificate becomes valid only in {span(begins - subject.now_ns)}"
            )


@rule("cert-identity", Level.WARNING, "RFC 3830 4.3.1", needs=CERT)
def cert_identity(subject: Subject) -> Iterator[Found]:
    """A certificate without the sender's identity in its subjectAltName."""
    # The CN is never looked at (interpretation 34).
    sender = _sender(subject)
    for payload, certificate in _certificates(subject):
        from mikeytool.crypto.certificates import identities

        if sender is not None and Identity.of(sender) not in identities(certificate):
            yield Found(
                payload,
                f"the subjectAltName does not contain the sender, {Identity.of(sender)}",
            )
        return


def _sender(subject: Subject) -> ID | IDR | None:
    """The identity of the signer of the message, which comes before all others."""
    if subject.kind in (D.REQUEST_INIT_PK, D.REQUEST_KEY_PKE):
        return identity_in(subject.message.payloads, IdRole.INITIATOR)
    if subject.kind == D.RESOLVE_INIT_PK:
        return identity_in(subject.message.payloads, IdRole.RESPONDER)
    if subject.kind in (D.PUBLIC_KEY, D.DH_INIT, D.RSA_R_I_MSG, D.RSA_R_R_MSG):
        return subject.message.find(ID)
    return None


@rule("cert-with-eccsi", Level.ERROR, "RFC 6509 2.2.1", on=CERT, kinds=[D.SAKKE_MSG])
def cert_with_eccsi(subject: Subject, payload: CERT, within: Within) -> Iterator[Found]:
    """A certificate beside an ECCSI signature, which needs none, in a SAKKE message."""
    sign = subject.message.find(SIGN)
    if sign is not None and sign.s_type == SType.ECCSI:
        yield Found(
            payload,
            "an ECCSI signature is verified with an identity, not with a certificate; leave it out",
        )
