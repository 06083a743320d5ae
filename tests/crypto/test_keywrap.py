"""AES key wrap against the vector of RFC 3394 4.1, `cryptography` and the openssl program."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from mikeytool.crypto.keywrap import unwrap, wrap
from mikeytool.wire.errors import Refused, UsageError
from tests.peers.programs import need, run

DEFAULT_IV = bytes.fromhex("a6a6a6a6a6a6a6a6")
KEK = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
CLEAR = bytes.fromhex("00112233445566778899aabbccddeeff")
WRAPPED = bytes.fromhex("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5")


def test_the_vector_of_the_rfc() -> None:
    assert wrap(KEK, DEFAULT_IV, CLEAR) == WRAPPED
    assert unwrap(KEK, DEFAULT_IV, WRAPPED) == CLEAR


@pytest.mark.parametrize("halves", [2, 3, 5, 64, 300])
def test_cryptography_wraps_the_same(halves: int) -> None:
    """300 halves take a round counter of two octets."""
    clear = random.Random(halves).randbytes(8 * halves)
    assert wrap(KEK, DEFAULT_IV, clear) == aes_key_wrap(KEK, clear)
    assert unwrap(KEK, DEFAULT_IV, aes_key_wrap(KEK, clear)) == clear


@pytest.mark.parametrize("halves", [2, 7])
def test_openssl_takes_an_iv_of_ones_own(halves: int) -> None:
    draw = random.Random(halves)
    iv, clear = draw.randbytes(8), draw.randbytes(8 * halves)
    cipher = ["enc", "-id-aes128-wrap", "-K", KEK.hex(), "-iv", iv.hex()]
    made = run([need("openssl"), *cipher], clear)
    assert wrap(KEK, iv, clear) == made
    assert unwrap(KEK, iv, made) == clear


@pytest.mark.parametrize("length", [0, 8, 15, 17, 20])
def test_lengths_that_cannot_be_wrapped(length: int) -> None:
    with pytest.raises(UsageError, match=f"multiples of 8; this has {length}"):
        wrap(KEK, DEFAULT_IV, bytes(length))


@pytest.mark.parametrize("length", [0, 8, 16, 23, 25])
def test_lengths_that_were_never_wrapped(length: int) -> None:
    with pytest.raises(Refused, match="no wrapped key data"):
        unwrap(KEK, DEFAULT_IV, bytes(length))


def test_whatever_is_changed_does_not_unwrap() -> None:
    for at in range(len(WRAPPED)):
        changed = bytearray(WRAPPED)
        changed[at] ^= 1
        with pytest.raises(Refused, match="does not verify"):
            unwrap(KEK, DEFAULT_IV, bytes(changed))
    for kek, iv in ((CLEAR, DEFAULT_IV), (KEK, bytes(8))):
        with pytest.raises(Refused, match="does not verify"):
            unwrap(kek, iv, WRAPPED)
