"""AES-GCM, which encrypts and authenticates in one step (RFC 7714 8, 9).

The tag directly follows the ciphertext: in SRTP before the MKI, in SRTCP before the trailer of
E flag and index, which the MKI follows. Everything that is not encrypted is authenticated,
except the MKI.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from mikeytool.srtp.interface import (
    RtcpOpener,
    RtcpSealer,
    RtpOpener,
    RtpSealer,
    Run,
    RunOpener,
)
from mikeytool.srtp.kdf import SessionKeys
from mikeytool.srtp.packet import ENCRYPTED, RTCP_HEADER, RTP_HEADER, TRAILER

IV = 12  # octets
FULL_TAG = 16
# IV, plaintext or ciphertext with its tag, associated data.
Aead = Callable[[bytes, bytes, bytes], bytes]


def _encrypt(key: bytes, tag_length: int) -> Aead:
    """Make AES-GCM encryption with a tag of 16 octets, or its first octets."""
    encrypt = AESGCM(key).encrypt
    if tag_length == FULL_TAG:
        return encrypt
    return lambda iv, data, associated: encrypt(iv, data, associated)[: tag_length - FULL_TAG]


def _decrypt(key: bytes, tag_length: int) -> Aead:
    """Make AES-GCM decryption, which raises InvalidTag."""
    if tag_length == FULL_TAG:
        return AESGCM(key).decrypt
    aes = AES(key)

    def decrypt(iv: bytes, data: bytes, associated: bytes) -> bytes:
        mode = GCM(iv, data[-tag_length:], min_tag_length=tag_length)
        running = Cipher(aes, mode).decryptor()
        running.authenticate_additional_data(associated)
        clear = running.update(data[:-tag_length])
        running.finalize()
        return clear

    return decrypt


def rtp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtpSealer:
    """Make the sealer of RTP packets (RFC 7714 8.2)."""
    encrypt = _encrypt(keys.encryption, tag_length)
    salt = int.from_bytes(keys.salt, "big")

    def seal(packet: bytes, start: int, ssrc: int, index: int) -> bytes:
        header = packet[:start]
        iv = (salt ^ ssrc << 48 ^ index).to_bytes(IV, "big")
        return header + encrypt(iv, packet[start:], header) + mki

    return seal


def rtp_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RtpOpener:
    """Make the opener of SRTP packets (RFC 7714 8.2)."""
    decrypt = _decrypt(keys.encryption, tag_length)
    salt = int.from_bytes(keys.salt, "big")

    def open_(packet: bytes, start: int, ssrc: int, index: int) -> bytes | None:
        end = len(packet) - len(mki)
        if end < start + tag_length or packet[end:] != mki:
            return None
        header = packet[:start]
        iv = (salt ^ ssrc << 48 ^ index).to_bytes(IV, "big")
        try:
            return header + decrypt(iv, packet[start:end], header)
        except InvalidTag:
            return None

    return open_


def run_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RunOpener:
    """Make the opener of many SRTP packets."""
    decrypt = _decrypt(keys.encryption, tag_length)
    salt = int.from_bytes(keys.salt, "big")

    def open_(run: Run) -> list[bytes]:
        sealed_size = run.stride - run.head - RTP_HEADER - len(mki)
        first, index = salt ^ run.ssrc << 48, run.first
        clear: list[bytes] = []
        try:
            for header, sealed, end in run.slices(f"{RTP_HEADER}s{sealed_size}s{len(mki)}s"):
                if end != mki:
                    break
                iv = (first ^ index).to_bytes(IV, "big")
                clear.append(header + decrypt(iv, sealed, header))
                index += 1
        except InvalidTag:
            pass
        return clear

    return open_


def rtcp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpSealer:
    """Make the sealer of RTCP packets (RFC 7714 9.2); E is always 1."""
    encrypt = _encrypt(keys.encryption, tag_length)
    salt = int.from_bytes(keys.salt, "big")

    def seal(packet: bytes, ssrc: int, index: int) -> bytes:
        header = packet[:RTCP_HEADER]
        trailer = (ENCRYPTED | index).to_bytes(TRAILER, "big")
        iv = (salt ^ ssrc << 48 ^ index).to_bytes(IV, "big")
        return header + encrypt(iv, packet[RTCP_HEADER:], header + trailer) + trailer + mki

    return seal


def clear_rtcp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpSealer:
    """Make the sealer of RTCP packets that are authenticated only (RFC 7714 9.3); E is 0."""
    encrypt = _encrypt(keys.encryption, tag_length)
    salt = int.from_bytes(keys.salt, "big")

    def seal(packet: bytes, ssrc: int, index: int) -> bytes:
        trailer = index.to_bytes(TRAILER, "big")
        iv = (salt ^ ssrc << 48 ^ index).to_bytes(IV, "big")
        return packet + encrypt(iv, b"", packet + trailer) + trailer + mki

    return seal


def rtcp_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpOpener:
    """Make the opener of SRTCP packets (RFC 7714 9.2; 9.3 if E is 0)."""
    decrypt = _decrypt(keys.encryption, tag_length)
    salt = int.from_bytes(keys.salt, "big")

    def open_(packet: bytes, ssrc: int) -> tuple[bytes, int] | None:
        end = len(packet) - len(mki)
        tag_end = end - TRAILER
        if tag_end < RTCP_HEADER + tag_length or packet[end:] != mki:
            return None
        trailer = packet[tag_end:end]
        word = int.from_bytes(trailer, "big")
        index = word & ~ENCRYPTED
        # With E = 0 everything is in the clear, and the ciphertext is only the tag.
        clear = RTCP_HEADER if word & ENCRYPTED else tag_end - tag_length
        iv = (salt ^ ssrc << 48 ^ index).to_bytes(IV, "big")
        try:
            payload = decrypt(iv, packet[clear:tag_end], packet[:clear] + trailer)
        except InvalidTag:
            return None
        return packet[:clear] + payload, index

    return open_
