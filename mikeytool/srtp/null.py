"""The NULL cipher with HMAC-SHA1 (RFC 3711 4.1.3): packets in the clear that cannot be forged.

The E flag of SRTCP is 0, for nothing is encrypted; a packet with E = 1 is read as well.
"""

from __future__ import annotations

from mikeytool.srtp import hmac_sha1
from mikeytool.srtp.interface import RtcpOpener, RtcpSealer, RtpOpener, RtpSealer
from mikeytool.srtp.kdf import SessionKeys


def rtp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtpSealer:
    """Return what makes an SRTP packet."""
    return hmac_sha1.rtp_sealer(_copy, keys, tag_length, mki)


def rtp_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RtpOpener:
    """Return what makes an RTP packet of an SRTP packet."""
    return hmac_sha1.rtp_opener(_copy, keys, tag_length, mki)


def rtcp_sealer(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpSealer:
    """Return what makes an SRTCP packet."""
    return hmac_sha1.rtcp_sealer(_copy, keys, tag_length, mki, flag=0)


def rtcp_opener(keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpOpener:
    """Return what makes an RTCP packet of an SRTCP packet."""
    return hmac_sha1.rtcp_opener(_copy, keys, tag_length, mki)


def _copy(packet: bytes, ssrc: int, index: int, data: bytes) -> bytes:
    return data
