"""Summaries of certificates for people."""

from __future__ import annotations

import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from mikeytool.crypto.certificate_facts import certificate_facts
from mikeytool.wire.payloads import CERT
from mikeytool.wire.registry import CertType
from tests.crypto.test_certificates import URI, certificate


def cert(one: x509.Certificate) -> CERT:
    return CERT(cert_type=CertType.X509V3.value, cert_data=one.public_bytes(Encoding.DER))


def test_names_of_every_kind() -> None:
    oid = x509.ObjectIdentifier("1.2.3")
    names = [
        URI("sip:a@b.c"), x509.RFC822Name("a@b.c"), x509.DNSName("b.c"),
        x509.IPAddress(ipaddress.ip_address("::1")), x509.RegisteredID(oid),
        x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])),
        x509.OtherName(oid, b"\x05\x00"),
    ]  # fmt: skip
    assert certificate_facts(cert(certificate("a", names=names)))["san"] == [
        "URI:sip:a@b.c", "email:a@b.c", "DNS:b.c", "IP:::1", "RID:1.2.3", "DirName:CN=x",
        "OtherName:0500",
    ]  # fmt: skip


def test_keys_of_every_kind() -> None:
    for key, text in (
        (None, "RSA 2048"),
        (ec.generate_private_key(ec.SECP256R1()).public_key(), "EC secp256r1"),
        (dsa.generate_private_key(1024).public_key(), "DSA 1024"),
        (ed25519.Ed25519PrivateKey.generate().public_key(), "Ed25519"),
    ):
        assert certificate_facts(cert(certificate("a", public_key=key)))["key"] == text


def test_no_certificate() -> None:
    url = CERT(cert_type=CertType.X509V3_URL.value, cert_data=b"https://a.example/\xff")
    assert certificate_facts(url) == {"url": "https://a.example/\ufffd"}
    assert "error" in certificate_facts(CERT(cert_type=CertType.X509V3.value, cert_data=b"0"))
