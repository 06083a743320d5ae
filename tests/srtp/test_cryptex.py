"""Cryptex: the vectors of RFC 9335 appendix A, and packets by hand for what they leave out."""

from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from mikeytool.srtp import SUITES, MasterKey, Receiver, Sender, suite
from mikeytool.srtp.kdf import rtp_keys
from mikeytool.wire.errors import MikeyError

from .media import SSRC, master_key, rtp

CM, GCM = SUITES["AES_CM_128_HMAC_SHA1_80"], SUITES["AEAD_AES_128_GCM"]
CM_KEY = MasterKey(
    bytes.fromhex("e1f97a0d3e018be0d64fa32c06de4139"),
    bytes.fromhex("0ec675ad498afeebb6960b3aabe6"),
)
GCM_KEY = MasterKey(
    bytes.fromhex("000102030405060708090a0b0c0d0e0f"), bytes.fromhex("a0a1a2a3a4a5a6a7a8a9aaab")
)
AES_CTR = [
    pytest.param(
        "900f1235decafbadcafebabebede000151000200abababababababababababababababab",
        "900f1235decafbadcafebabec0de0001eb92365251c3e036f8de27e9c27ee3e0b4651d9fbc4218a7"
        "0244522f34a5",
        id="A.1.1",
    ),
    pytest.param(
        "900f1236decafbadcafebabe1000000105020002abababababababababababababababab",
        "900f1236decafbadcafebabec2de00014ed9cc4e6a712b3096c5ca77339d4204ce0d77396cab6958"
        "5fbce38194a5",
        id="A.1.2",
    ),
    pytest.param(
        "920f1238decafbadcafebabe0001e2400000b26ebede000151000200abababababababababababababababab",
        "920f1238decafbadcafebabe8bb6e12b5cff16ddc0de000192838c8c09e58393e1de3a9a74734d67"
        "45671338c3acf11da2df8423bee0",
        id="A.1.3",
    ),
    pytest.param(
        "920f1239decafbadcafebabe0001e2400000b26e1000000105020002abababababababababababababababab",
        "920f1239decafbadcafebabef70e513eb90b9b25c2de0001bbed4848faa644665f3d7f34125914e9"
        "f4d0ae923c6f479b95a0f7b53133",
        id="A.1.4",
    ),
    pytest.param(
        "920f123adecafbadcafebabe0001e2400000b26ebede0000abababababababababababababababab",
        "920f123adecafbadcafebabe7130b6abfe2ab0e3c0de0000e3d9f64b25c9e74cb4cf8e43fb92e378"
        "1c2c0ceab6b3a499a14c",
        id="A.1.5",
    ),
    pytest.param(
        "920f123bdecafbadcafebabe0001e2400000b26e10000000abababababababababababababababab",
        "920f123bdecafbadcafebabecbf24c124330e1c8c2de0000599dd45bc9d687b603e8b59d771fd38e"
        "88b170e0cd31e125eabe",
        id="A.1.6",
    ),
]
AES_GCM = [
    pytest.param(
        "900f1235decafbadcafebabebede000151000200abababababababababababababababab",
        "900f1235decafbadcafebabec0de000139972dc9572c4d99e8fc355de743fb2e94f9d8ff54e72f41"
        "93bbc5c74ffab0fa9fa0fbeb",
        id="A.2.1",
    ),
    pytest.param(
        "900f1236decafbadcafebabe1000000105020002abababababababababababababababab",
        "900f1236decafbadcafebabec2de0001bb75a4c545cd1f413bdb7daa2b1e3263de313667c9632490"
        "81b35a65f5cb6c88b394235f",
        id="A.2.2",
    ),
    pytest.param(
        "920f1238decafbadcafebabe0001e2400000b26ebede000151000200abababababababababababababababab",
        "920f1238decafbadcafebabe63bbccc4a7f695c4c0de00018ad7c71fac70a80c92866b4c6ba98546"
        "ef913586e95ffaaffe956885bb0647a8bc094ac8",
        id="A.2.3",
    ),
    pytest.param(
        "920f1239decafbadcafebabe0001e2400000b26e1000000105020002abababababababababababababababab",
        "920f1239decafbadcafebabe3680524f8d312b00c2de0001c78d120038422bc111a7187a18246f98"
        "0c059cc6bc9df8b626394eca344e4b05d80fea83",
        id="A.2.4",
    ),
    pytest.param(
        "920f123adecafbadcafebabe0001e2400000b26ebede0000abababababababababababababababab",
        "920f123adecafbadcafebabe15b6bb4337906fffc0de0000b7b964537a2b03ab7ba5389ce9331712"
        "6b5d974df30c6884dcb651c5e120c1da",
        id="A.2.5",
    ),
    pytest.param(
        "920f123bdecafbadcafebabe0001e2400000b26e10000000abababababababababababababababab",
        "920f123bdecafbadcafebabedcb38c9e48bf95f4c2de000061ee432cf920317076613258d3ce4236"
        "c06ac429681ad08413512dc98b5207d8",
        id="A.2.6",
    ),
]


