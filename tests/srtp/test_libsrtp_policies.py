"""libsrtp itself at the other end: MKIs, and the policies that its Python bindings cannot set.

It has no F8, and what it makes with AES-192 does not follow the key derivation of RFC 6188,
whose vectors hold for that here.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from mikeytool.srtp import Cipher, MasterKey, Receiver, Sender, Suite, is_rtcp, suite
from mikeytool.srtp.suites import adapted, with_rtcp_tag
from tests.peers import libsrtp
from tests.peers.programs import need_library
from tests.srtp.media import protect_all, unprotect_all

from .media import master_key, random_rtp, rtcp

CM = suite("AES_CM_128_HMAC_SHA1_80")
GCM = suite("AEAD_AES_128_GCM")
# The numbers of crypto_types.h, by cipher and octets of the key.
CIPHERS = {
    (Cipher.NULL, 16): 0,
    (Cipher.AES_CM, 16): 1,
    (Cipher.AES_CM, 32): 5,
    (Cipher.AES_GCM, 16): 6,
    (Cipher.AES_GCM, 32): 7,
}
NULL_AUTH, HMAC_SHA1 = 0, 3
EACH = pytest.mark.parametrize(
    "suite",
    [
        CM,
        suite("AES_CM_128_HMAC_SHA1_32"),
        suite("AES_256_CM_HMAC_SHA1_80"),
        suite("AES_256_CM_HMAC_SHA1_32"),
        GCM,
        suite("AEAD_AES_256_GCM"),
        suite("AEAD_AES_128_GCM_8"),
        suite("AEAD_AES_256_GCM_8"),
        suite("NULL_HMAC_SHA1_80"),
        suite("NULL_HMAC_SHA1_32"),
        with_rtcp_tag(CM, 4),
        with_rtcp_tag(GCM, 8),
        adapted(CM, rtp_encrypted=False),
        adapted(CM, rtcp_encrypted=False),
        adapted(CM, rtp_authenticated=False),
        adapted(CM, tag_length=1),
        adapted(CM, tag_length=8),
        adapted(CM, tag_length=16),
        adapted(CM, auth_key_length=16),
        adapted(GCM, rtcp_encrypted=False),
    ],
    ids=lambda each: each.name,
)
MKI = pytest.mark.parametrize("number", [None, 0, 1])


def policy(suite: Suite, *, rtcp: bool) -> list[int]:
    """The fields of srtp_crypto_policy_t."""
    encrypted = suite.rtcp_encrypted if rtcp else suite.rtp_encrypted
    tag = suite.rtcp_tag_length if rtcp else suite.rtp_tag_length
    hmac = suite.auth_key_length > 0
    auth_key = max(suite.auth_key_length, 20) if rtcp else suite.auth_key_length
    return [
        CIPHERS[suite.cipher, suite.key_length],
        suite.key_length + suite.salt_length,
        HMAC_SHA1 if hmac else NULL_AUTH,
        auth_key if hmac else 0,
        tag,
        encrypted | bool(tag) << 1,
    ]


@contextmanager
def libsrtp_process() -> Iterator[subprocess.Popen[str]]:
    """A process of its own: what goes wrong there is C."""
    need_library("srtp2")
    command = [sys.executable, libsrtp.__file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        yield started


@pytest.fixture(scope="module")
def process() -> Iterator[subprocess.Popen[str]]:
    """One for all tests here."""
    with libsrtp_process() as started:
        yield started


def peer(
    suite: Suite,
    keys: Sequence[MasterKey],
    number: int | None,
    packets: list[bytes],
    *,
    process: subprocess.Popen[str] | None = None,
    **what: Any,
) -> list[bytes]:
    """The packets protected or read by libsrtp, empty ones for those that it refuses."""
    if process is None:
        with libsrtp_process() as started:
            return peer(suite, keys, number, packets, process=started, **what)
    assert process.stdin is not None
    assert process.stdout is not None
    asked = {
        **what,
        "rtp": policy(suite, rtcp=False),
        "rtcp": policy(suite, rtcp=True),
        "keys": [[(key.key + key.salt).hex(), key.mki.hex()] for key in keys],
        "mki": number,
        "packets": [packet.hex() for packet in packets],
    }
    print(json.dumps(asked), file=process.stdin, flush=True)
    return [bytes.fromhex(packet or "") for packet in json.loads(process.stdout.readline())]


def keys_of(suite: Suite, number: int | None) -> list[MasterKey]:
    if number is None:
        return [master_key(suite)]
    return [master_key(suite, 1, b"\1\2\3\4"), master_key(suite, 2, b"\1\2\3\5")]


def conversation() -> list[bytes]:
    source = random.Random(3)
    batch = []
    for number in range(60):
        batch.append(random_rtp(source, 0xFFF0 + number))
        if number % 5 == 0:
            batch.append(rtcp(source.randrange(9)))
    return batch


@EACH
@MKI
def test_what_libsrtp_protects_is_read_here(
    suite: Suite, number: int | None, process: subprocess.Popen[str]
) -> None:
    keys = keys_of(suite, number)
    protected = peer(suite, keys, number, conversation(), protect=True, process=process)
    assert list(unprotect_all(Receiver(suite, keys), protected)) == conversation()


@EACH
@MKI
def test_libsrtp_reads_what_is_protected_here(
    suite: Suite, number: int | None, process: subprocess.Popen[str]
) -> None:
    keys = keys_of(suite, number)
    clear = conversation()
    if number is not None and suite.rtp_tag_length != suite.rtcp_tag_length:
        # libsrtp looks for the MKI of SRTCP where the tag of SRTP would begin.
        clear = [packet for packet in clear if not is_rtcp(packet)]
    sender = Sender(suite, keys[number or 0], mki=number is not None)
    protected = list(protect_all(sender, clear))
    assert peer(suite, keys, number, protected, protect=False, process=process) == clear
