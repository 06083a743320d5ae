"""Tags with the ROC (RFC 4771), against a writer that shares nothing with the code but the KDF."""

from __future__ import annotations

import hmac
from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from mikeytool.srtp import SUITES, Receiver, Sender, Suite, policy_for, read_policy
from mikeytool.srtp.kdf import rtp_keys
from mikeytool.srtp.roc_search import SearchBudget
from mikeytool.srtp.suites import Rcc, adapted
from mikeytool.wire.errors import MikeyError, Refused, UsageError
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import SP, PolicyParam
from mikeytool.wire.registry import SrtpParam as P

from .media import SSRC, master_key, rtcp, rtp

CM, GCM = SUITES["AES_CM_128_HMAC_SHA1_80"], SUITES["AEAD_AES_128_GCM"]
ROC = 70_000
KINDS = [
    (CM, 1, 1, 14), (CM, 1, 4, 14), (CM, 2, 1, 14), (CM, 2, 4, 14), (CM, 2, 3, 8),
    (CM, 3, 1, 4), (CM, 3, 4, 4), (GCM, 3, 1, 4), (GCM, 3, 4, 4),
]  # fmt: skip
EACH = pytest.mark.parametrize(
    ("base", "mode", "rate", "tag"),
    KINDS,
    ids=[f"{k[0].cipher.value}-m{k[1]}-{k[2]}" for k in KINDS],
)


def written(
    base: Suite, mode: int, rate: int, tag: int, packet: bytes, roc: int, mki: bytes = b""
) -> bytes:
    """A packet laid out by hand, as RFC 4771 2 and 3 and RFC 7714 7.1 say."""
    key = master_key(base)
    keys = rtp_keys(base, key.key, key.salt)
    sequence = int.from_bytes(packet[2:4], "big")
    carries = sequence % rate == 0
    carried = roc.to_bytes(4, "big") if carries else b""
    salt = int.from_bytes(keys.salt, "big")
    if base is GCM:
        iv = (salt ^ SSRC << 48 ^ roc << 16 ^ sequence).to_bytes(12, "big")
        sealed = packet[:12] + AESGCM(keys.encryption).encrypt(iv, packet[12:], packet[:12])
        return sealed + mki + carried
    counter = (salt << 16 ^ SSRC << 64 ^ (roc << 16 | sequence) << 16).to_bytes(16, "big")
    stream = Cipher(AES(keys.encryption), CTR(counter)).encryptor()
    sealed = packet[:12] + stream.update(packet[12:])
    mac = hmac.digest(keys.authentication, sealed + roc.to_bytes(4, "big"), "sha1")
    if mode == 3 or (mode == 1 and not carries):
        mac = b""
    return sealed + mki + carried + mac[: tag - 4 if carries else tag]


@EACH
@pytest.mark.parametrize("mki", [b"", b"\xab\xcd"])
def test_what_is_written_by_hand(base: Suite, mode: int, rate: int, tag: int, mki: bytes) -> None:
    chosen = adapted(base, rcc=Rcc(mode, rate, tag))
    key = master_key(base, mki=mki)
    clear = [rtp(n) for n in range(12)]
    wire = [written(base, mode, rate, tag, each, ROC, mki) for each in clear]
    sender = Sender(chosen, key, mki=bool(mki), roc={SSRC: ROC})
    assert [sender.protect(each) for each in clear] == wire
    # No search: the first packet says which ROC it is.
    receiver = Receiver(chosen, [key], mki=bool(mki), budget=SearchBudget(0))
    assert [receiver.unprotect(each) for each in wire] == clear
    assert receiver.highest[SSRC].rtp >> 16 == ROC
    # A gap of many ROCs, and the next packet with a ROC tells.
    later = [rtp(n) for n in range(12, 24)]
    wire = [written(base, mode, rate, tag, each, ROC + 5000, mki) for each in later]
    assert [receiver.unprotect(each) for each in wire] == later
    assert not any("found by trying" in note for note in receiver.notes.take())


@EACH
def test_rtcp_has_no_roc(base: Suite, mode: int, rate: int, tag: int) -> None:
    chosen, key = adapted(base, rcc=Rcc(mode, rate, tag)), master_key(base)
    assert Sender(chosen, key).protect(rtcp()) == Sender(base, key).protect(rtcp())