@pytest.mark.parametrize(("clear", "encrypted"), AES_CTR)
def test_rfc_9335_a_1(clear: str, encrypted: str) -> None:
    sender = Sender(CM, CM_KEY, with_cryptex=True)
    assert sender.protect(bytes.fromhex(clear)).hex() == encrypted
    assert Receiver(CM, [CM_KEY]).unprotect(bytes.fromhex(encrypted)).hex() == clear


@pytest.mark.parametrize(("clear", "encrypted"), AES_GCM)
def test_rfc_9335_a_2(clear: str, encrypted: str) -> None:
    sender = Sender(GCM, GCM_KEY, with_cryptex=True)
    assert sender.protect(bytes.fromhex(clear)).hex() == encrypted
    assert Receiver(GCM, [GCM_KEY]).unprotect(bytes.fromhex(encrypted)).hex() == clear


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_reads_what_it_writes(name: str) -> None:
    chosen = suite(name)
    key = master_key(chosen, mki=b"\1\2")
    sender, receiver = Sender(chosen, key, mki=True, with_cryptex=True), Receiver(chosen, [key])
    for number, packet in enumerate(
        (
            rtp(0),
            rtp(1, extension=b"\x10\xaa\0\0"),
            rtp(2, extension=b"", csrcs=(1, 2, 3)),
            rtp(3, extension=b"\x10\xaa\0\0", csrcs=(7,), payload=b""),
        )
    ):
        protected = sender.protect(packet)
        assert (b"\xc0\xde" in protected[:28]) == bool(number)
        assert receiver.unprotect(protected) == packet
    assert sender.notes.take() == Sender(chosen, key).notes.take()


def test_csrcs_alone_get_an_empty_extension() -> None:
    # Laid out by hand: fixed header with X, encrypted CSRCs, the mark, encrypted payload.
    keys = rtp_keys(CM, CM_KEY.key, CM_KEY.salt)
    packet = rtp(5, b"payload", csrcs=(0x01020304, 0x05060708))
    start = int.from_bytes(keys.salt, "big") << 16 ^ SSRC << 64 ^ 5 << 16
    stream = Cipher(AES(keys.encryption), CTR(start.to_bytes(16, "big"))).encryptor()
    body = stream.update(packet[12:])
    wire = b"\x92" + packet[1:12] + body[:8] + b"\xc0\xde\0\0" + body[8:]
    wire += hmac.digest(keys.authentication, wire + bytes(4), "sha1")[:10]
    assert Sender(CM, CM_KEY, with_cryptex=True).protect(packet) == wire
    opened = b"\x92" + packet[1:20] + b"\xbe\xde\0\0" + b"payload"
    assert Receiver(CM, [CM_KEY]).unprotect(wire) == opened


@pytest.mark.parametrize("profile", ["1001", "100f", "0000", "abac"])
def test_other_extensions_stay_in_the_clear(profile: str) -> None:
    packet = bytearray(rtp(1, extension=b"\x10\xaa\0\0"))
    packet[12:14] = bytes.fromhex(profile)
    sender = Sender(CM, CM_KEY, with_cryptex=True)
    protected = sender.protect(bytes(packet))
    assert protected == Sender(CM, CM_KEY).protect(bytes(packet))
    assert protected[:20] == packet[:20]
    assert "RFC 8285" in " ".join(sender.notes.take())


def test_without_it_extensions_are_sent_as_ever() -> None:
    packet = rtp(1, extension=b"\x10\xaa\0\0", csrcs=(9,))
    assert Sender(CM, CM_KEY).protect(packet)[:24] == packet[:24]


@pytest.mark.parametrize("at", [0, 1, 8, 12, 16, 18, 20, 30])
@pytest.mark.parametrize("key", [CM_KEY, GCM_KEY], ids=["CM", "GCM"])
def test_each_part_is_authenticated(key: MasterKey, at: int) -> None:
    chosen = CM if key is CM_KEY else GCM
    packet = rtp(1, extension=b"\x10\xaa\0\0", csrcs=(9,))
    protected = bytearray(Sender(chosen, key, with_cryptex=True).protect(packet))
    protected[at] ^= 1
    with pytest.raises(MikeyError):
        Receiver(chosen, [key]).unprotect(bytes(protected))
