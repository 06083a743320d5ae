"""Signatures against those of the known messages and of the openssl program."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from mikeytool.crypto.signature import check_signature, sign, signature_length
from mikeytool.wire.errors import Refused
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import SIGN
from mikeytool.wire.registry import ErrorNo
from tests.crypto import openssl
from tests.peers.programs import need, run
from tests.support import vectors

CASES = vectors("public_key")
COVERED = b"what is signed, and who signed it"
KEY_PEM: str = CASES[0]["private_key"]

each = pytest.mark.parametrize(("prf", "s_type"), [(0, 0), (0, 1), (1, 0), (1, 1)])


@cache
def loaded(pem: str) -> RSAPrivateKey:
    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


KEY = loaded(KEY_PEM)


def options(prf: int, s_type: int) -> list[str]:
    """What tells the openssl program to do the same."""
    digest = f"-{openssl.DIGEST[prf].lower()}"
    if s_type == 0:
        return [digest]
    return [digest, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['prf']}-pss-{case['pss']}")
def test_known_signatures(case: dict[str, Any]) -> None:
    """RFC 6043 5.5: S type and length are covered, then come Identity_i and Identity_kms."""
    raw = bytes.fromhex(case["REQUEST_INIT_PK"])
    signature = Message.parse(raw).payloads[-1]
    assert isinstance(signature, SIGN)
    assert signature.s_type == case["pss"]
    covered = raw[: -len(signature.signature)] + case["initiator"].encode() + case["kms"].encode()
    key = loaded(case["private_key"])
    check_signature(case["prf"], key.public_key(), signature.s_type, covered, signature.signature)
    assert signature_length(key) == len(signature.signature)
    if not case["pss"]:
        assert sign(case["prf"], key, 0, covered) == signature.signature


@each
def test_openssl_verifies(prf: int, s_type: int, tmp_path: Path) -> None:
    public = tmp_path / "public.pem"
    public.write_bytes(
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    made = tmp_path / "signature"
    made.write_bytes(sign(prf, KEY, s_type, COVERED))
    said = run(
        [
            *(need("openssl"), "dgst", *options(prf, s_type)),
            *("-verify", str(public), "-signature", str(made)),
        ],
        COVERED,
    )
    assert said.strip() == b"Verified OK"


@each
def test_openssl_signs(prf: int, s_type: int, tmp_path: Path) -> None:
    pem = tmp_path / "private.pem"
    pem.write_text(KEY_PEM)
    made = run(
        [need("openssl"), "dgst", *options(prf, s_type), "-sign", str(pem), "-binary"], COVERED
    )
    check_signature(prf, KEY.public_key(), s_type, COVERED, made)
    if s_type == 0:
        assert made == sign(prf, KEY, 0, COVERED)


def refusal(prf: int, s_type: int, covered: bytes, signature: bytes) -> int:
    with pytest.raises(Refused) as caught:
        check_signature(prf, KEY.public_key(), s_type, covered, signature)
    return caught.value.error_no


@each
def test_every_flipped_bit_is_refused(prf: int, s_type: int) -> None:
    good = sign(prf, KEY, s_type, COVERED)
    check_signature(prf, KEY.public_key(), s_type, COVERED, good)
    for data, other in ((COVERED, False), (good, True)):
        for at in range(len(data)):
            flipped = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
            pair = (COVERED, flipped) if other else (flipped, good)
            assert refusal(prf, s_type, *pair) == ErrorNo.AUTH_FAILURE


@each
def test_other_lengths_and_types(prf: int, s_type: int) -> None:
    good = sign(prf, KEY, s_type, COVERED)
    for signature in (b"", good[:-1], good[1:], b"\0" + good, good + b"\0", bytes(len(good))):
        assert refusal(prf, s_type, COVERED, signature) == ErrorNo.AUTH_FAILURE
    for other in (1 - s_type, 2, 15):
        assert refusal(prf, other, COVERED, good) == ErrorNo.AUTH_FAILURE


@each
def test_the_hash_goes_with_the_prf(prf: int, s_type: int) -> None:
    """Interpretation 35: above all no SHA-1 with PRF-HMAC-SHA-256."""
    other = sign(1 - prf, KEY, s_type, COVERED)
    assert refusal(prf, s_type, COVERED, other) == ErrorNo.INVALID_HA


def test_another_length_of_salt() -> None:
    """Interpretation 35: as long as the hash."""
    for length in (0, 20, 222):
        made = KEY.sign(COVERED, PSS(MGF1(SHA256()), length), SHA256())
        assert refusal(1, 1, COVERED, made) == ErrorNo.AUTH_FAILURE
