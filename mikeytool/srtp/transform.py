"""The sealers and openers of a suite and a master key (RFC 3711 4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, cast

from mikeytool.srtp import aes_cm, aes_f8, aes_gcm, hmac_sha1, null
from mikeytool.srtp.interface import (
    Crypt,
    RtcpOpener,
    RtcpSealer,
    RtpOpener,
    RtpSealer,
    Transform,
)
from mikeytool.srtp.kdf import SessionKeys, rtcp_keys, rtp_keys
from mikeytool.srtp.master_key import MasterKey
from mikeytool.srtp.packet import ENCRYPTED, TRAILER
from mikeytool.srtp.suites import Cipher, Suite

F = TypeVar("F", bound=Callable[..., Any])

_TRANSFORMS: dict[Cipher, Transform] = {
    Cipher.AES_CM: aes_cm,
    Cipher.AES_F8: aes_f8,
    Cipher.AES_GCM: aes_gcm,
    Cipher.NULL: null,
}
# With a key derivation rate, so many sets of session keys are kept, for several SSRCs and late
# packets.
_LIVE = 64


def rtp_sealer(suite: Suite, master: MasterKey, mki: bytes) -> RtpSealer:
    """Make the sealer of RTP packets; `mki` is written, if not empty."""

    def made(r: int) -> RtpSealer:
        keys = rtp_keys(suite, master.key, master.salt, r)
        if suite.prefix_length:
            return hmac_sha1.rtp_sealer(_suffix(suite, keys), keys, suite.rtp_tag_length, mki)
        return _rtp_transform(suite).rtp_sealer(keys, suite.rtp_tag_length, mki)

    return _at_rate(suite, made, _last)


def rtp_opener(suite: Suite, master: MasterKey, mki: bytes) -> RtpOpener:
    """Make the opener of SRTP packets, which must have this MKI."""

    def made(r: int) -> RtpOpener:
        keys = rtp_keys(suite, master.key, master.salt, r)
        if suite.prefix_length:
            return hmac_sha1.rtp_opener(_suffix(suite, keys), keys, suite.rtp_tag_length, mki)
        return _rtp_transform(suite).rtp_opener(keys, suite.rtp_tag_length, mki)

    return _at_rate(suite, made, _last)


def rtcp_sealer(suite: Suite, master: MasterKey, mki: bytes) -> RtcpSealer:
    """Make the sealer of RTCP packets; `mki` is written, if not empty."""

    def made(r: int) -> RtcpSealer:
        keys = rtcp_keys(suite, master.key, master.salt, r)
        if suite.rtcp_encrypted:
            return _TRANSFORMS[suite.cipher].rtcp_sealer(keys, suite.rtcp_tag_length, mki)
        if suite.cipher is Cipher.AES_GCM:
            return aes_gcm.clear_rtcp_sealer(keys, mki)
        return null.rtcp_sealer(keys, suite.rtcp_tag_length, mki)

    return _at_rate(suite, made, _last)


def rtcp_opener(suite: Suite, master: MasterKey, mki: bytes) -> RtcpOpener:
    """Make the opener of SRTCP packets, which must have this MKI."""
    # An opener follows the E flag, whether or not the suite encrypts.

    def made(r: int) -> RtcpOpener:
        keys = rtcp_keys(suite, master.key, master.salt, r)
        return _TRANSFORMS[suite.cipher].rtcp_opener(keys, suite.rtcp_tag_length, mki)

    behind = len(mki) + (0 if suite.cipher is Cipher.AES_GCM else suite.rtcp_tag_length)

    def index_in(packet: bytes, ssrc: int) -> int:
        end = max(len(packet) - behind, TRAILER)
        return int.from_bytes(packet[end - TRAILER : end]) & ~ENCRYPTED

    return _at_rate(suite, made, index_in)


def _at_rate(suite: Suite, made: Callable[[int], F], index: Callable[..., int]) -> F:
    """Return what `made` makes, again at each multiple of the key derivation rate, if any.

    `index` finds the index of a packet in the arguments of the sealer or opener.
    """
    rate = suite.key_derivation_rate
    if not rate:
        return made(0)
    live = lru_cache(_LIVE)(made)

    def process(*packet: Any) -> Any:
        return live(index(*packet) // rate)(*packet)

    return cast(F, process)


def _last(*packet: Any) -> int:
    return cast(int, packet[-1])


def _rtp_transform(suite: Suite) -> Transform:
    return _TRANSFORMS[suite.cipher if suite.rtp_encrypted else Cipher.NULL]


def _suffix(suite: Suite, keys: SessionKeys) -> Crypt:
    """Make the cipher that skips the prefix of the key stream (RFC 3711 4.1)."""
    streams = {Cipher.AES_CM: aes_cm.counter_mode, Cipher.AES_F8: aes_f8.rtp_f8}
    crypt = streams[suite.cipher](keys.encryption, keys.salt)
    prefix = bytes(suite.prefix_length)

    def behind(packet: bytes, ssrc: int, index: int, data: bytes) -> bytes:
        return crypt(packet, ssrc, index, prefix + data)[len(prefix) :]

    return behind
