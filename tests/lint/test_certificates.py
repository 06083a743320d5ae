from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mikeytool.wire.payloads import CERT, SIGN
from tests.lint.messages import (
    ALICE,
    BOB,
    NOW,
    SECOND,
    Case,
    D,
    case,
    cert,
    change,
    codes,
    edited,
    good,
    insert,
    octets,
    swap,
)

RSA_SHA_1 = bytes.fromhex("2a864886f70d010105")
RSA_SHA_256 = bytes.fromhex("2a864886f70d01010b")
"""The object identifiers of two signatures, in DER (RFC 8017 appendix C)."""

START = datetime.fromtimestamp(NOW // SECOND, UTC)


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def made(
    *,
    key: Any = None,
    days: tuple[int, int] = (-1, 1),
    who: bytes = ALICE,
    issuer: str = "alice",
) -> bytes:
    """A certificate in DER."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key((key or rsa_key()).public_key())
        .serial_number(1)
        .not_valid_before(START + timedelta(days=days[0]))
        .not_valid_after(START + timedelta(days=days[1]))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(who.decode())]),
            critical=False,
        )
    )
    return builder.sign(rsa_key(), SHA256()).public_bytes(Encoding.DER)


def with_cert(**how: Any) -> bytes:
    return edited(good(D.DH_INIT), change("CERT", cert_data=made(**how)))


CASES = [
    case("cert-unreadable", D.DH_INIT, change("CERT", cert_data=b"0\x82")),
    case("cert-url", D.DH_INIT, change("CERT", cert_type=1, cert_data=b"no url")),
    Case(
        "cert-chain",
        lambda: edited(
            good(D.REQUEST_INIT_PK),
            change("CERT", cert_data=made(issuer="someone else")),
            insert(CERT(cert_type=0, cert_data=made()), "IDRkms"),
        ),
    ),
    Case("cert-weak", lambda: with_cert(key=rsa_key(1024))),
    Case("cert-weak", lambda: with_cert(key=ec.generate_private_key(ec.SECP256R1()))),
    case("cert-weak", D.DH_INIT, change("CERT", cert_data=made().replace(RSA_SHA_256, RSA_SHA_1))),
    Case("cert-expired", lambda: with_cert(days=(-3, -2))),
    Case("cert-to-come", lambda: with_cert(days=(1, 2))),
    Case("cert-identity", lambda: with_cert(who=BOB)),
    case("cert-with-eccsi", D.SAKKE_MSG, insert(cert(), "SP")),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


def test_good_certificates() -> None:
    assert codes(with_cert()) == []


def test_certificates_for_signatures_and_for_encryption_are_no_chain() -> None:
    both = edited(
        good(D.DH_INIT),
        change("CERT", cert_type=2, cert_data=made(issuer="someone else")),
        insert(CERT(cert_type=3, cert_data=made()), "CERT"),
    )
    assert codes(both) == []


def test_a_url() -> None:
    url = b"http://example.com/alice.cer"
    assert codes(edited(good(D.DH_INIT), change("CERT", cert_type=1, cert_data=url))) == []


def test_a_sakke_message_with_an_rsa_signature() -> None:
    signed = edited(
        good(D.SAKKE_MSG), insert(cert(), "SP"), swap("SIGN", SIGN(s_type=1, signature=octets(256)))
    )
    assert codes(signed) == ["signature-sha1"]


def test_a_thousand_certificates_take_no_more_time_than_eight() -> None:
    many = edited(good(D.DH_INIT), *[insert(CERT(cert_type=0, cert_data=b"0"), "SP")] * 1000)
    assert codes(many).count("cert-unreadable") == 7
