"""AES in counter mode with HMAC-SHA1 (RFC 3711 4.1.1; RFC 6188 2 for 192 and 256 bits).

For speed, the RTP sealer and opener inline the functions that the RTCP ones call.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from mikeytool.srtp import hmac_sha1
from mikeytool.srtp.interface import (
    Crypt,
    RtcpOpener,
    RtcpSealer,
    RtpOpener,
    RtpSealer,
    Run,
    RunOpener,
)
from mikeytool.srtp.kdf import SessionKeys
from mikeytool.srtp.packet import RTP_HEADER
from mikeytool.wire.errors import Refused

# Octets. The low 16 bits of the counter number the blocks of a packet. One more block would be the
# first block of the next packet's key stream.
LONGEST_PAYLOAD = 16 << 16


def counter_mode(key: bytes, salt: bytes) -> Crypt:
    """Make AES_CM with a session key of 16, 24 or 32 octets and a session salt of 14.

    It raises Refused for a payload of more than 2^20 octets, the most that an index covers.
    """
    reset, update, salt_term = _aes(key, salt)

    def crypt(packet: bytes, ssrc: int, index: int, data: bytes) -> bytes:
        if len(data) > LONGEST_PAYLOAD:
            raise _too_long(ssrc, index, len(data))
        reset((salt_term ^ ssrc << 64 ^ index << 16).to_bytes(16, "big"))
        return update(data)

    return crypt


def rtp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtpSealer:
    """Make the sealer of RTP packets (RFC 3711 3.1)."""
    reset, update, salt_term = _aes(keys.encryption, keys.salt)
    fresh = hmac_sha1.keyed(keys.authentication)

    def seal(packet: bytes, start: int, ssrc: int, index: int) -> bytes:
        if len(packet) - start > LONGEST_PAYLOAD:
            raise _too_long(ssrc, index, len(packet) - start)
        reset((salt_term ^ ssrc << 64 ^ index << 16).to_bytes(16, "big"))
        sealed = packet[:start] + update(packet[start:])
        running = fresh()
        running.update(sealed + (index >> 16).to_bytes(4, "big"))
        return sealed + mki + running.finalize()[:tag_length]

    return seal


def rtp_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RtpOpener:
    """Make the opener of SRTP packets."""
    reset, update, salt_term = _aes(keys.encryption, keys.salt)
    fresh = hmac_sha1.keyed(keys.authentication)
    mki_length = len(mki)

    def open_(packet: bytes, start: int, ssrc: int, index: int) -> bytes | None:
        untagged = len(packet) - tag_length
        end = untagged - mki_length
        if end < start or (mki_length and packet[end:untagged] != mki):
            return None
        running = fresh()
        running.update(packet[:end] + (index >> 16).to_bytes(4, "big"))
        if not compare_digest(packet[untagged:], running.finalize()[:tag_length]):
            return None
        if end - start > LONGEST_PAYLOAD:
            raise _too_long(ssrc, index, end - start)
        reset((salt_term ^ ssrc << 64 ^ index << 16).to_bytes(16, "big"))
        return packet[:start] + update(packet[start:end])

    return open_


def run_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RunOpener:
    """Make the opener of many SRTP packets of at most `LONGEST_PAYLOAD`."""
    reset, update, salt_term = _aes(keys.encryption, keys.salt)
    verified = hmac_sha1.run_verifier(keys.authentication, tag_length, mki)
    behind = tag_length + len(mki)

    def open_(run: Run) -> list[bytes]:
        size, first = run.stride - run.head, salt_term ^ run.ssrc << 64
        counters = range(run.first << 16, (run.first + verified(run)) << 16, 1 << 16)
        layout = f"{RTP_HEADER}s{size - RTP_HEADER - behind}s{behind}x"
        clear = []
        for counter, (header, sealed) in zip(counters, run.slices(layout), strict=False):
            reset((first ^ counter).to_bytes(16, "big"))
            clear.append(header + update(sealed))
        return clear

    return open_


def rtcp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpSealer:
    """Make the sealer of RTCP packets."""
    return hmac_sha1.rtcp_sealer(counter_mode(keys.encryption, keys.salt), keys, tag_length, mki)


def rtcp_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpOpener:
    """Make the opener of SRTCP packets."""
    return hmac_sha1.rtcp_opener(counter_mode(keys.encryption, keys.salt), keys, tag_length, mki)


def _aes(key: bytes, salt: bytes) -> tuple[Callable[[bytes], None], Callable[[bytes], bytes], int]:
    """Return a function that sets the counter, one that encrypts, and the salt in the counter."""
    encryptor = Cipher(AES(key), CTR(bytes(16))).encryptor()
    return encryptor.reset_nonce, encryptor.update, int.from_bytes(salt, "big") << 16


def _too_long(ssrc: int, index: int, length: int) -> Refused:
    return Refused(
        f"packet index {index} of SSRC 0x{ssrc:08x} has a payload of {length} octets "
        f"and its key stream covers {LONGEST_PAYLOAD}; send it in smaller packets"
    )
