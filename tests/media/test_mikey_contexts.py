"""SRTP keys of MIKEY messages of RFC 3830 and 4738, against a second implementation."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.media.mikey_contexts import srtp_keys
from mikeytool.wire.message import Message
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
