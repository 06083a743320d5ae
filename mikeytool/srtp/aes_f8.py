"""AES in f8-mode with HMAC-SHA1 (RFC 3711 4.1.2).

The key stream depends on the header of the packet, and block j on block j - 1. That is CBC over
IV' XOR j, so one call of CBC makes the key stream of a packet.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from mikeytool.srtp import hmac_sha1
from mikeytool.srtp.interface import Crypt, RtcpOpener, RtcpSealer, RtpOpener, RtpSealer
from mikeytool.srtp.kdf import SessionKeys
from mikeytool.srtp.packet import ENCRYPTED, RTCP_HEADER, RTP_HEADER

BLOCK = 16


def rtp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtpSealer:
    """Make the sealer of RTP packets."""
    return hmac_sha1.rtp_sealer(rtp_f8(keys.encryption, keys.salt), keys, tag_length, mki)


def rtp_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RtpOpener:
    """Make the opener of SRTP packets."""
    return hmac_sha1.rtp_opener(rtp_f8(keys.encryption, keys.salt), keys, tag_length, mki)


def rtcp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpSealer:
    """Make the sealer of RTCP packets."""
    return hmac_sha1.rtcp_sealer(rtcp_f8(keys.encryption, keys.salt), keys, tag_length, mki)


def rtcp_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpOpener:
    """Make the opener of SRTCP packets."""
    return hmac_sha1.rtcp_opener(rtcp_f8(keys.encryption, keys.salt), keys, tag_length, mki)


def rtp_f8(key: bytes, salt: bytes) -> Crypt:
    """Make f8 with the IV of RTP packets (4.1.2.2): the header without octet 0, and ROC."""
    stream = _Stream(key, salt)

    def crypt(packet: bytes, ssrc: int, index: int, data: bytes) -> bytes:
        return stream.xor(b"\0" + packet[1:RTP_HEADER] + (index >> 16).to_bytes(4, "big"), data)

    return crypt


def rtcp_f8(key: bytes, salt: bytes) -> Crypt:
    """Make f8 with the IV of RTCP packets (4.1.2.3): E = 1, index and first header."""
    stream = _Stream(key, salt)

    def crypt(packet: bytes, ssrc: int, index: int, data: bytes) -> bytes:
        return stream.xor(
            bytes(4) + (ENCRYPTED | index).to_bytes(4, "big") + packet[:RTCP_HEADER], data
        )

    return crypt


class _Stream:
    """The key streams of a session key and a salt that is not longer than it (4.1.2.1)."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        mask = salt.ljust(len(key), b"\x55")
        self._aes = AES(key)
        masked = bytes(left ^ right for left, right in zip(key, mask, strict=True))
        # One block at a time, without feedback: an encryptor serves all packets.
        self._mask_iv = Cipher(AES(masked), ECB()).encryptor().update  # noqa: S305

    def xor(self, iv: bytes, data: bytes) -> bytes:
        """Encrypt or decrypt `data` with the key stream that starts from an IV of 16 octets."""
        start = int.from_bytes(self._mask_iv(iv), "big")
        blocks = b"".join(
            [(start ^ j).to_bytes(BLOCK, "big") for j in range(-(-len(data) // BLOCK))]
        )
        stream = Cipher(self._aes, CBC(bytes(BLOCK))).encryptor().update(blocks)
        length = len(data)
        mixed = int.from_bytes(data, "big") ^ int.from_bytes(stream[:length], "big")
        return mixed.to_bytes(length, "big")
