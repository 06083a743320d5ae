"""Envelope keys against those of the known messages and of the openssl program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from mikeytool.crypto.envelope import MAX_KEYS, seal_envelope, unseal_envelope
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import PKE
from tests.crypto.test_signature import loaded
from tests.peers.programs import need, run
from tests.support import vectors

CASES = vectors("public_key")
PEM: str = CASES[0]["kms_private_key"]
KEY = loaded(PEM)
INSTEAD = bytes(range(200, 232))

each_padding = pytest.mark.parametrize("oaep", [False, True], ids=["PKCS1-v1_5", "OAEP"])


def unsealed(data: bytes, length: int = 16, *, c: int = 0) -> bytes:
    return unseal_envelope([KEY], PKE(data=data, c=c), length, instead=INSTEAD[:length])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['prf']}-oaep-{case['oaep']}")
def test_known_envelopes(case: dict[str, Any]) -> None:
    pke = Message.parse(bytes.fromhex(case["REQUEST_INIT_PK"])).find(PKE)
    assert pke is not None
    assert pke.c == 0
    key = bytes.fromhex(case["envelope_key"])
    private_key = loaded(case["kms_private_key"])
    found = unseal_envelope([private_key], pke, len(key), instead=INSTEAD[: len(key)])
    assert found == key


@each_padding
@pytest.mark.parametrize("length", [16, 32])
def test_what_is_sealed_opens(oaep: bool, length: int) -> None:
    key = bytes(range(length))
    pke = seal_envelope(KEY.public_key(), key, oaep=oaep)
    assert pke.c == 0
    assert unsealed(pke.data, length) == key
    assert seal_envelope(KEY.public_key(), key, oaep=oaep).data != pke.data


def peer(pem: Path, what: str, oaep: bool, data: bytes) -> bytes:
    """The openssl program; its OAEP has SHA-1 and MGF1-SHA-1 unless told otherwise."""
    pem.write_text(PEM)
    mode = f"rsa_padding_mode:{'oaep' if oaep else 'pkcs1'}"
    return run([need("openssl"), "pkeyutl", what, "-inkey", str(pem), "-pkeyopt", mode], data)


@each_padding
@pytest.mark.parametrize("length", [16, 32])
def test_one_of_several_keys_opens(oaep: bool, length: int) -> None:
    """Whichever it is; keys of another size are not tried."""
    others = [generate_private_key(65537, bits) for bits in (2048, 3072)]
    for at in range(3):
        keys = [*others[:at], KEY, *others[at:]]
        # The wrong key may give octets of that length by chance: 1 of 245 times.
        good = 0
        for number in range(4):
            key = bytes([number] * length)
            pke = seal_envelope(KEY.public_key(), key, oaep=oaep)
            good += unseal_envelope(keys, pke, length, instead=INSTEAD[:length]) == key
        assert good == 4 if oaep or not at else good >= 3


def test_no_more_keys_are_tried_than_that() -> None:
    pke = seal_envelope(KEY.public_key(), bytes(16), oaep=True)
    other = generate_private_key(65537, 2048)
    keys = [other] * (MAX_KEYS - 1)
    assert unseal_envelope([*keys, KEY], pke, 16, instead=INSTEAD[:16]) == bytes(16)
    assert unseal_envelope([other, *keys, KEY], pke, 16, instead=INSTEAD[:16]) != bytes(16)


@each_padding
def test_openssl_opens(oaep: bool, tmp_path: Path) -> None:
    pke = seal_envelope(KEY.public_key(), INSTEAD, oaep=oaep)
    assert peer(tmp_path / "key.pem", "-decrypt", oaep, pke.data) == INSTEAD


@each_padding
def test_openssl_seals(oaep: bool, tmp_path: Path) -> None:
    made = peer(tmp_path / "key.pem", "-encrypt", oaep, b"sixteen octets !")
    assert unsealed(made) == b"sixteen octets !"


@pytest.mark.parametrize("c", [1, 2, 3])
def test_cache_bits_are_ignored(c: int) -> None:
    """Interpretation 36."""
    made = seal_envelope(KEY.public_key(), INSTEAD)
    assert unsealed(made.data, 32, c=c) == INSTEAD


@each_padding
@pytest.mark.parametrize("length", [16, 32])
def test_another_length_gives_the_random_key(oaep: bool, length: int) -> None:
    for other in (0, 1, length - 1, length + 1, 48 - length):
        made = seal_envelope(KEY.public_key(), bytes(other), oaep=oaep)
        assert unsealed(made.data, length) == INSTEAD[:length]


@each_padding
def test_whatever_is_broken_gives_a_key_all_the_same(oaep: bool) -> None:
    """No exception and no length tells what was wrong: padding, range, or size."""
    good = seal_envelope(KEY.public_key(), bytes(16), oaep=oaep).data
    modulus = KEY.public_key().public_numbers().n.to_bytes(256)
    broken = [
        *(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(0, 256, 15)),
        *(b"", b"\0", good[:-1], good + b"\0", b"\0" + good, modulus),
        *(bytes(256), b"\1" * 256, b"\xff" * 256, bytes(255) + b"\1"),
    ]
    for data in broken:
        found = unsealed(data)
        assert len(found) == 16
        assert found != bytes(16)
