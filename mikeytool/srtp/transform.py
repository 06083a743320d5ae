"""From a suite and a master key to what seals and opens packets (RFC 3711 4)."""

from __future__ import annotations

from mikeytool.srtp import aes_cm, aes_f8, aes_gcm, null
from mikeytool.srtp.context import MasterKey
from mikeytool.srtp.interface import RtcpOpener, RtcpSealer, RtpOpener, RtpSealer, Transform
from mikeytool.srtp.kdf import rtcp_keys, rtp_keys
from mikeytool.srtp.suites import Cipher, Suite

_TRANSFORMS: dict[Cipher, Transform] = {
    Cipher.AES_CM: aes_cm,
    Cipher.AES_F8: aes_f8,
    Cipher.AES_GCM: aes_gcm,
    Cipher.NULL: null,
}


def rtp_sealer(suite: Suite, master: MasterKey, mki: bytes) -> RtpSealer:
    """Return what makes an SRTP packet of an RTP packet; `mki` is written, if not empty."""
    keys = rtp_keys(suite, master.key, master.salt)
    return _TRANSFORMS[suite.cipher].rtp_sealer(keys, suite.rtp_tag_length, mki)


def rtp_opener(suite: Suite, master: MasterKey, mki: bytes) -> RtpOpener:
    """Return what makes an RTP packet of an SRTP packet, which must have this MKI."""
    keys = rtp_keys(suite, master.key, master.salt)
    return _TRANSFORMS[suite.cipher].rtp_opener(keys, suite.rtp_tag_length, mki)


def rtcp_sealer(suite: Suite, master: MasterKey, mki: bytes) -> RtcpSealer:
    """Return what makes an SRTCP packet of an RTCP packet; `mki` is written, if not empty."""
    keys = rtcp_keys(suite, master.key, master.salt)
    return _TRANSFORMS[suite.cipher].rtcp_sealer(keys, suite.rtcp_tag_length, mki)


def rtcp_opener(suite: Suite, master: MasterKey, mki: bytes) -> RtcpOpener:
    """Return what makes an RTCP packet of an SRTCP packet, which must have this MKI."""
    keys = rtcp_keys(suite, master.key, master.salt)
    return _TRANSFORMS[suite.cipher].rtcp_opener(keys, suite.rtcp_tag_length, mki)
