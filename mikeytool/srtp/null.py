"""The NULL cipher with HMAC-SHA1 (RFC 3711 4.1.3): packets in the clear, authenticated.

The E flag of SRTCP is 0, since nothing is encrypted; a packet with E = 1 is accepted too.
"""

from __future__ import annotations

from mikeytool.srtp import hmac_sha1
from mikeytool.srtp.interface import RtcpOpener, RtcpSealer, RtpOpener, RtpSealer
from mikeytool.srtp.kdf import SessionKeys


def rtp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtpSealer:
    """Make the sealer of RTP packets."""
    return hmac_sha1.rtp_sealer(crypt, keys, tag_length, mki)


def rtp_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RtpOpener:
    """Make the opener of SRTP packets."""
    return hmac_sha1.rtp_opener(crypt, keys, tag_length, mki)


def rtcp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpSealer:
    """Make the sealer of RTCP packets."""
    return hmac_sha1.rtcp_sealer(crypt, keys, tag_length, mki, flag=0)


def rtcp_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpOpener:
    """Make the opener of SRTCP packets."""
    return hmac_sha1.rtcp_opener(crypt, keys, tag_length, mki)


def crypt(packet: bytes, ssrc: int, index: int, data: bytes) -> bytes:
    """Return `data` as it is."""
    return data
