"""SRTP keys of MIKEY messages of RFC 3830 and 4738, against a second implementation."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mikeytool.crypto.dh import _PRIMES
from mikeytool.exchange.inspect import VERIFIED, inspect_message
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.media.mikey_contexts import srtp_keys
from mikeytool.wire.errors import Refused
from mikeytool.wire.message import Message
from mikeytool.wire.registry import DhGroup
from tests.exchange import rfc3830 as rfc
from tests.exchange.rfc3830 import INITIATOR, RESPONDER, STAMP, Keys, Party
from tests.independent.rfc6043 import SUITES, TEK_CONSTANT, TEK_SALT_CONSTANT, prf

ENVELOPE, TGK = bytes(range(50, 66)), bytes(range(200, 216))
THEIR_NONCE, GROUP_CSB_ID = bytes(range(0x70, 0x80)), 0xAABBCCDD


@pytest.fixture(scope="session")
def parties(tmp_path_factory: pytest.TempPathFactory) -> tuple[Party, Party]:
    folder = tmp_path_factory.mktemp("parties")
    return Party(folder, INITIATOR), Party(folder, RESPONDER)


def private_key(pem: Path) -> RSAPrivateKey:
    key = load_pem_private_key(pem.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def derived(constant: int, csb_id: int, nonce: bytes, length: int) -> bytes:
    """RFC 3830 4.1.3, for crypto session 1."""
    label = struct.pack("!IBI", constant, 1, csb_id) + nonce
    return prf(SUITES[0], TGK, label, length)


# Diffie-Hellman (RFC 3830 3.3, RFC 4650 3)

XI, XR = b"\x11" * 32, b"\x13" * 24
PRIME = _PRIMES[DhGroup.OAKLEY_5]
DHI, DHR = (pow(2, int.from_bytes(x), PRIME).to_bytes(192) for x in (XI, XR))
SHARED = pow(2, int.from_bytes(XI) * int.from_bytes(XR), PRIME).to_bytes(192)
PSK = bytes(range(16))


def dh(value: bytes, spi: bytes = b"") -> rfc.Payload:
    return rfc.DH, b"\0" + value + (bytes([1, len(spi)]) + spi if spi else b"\0")


def dhhmac(spi: bytes = b"") -> tuple[bytes, bytes]:
    """Both messages of RFC 4650 3."""
    keys, empty = Keys(PSK), (rfc.KEMAC, b"\0\0\0\1")
    i, r = rfc.identity(INITIATOR), rfc.identity(RESPONDER)
    init = keys.sealed(rfc.DHHMAC_INIT, [rfc.t, rfc.rand, i, r, rfc.policy, dh(DHI, spi), empty])
    answer = keys.sealed(rfc.DHHMAC_RESP, [rfc.t, r, i, dh(DHR, spi), dh(DHI, spi), empty])
    return init, answer


def tab(*, tgk: bytes = b"", dh: bytes = b"") -> KeyRing:
    named = [(rfc.CSB_ID, key) if key else None for key in (tgk, dh)]
    tgks, dhs = ([] if one is None else [one] for one in named)
    return KeyRing(tgks=list(tgks), dhs=list(dhs))


@pytest.mark.parametrize("spi", [b"", b"\0\0\1\2"])
@pytest.mark.parametrize(
    "ring",
    [tab(tgk=SHARED), tab(dh=XI), tab(dh=XR), tab(dh=SHARED), KeyRing(dhs=[(None, XR)])],
    ids=["tgk", "xi", "xr", "shared", "any"],
)
def test_the_media_key_of_a_diffie_hellman_exchange(ring: KeyRing, spi: bytes) -> None:
    init, answer = map(Message.parse, dhhmac(spi))
    (found,) = srtp_keys(answer, ring, init)
    (master,) = found.master_keys
    label = struct.pack("!BI", 1, rfc.CSB_ID) + rfc.NONCE
    for mine, constant, length in (
        (master.key, TEK_CONSTANT, 16), (master.salt, TEK_SALT_CONSTANT, 14)
    ):  # fmt: skip
        assert mine == prf(SUITES[0], SHARED, struct.pack("!I", constant) + label, length)
    assert master.mki == spi


def test_a_tgk_needs_no_answer_and_a_secret_does() -> None:
    init, _ = map(Message.parse, dhhmac())
    assert len(srtp_keys(init, tab(tgk=SHARED))) == 1
    for secret in (XI, XR):
        with pytest.raises(Refused, match="the answer is needed"):
            srtp_keys(init, tab(dh=secret))


@pytest.mark.parametrize("secret", [XI[:-1] + b"\0", b"\1", bytes(191)])
def test_a_secret_of_neither_end(secret: bytes) -> None:
    init, answer = map(Message.parse, dhhmac())
    with pytest.raises(Refused, match="neither end"):
        srtp_keys(answer, tab(dh=secret), init)


def test_a_wrong_mac_is_not_passed_over() -> None:
    """With the pre-shared key beside it the MAC is checked, and no key is taken if it fails."""
    init, answer = dhhmac()
    ring = KeyRing(tgks=[(rfc.CSB_ID, SHARED)], psks=[(None, PSK)])
    assert srtp_keys(Message.parse(answer), ring, Message.parse(init))
    changed = answer[:-1] + bytes([answer[-1] ^ 1])
    with pytest.raises(Refused):
        srtp_keys(Message.parse(changed), ring, Message.parse(init))


def test_decode_shows_the_tgk_and_says_what_a_secret_lacks() -> None:
    init, answer = map(Message.parse, dhhmac())
    ring = KeyRing(dhs=[(rfc.CSB_ID, XR)], psks=[(None, PSK)])
    found = inspect_message(answer, ring, init)
    assert (found.mac, [key.key for key in found.keys]) == (VERIFIED, [SHARED])
    assert any("the answer is needed" in note for note in inspect_message(init, ring).notes)
    assert not inspect_message(init, KeyRing(psks=[(None, PSK)])).notes


@pytest.mark.parametrize("their_rand", [True, False])
@pytest.mark.parametrize("group", [True, False])
def test_the_inputs_of_an_rsa_r_answer(
    parties: tuple[Party, Party], group: bool, their_rand: bool
) -> None:
    """RFC 4738 3.5 and 3.6: a group takes CSB ID and RAND of the answer, two ends do not."""
    alice, bob = parties
    if group and not their_rand:
        return
    csb_id = GROUP_CSB_ID if group else rfc.CSB_ID
    nonce = THEIR_NONCE if group else rfc.NONCE
    ids = [rfc.identity(INITIATOR), rfc.identity(RESPONDER)]
    init = alice.signed(rfc.RSA_R_I, [rfc.t, rfc.rand, alice.cert, ids[1], rfc.policy])
    kemac = Keys(ENVELOPE, nonce, csb_id).lone_kemac([ids[1], rfc.tgk(TGK)])
    new = [rfc.new_csb_id(csb_id)] if group else []
    rand = [(rfc.RAND, b"\x10" + THEIR_NONCE)] if their_rand else []
    payloads = [*new, rfc.t, *rand, bob.cert, rfc.policy, kemac, alice.envelope(ENVELOPE)]
    raw = bob.signed(rfc.RSA_R_R, payloads, behind=INITIATOR + RESPONDER + STAMP)
    ring = KeyRing(rsa=[private_key(alice.pem)])
    (found,) = srtp_keys(Message.parse(raw), ring, Message.parse(init))
    (master,) = found.master_keys
    assert master.key == derived(TEK_CONSTANT, csb_id, nonce, 16)
    assert master.salt == derived(TEK_SALT_CONSTANT, csb_id, nonce, 14)
