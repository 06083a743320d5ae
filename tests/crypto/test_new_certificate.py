"""Certificates that keygen makes: who signs them, and CAs that cannot."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509 import BasicConstraints, load_pem_x509_certificate

from mikeytool.crypto.new_certificate import make_key_pair, read_issuer
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity
from tests.crypto.test_certificates import NOW, private_key, root
from tests.world import ALICE

PEM = root().public_bytes(Encoding.PEM)
PKCS8 = Encoding.PEM, PrivateFormat.PKCS8


def test_a_ca_signs_and_without_one_the_key_itself() -> None:
    key = private_key("root").private_bytes(*PKCS8, NoEncryption())
    issuer = read_issuer(PEM, key)
    _, signed = make_key_pair(ALICE, NOW, bits=2048, issuer=issuer)
    certificate = load_pem_x509_certificate(signed)
    certificate.verify_directly_issued_by(root())
    assert not certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    _, own = make_key_pair(ALICE, NOW, bits=2048)
    certificate = load_pem_x509_certificate(own)
    certificate.verify_directly_issued_by(certificate)
    with pytest.raises(UsageError, match="ASCII"):
        make_key_pair(Identity("sip:\u00fc@x".encode()), NOW, bits=2048)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (b"nothing", "no PEM"),
        (private_key("root").private_bytes(*PKCS8, BestAvailableEncryption(b"x")), "passphrase"),
        (ec.generate_private_key(ec.SECP256R1()).private_bytes(*PKCS8, NoEncryption()), "RSA key"),
    ],
)
def test_keys_of_a_ca_that_sign_nothing(key: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_issuer(PEM, key)


def test_a_certificate_of_a_ca_that_is_none() -> None:
    with pytest.raises(UsageError, match="no PEM"):
        read_issuer(b"nothing", private_key("root").private_bytes(*PKCS8, NoEncryption()))
