"""The pseudo-random functions against known answers and against OpenSSL."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mikeytool.crypto.prf import prf
from mikeytool.wire.errors import Refused
from tests.crypto import openssl
from tests.support import vectors

both = pytest.mark.parametrize("func", [0, 1], ids=["MIKEY-1", "PRF-HMAC-SHA-256"])


@pytest.mark.parametrize("case", vectors("prf"))
def test_known_answers(case: dict[str, Any]) -> None:
    inkey, label = bytes.fromhex(case["inkey"]), bytes.fromhex(case["label"])
    length = len(case["outkey"]) // 2
    assert prf(case["prf"], inkey, label, length).hex() == case["outkey"]


@pytest.mark.parametrize("case", vectors("prf"))
def test_openssl_gives_the_known_answers(case: dict[str, Any]) -> None:
    """The yardstick itself, measured."""
    inkey, label = bytes.fromhex(case["inkey"]), bytes.fromhex(case["label"])
    length = len(case["outkey"]) // 2
    assert openssl.prf(case["prf"], inkey, label, length).hex() == case["outkey"]


@both
@pytest.mark.parametrize("seed", range(12))
def test_openssl_agrees(func: int, seed: int) -> None:
    draw = random.Random(f"{func} {seed}")
    inkey = draw.randbytes(draw.randint(1, 32))
    label = draw.randbytes(draw.randint(1, 90))
    length = draw.randint(1, 200)
    assert prf(func, inkey, label, length) == openssl.prf(func, inkey, label, length)


@both
@pytest.mark.parametrize("inkey_length", [1, 31, 32, 33, 63, 64, 65, 96, 97])
def test_inkeys_around_256_bits(func: int, inkey_length: int) -> None:
    inkey = random.Random(inkey_length).randbytes(inkey_length)
    assert prf(func, inkey, b"label", 45) == openssl.prf(func, inkey, b"label", 45)


@both
@pytest.mark.parametrize("length", [1, 19, 20, 21, 31, 32, 33, 40, 41, 64, 65])
def test_lengths_around_the_hash_output(func: int, length: int) -> None:
    inkey = bytes(range(16))
    assert prf(func, inkey, b"label", length) == openssl.prf(func, inkey, b"label", length)


@both
def test_shorter_outputs_begin_longer_ones(func: int) -> None:
    long = prf(func, b"inkey", b"label", 100)
    assert all(prf(func, b"inkey", b"label", n) == long[:n] for n in range(1, 100))


@pytest.mark.parametrize("func", [2, 127, -1])
def test_other_functions_are_refused(func: int) -> None:
    with pytest.raises(Refused) as caught:
        prf(func, bytes(16), b"label", 16)
    assert caught.value.error_no == 2  # Invalid PRF
