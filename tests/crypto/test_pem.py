"""Private keys and certificates in PEM files."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from mikeytool.crypto.pem import certificates
from mikeytool.crypto.pem import private_key as read_private_key
from mikeytool.wire.errors import Refused, UsageError, WireError
from tests.crypto.test_certificates import middle, private_key, root

CURVE = ec.generate_private_key(ec.SECP256R1())


def pem(key: object = None, encryption: KeySerializationEncryption | None = None) -> bytes:
    chosen = key if isinstance(key, ec.EllipticCurvePrivateKey) else private_key("alice")
    return chosen.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def nothing_asked() -> bytes:
    raise AssertionError("a passphrase is asked for")


def test_private_keys() -> None:
    numbers = private_key("alice").private_numbers()
    assert read_private_key(pem(), "a", nothing_asked).private_numbers() == numbers
    closed = pem(None, BestAvailableEncryption(b"open"))
    assert read_private_key(closed, "a", lambda: b"open").private_numbers() == numbers
    with pytest.raises(Refused, match="passphrase does not open"):
        read_private_key(closed, "a", lambda: b"shut")
    with pytest.raises(Refused, match="passphrase does not open"):
        read_private_key(closed, "a", lambda: b"")
    with pytest.raises(UsageError, match="a: this key is not for RSA"):
        read_private_key(pem(CURVE), "a", nothing_asked)
    for nothing in (b"", b"no key", pem()[:-40]):
        with pytest.raises(WireError, match="a: this is no private key"):
            read_private_key(nothing, "a", nothing_asked)


def test_certificates_in_their_order() -> None:
    both = b"".join(one.public_bytes(Encoding.PEM) for one in (middle(), root()))
    assert certificates(both, "a") == [middle(), root()]
    for nothing in (b"", b"no certificate", pem()):
        with pytest.raises(WireError, match="a: this is no certificate"):
            certificates(nothing, "a")