@pytest.mark.parametrize(("base", "mode"), [(CM, 1), (CM, 2), (GCM, 3)])
def test_another_roc_does_not_pass(base: Suite, mode: int) -> None:
    tag = 4 if mode == 3 else 14
    chosen, key = adapted(base, rcc=Rcc(mode, 1, tag)), master_key(base)
    packet = bytearray(written(base, mode, 1, tag, rtp(0), 5))
    packet[-tag + 3] ^= 1
    receiver = Receiver(chosen, [key])
    with pytest.raises(MikeyError):
        receiver.unprotect(bytes(packet))
    assert receiver.unprotect(written(base, mode, 1, tag, rtp(0), 5)) == rtp(0)


def test_what_is_not_verified_is_said() -> None:
    for (base, mode, rate, tag), verified in zip(
        KINDS, (10, 0, 10, 10, 4, 0, 0, 16, 16), strict=True
    ):
        chosen = adapted(base, rcc=Rcc(mode, rate, tag))
        assert chosen.rtp_tag_length == verified
        assert ("RTP is not authenticated" in chosen.leaves_open) == (not verified)


@EACH
def test_a_policy_says_it_and_is_read(base: Suite, mode: int, rate: int, tag: int) -> None:
    chosen = adapted(base, rcc=Rcc(mode, rate, tag))
    assert read_policy(policy_for(chosen, 0)) == chosen
    assert f"RCCm{mode}" in chosen.name


def sp(params: dict[int, int]) -> SP:
    return SP(
        policy_no=0,
        protocol=0,
        policy_param=[
            PolicyParam(type=int(kind), value=value.to_bytes(2 if kind == 13 else 1, "big"))
            for kind, value in params.items()
        ],
    )


def test_the_default_of_mission_critical_groups() -> None:
    message = Message.parse(
        b64decode(
            "AQAFABEiM0QBAAARIjNEAAAAAAsA6HVHAAAAAAAKEAABAgMEBQYHCAkKCwwNDg8BAAAAGwABBgEBEAIBBAQB"
            "DAUBAAYBABIBBBMBABQBEAAAACIAMAAQAAECAwQFBgcICQoLDA0ODwAMAAECAwQFBgcICQoLAA=="
        )
    )
    (policy,) = message.all(SP)
    found = read_policy(policy)
    assert found == adapted(GCM, rcc=Rcc(3, 1, 4))
    assert found.protects


def test_what_is_for_srtp_alone_takes_precedence() -> None:
    found = read_policy(sp({P.AUTH_ALG: 1, P.SRTP_AUTH_ALG: 2, P.AUTH_TAG_LENGTH: 10,
                            P.SRTP_AUTH_TAG_LENGTH: 14, P.ROC_RATE: 512}))  # fmt: skip
    assert found.rcc == Rcc(1, 512, 14)
    assert found.rtcp_tag_length == 10
    assert read_policy(sp({P.SRTP_AUTH_TAG_LENGTH: 4})) == SUITES["AES_CM_128_HMAC_SHA1_32"]
    assert read_policy(sp({P.SRTCP_AUTH_TAG_LENGTH: 4})).rtcp_tag_length == 4
    # A general length is that of RTCP where the tag of RTP is the ROC alone.
    assert read_policy(sp({P.AUTH_ALG: 4, P.AUTH_TAG_LENGTH: 10})).rcc == Rcc(3, 1, 4)


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({P.AUTH_ALG: 4, P.SRTP_AUTH_TAG_LENGTH: 8}, "RCCm3"),
        ({P.AUTH_ALG: 2, P.SRTP_AUTH_TAG_LENGTH: 3}, "with the ROC in it"),
        ({P.AUTH_ALG: 2, P.ROC_RATE: 0}, "rate of 0"),
        ({P.ROC_RATE: 1}, "without RCCm1"),
        ({P.ENCR_ALG: 6, P.AUTH_ALG: 1 + 1}, "RFC 7714 7.1"),
        ({P.SRTCP_AUTH_ALG: 2}, "SRTCP Auth. algorithm"),
    ],
)
def test_what_rfc_4771_forbids(params: dict[int, int], why: str) -> None:
    with pytest.raises(Refused, match=why):
        read_policy(sp(params))


def test_a_rate_beyond_16_bits() -> None:
    with pytest.raises(UsageError, match="1 to 65535"):
        adapted(CM, rcc=Rcc(1, 1 << 16, 14))
