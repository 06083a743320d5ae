"""MACs against OpenSSL's HMAC."""

from __future__ import annotations

import random

import pytest

from mikeytool.crypto.derive import message_keys
from mikeytool.crypto.mac import mac, mac_is_good
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import MacAlg
from tests.crypto import openssl

KEYS = message_keys(0, bytes(range(16)), 0x12345678, response=False, randr_i=b"rand")
LABEL = bytes.fromhex("ff 12345678 01 04") + b"rand" + b"\0"

each = pytest.mark.parametrize(
    ("mac_alg", "func", "length"),
    [(MacAlg.HMAC_SHA_1_160, 0, 20), (MacAlg.HMAC_SHA_256_256, 1, 32)],
    ids=["HMAC-SHA-1-160", "HMAC-SHA-256-256"],
)


@each
@pytest.mark.parametrize("covered_length", [0, 1, 63, 64, 65, 1000])
def test_openssl_agrees(mac_alg: int, func: int, length: int, covered_length: int) -> None:
    covered = random.Random(covered_length).randbytes(covered_length)
    auth_key = openssl.prf(0, bytes(range(16)), openssl.AUTH + LABEL, length)
    made = mac(mac_alg, KEYS, covered)
    assert made == openssl.hmac(func, auth_key, covered)
    assert len(made) == length


@each
def test_only_the_whole_mac_is_good(mac_alg: int, func: int, length: int) -> None:
    good = mac(mac_alg, KEYS, b"covered")
    assert mac_is_good(mac_alg, KEYS, b"covered", good)
    assert not mac_is_good(mac_alg, KEYS, b"Covered", good)
    assert not mac_is_good(mac_alg, KEYS, b"covered", good[:-1])
    assert not mac_is_good(mac_alg, KEYS, b"covered", good + b"\0")
    assert not mac_is_good(mac_alg, KEYS, b"covered", b"")
    for at in range(length):
        changed = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert not mac_is_good(mac_alg, KEYS, b"covered", changed)


@pytest.mark.parametrize("mac_alg", [MacAlg.NULL, 3, 255])
def test_other_algorithms_prove_nothing(mac_alg: int) -> None:
    """A NULL MAC has no octets, so none would be equal to none."""
    with pytest.raises(Refused) as caught:
        mac_is_good(mac_alg, KEYS, b"covered", b"")
    assert caught.value.error_no == 3  # Invalid MAC
    with pytest.raises(Refused):
        mac(mac_alg, KEYS, b"covered")
