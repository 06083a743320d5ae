"""The pre-defined transforms, AES in counter mode and HMAC-SHA1 (RFC 3711 4.1.1, 4.2.1).

A sealer makes a protected packet of a clear one, an opener the reverse; both know where
their transform puts tag and MKI and leave indices, replay and SSRCs to the caller. They are
closures over an AES and an HMAC that are set up once, for that costs more than a packet. The
two for RTP spell out what those for RTCP call: media is many packets, control is few.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

from mikeytool.srtp.kdf import SessionKeys
from mikeytool.srtp.packet import RTCP_HEADER
from mikeytool.wire.errors import Refused

# The low 16 bits of the counter number the blocks of a packet. One block more would be the
# first of the next packet's key stream.
LONGEST_PAYLOAD = 16 << 16
ENCRYPTED = 1 << 31  # the E flag, above the 31 bits of the SRTCP index
TRAILER = 4  # octets of E flag and SRTCP index

Crypt = Callable[[int, int, bytes], bytes]
Sign = Callable[[bytes], bytes]
RtpSealer = Callable[[bytes, int, int, int], bytes]
RtpOpener = Callable[[bytes, int, int, int], bytes | None]
RtcpSealer = Callable[[bytes, int, int], bytes]
RtcpOpener = Callable[[bytes, int], tuple[bytes, int] | None]


def counter_mode(key: bytes, salt: bytes) -> Crypt:
    """Return AES_CM with a session key of 16 or 32 octets and a session salt of 14.

    What is returned takes SSRC, index and a payload, and encrypts or decrypts it. It raises
    Refused if the payload has more than 2^20 octets, the most that an index covers.
    """
    reset, update, salt_term = _aes(key, salt)

    def crypt(ssrc: int, index: int, data: bytes) -> bytes:
        if len(data) > LONGEST_PAYLOAD:
            raise _too_long(ssrc, index, len(data))
        reset((salt_term ^ ssrc << 64 ^ index << 16).to_bytes(16, "big"))
        return update(data)

    return crypt


def hmac_sha1(key: bytes, length: int) -> Sign:
    """Return HMAC-SHA1 with a session key, cut to the first `length` octets."""
    fresh = _hmac(key)

    def sign(authenticated: bytes) -> bytes:
        running = fresh()
        running.update(authenticated)
        return running.finalize()[:length]

    return sign


def rtp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtpSealer:
    """Return what makes an SRTP packet (RFC 3711 3.1) of packet, header length, SSRC, index."""
    reset, update, salt_term = _aes(keys.encryption, keys.salt)
    fresh = _hmac(keys.authentication)

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
    """Return what makes an RTP packet of packet, header length, SSRC, index.

    It returns None unless the packet has room for MKI and tag and both are right.
    """
    reset, update, salt_term = _aes(keys.encryption, keys.salt)
    fresh = _hmac(keys.authentication)
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


def rtcp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpSealer:
    """Return what makes an SRTCP packet (RFC 3711 3.4) of packet, SSRC, index; E is always 1."""
    crypt = counter_mode(keys.encryption, keys.salt)
    sign = hmac_sha1(keys.authentication, tag_length)

    def seal(packet: bytes, ssrc: int, index: int) -> bytes:
        sealed = packet[:RTCP_HEADER] + crypt(ssrc, index, packet[RTCP_HEADER:])
        sealed += (ENCRYPTED | index).to_bytes(TRAILER, "big")
        return sealed + mki + sign(sealed)

    return seal


def rtcp_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpOpener:
    """Return what makes an RTCP packet and its index of packet and SSRC.

    It returns None unless the packet has room for MKI and tag and both are right.
    """
    crypt = counter_mode(keys.encryption, keys.salt)
    sign = hmac_sha1(keys.authentication, tag_length)

    def open_(packet: bytes, ssrc: int) -> tuple[bytes, int] | None:
        untagged = len(packet) - tag_length
        end = untagged - len(mki)
        payload_end = end - TRAILER
        if payload_end < RTCP_HEADER or packet[end:untagged] != mki:
            return None
        if not compare_digest(packet[untagged:], sign(packet[:end])):
            return None
        trailer = int.from_bytes(packet[payload_end:end], "big")
        index = trailer & ~ENCRYPTED
        if not trailer & ENCRYPTED:
            return packet[:payload_end], index
        return packet[:RTCP_HEADER] + crypt(ssrc, index, packet[RTCP_HEADER:payload_end]), index

    return open_


def _aes(key: bytes, salt: bytes) -> tuple[Callable[[bytes], None], Callable[[bytes], bytes], int]:
    """Return what sets the counter, what encrypts, and the salt's term of the counter."""
    encryptor = Cipher(AES(key), CTR(bytes(16))).encryptor()
    return encryptor.reset_nonce, encryptor.update, int.from_bytes(salt, "big") << 16


def _hmac(key: bytes) -> Callable[[], HMAC]:
    """Return what makes a keyed HMAC-SHA1 that has seen nothing yet."""
    return HMAC(key, SHA1()).copy  # noqa: S303 (the hash of every suite)


def _too_long(ssrc: int, index: int, length: int) -> Refused:
    return Refused(
        f"packet index {index} of SSRC 0x{ssrc:08x} has a payload of {length} octets "
        f"and its key stream covers {LONGEST_PAYLOAD}; send it in smaller packets"
    )
