"""The sealers and openers of a suite and a master key (RFC 3711 4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, cast

from mikeytool.srtp import aes_cm, aes_f8, aes_gcm, cryptex, hmac_sha1, null, rcc
from mikeytool.srtp.interface import (
    Crypt,
    RtcpOpener,
    RtcpSealer,
    RtpOpener,
    RtpSealer,
    RunOpener,
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
_RUN_OPENERS = {Cipher.AES_CM: aes_cm.run_opener, Cipher.AES_GCM: aes_gcm.run_opener}
_STREAMS = {Cipher.AES_CM: aes_cm.counter_mode, Cipher.AES_F8: aes_f8.rtp_f8}
# How many sets of session keys are kept with a key derivation rate, for several SSRCs and late
# packets.
_LIVE = 64


def rtp_sealer(
    suite: Suite, master: MasterKey, mki: bytes, *, with_cryptex: bool = False
) -> RtpSealer:
    """Make the sealer of RTP packets, which writes `mki` unless it is empty.

    With `with_cryptex` it handles packets that have the mark of Cryptex.
    """

    def made(r: int) -> RtpSealer:
        keys = rtp_keys(suite, master.key, master.salt, r)

        def usual(tag_length: int) -> RtpSealer:
            if not with_cryptex:
                if suite.prefix_length:
                    return hmac_sha1.rtp_sealer(_suffix(suite, keys), keys, tag_length, mki)
                return _rtp_transform(suite).rtp_sealer(keys, tag_length, mki)
            if suite.cipher is Cipher.AES_GCM:
                return cryptex.aead_sealer(aes_gcm.rtp_sealer(keys, tag_length, mki))
            crypt = cryptex.crypt_header(_rtp_crypt(suite, keys))
            return cryptex.from_fixed_header(hmac_sha1.rtp_sealer(crypt, keys, tag_length, mki))

        return usual(suite.rtp_tag_length) if suite.rcc is None else rcc.rtp_sealer(suite, usual)

    return _at_rate(suite, made, _last)


def rtp_opener(
    suite: Suite, master: MasterKey, mki: bytes, *, with_cryptex: bool = False
) -> RtpOpener:
    """Make the opener of SRTP packets, which must have this MKI.

    With `with_cryptex` it handles packets that have the mark of Cryptex.
    """

    def made(r: int) -> RtpOpener:
        keys = rtp_keys(suite, master.key, master.salt, r)

        def usual(tag_length: int) -> RtpOpener:
            if not with_cryptex:
                if suite.prefix_length:
                    return hmac_sha1.rtp_opener(_suffix(suite, keys), keys, tag_length, mki)
                return _rtp_transform(suite).rtp_opener(keys, tag_length, mki)
            if suite.cipher is Cipher.AES_GCM:
                open_ = cryptex.aead_opener(aes_gcm.rtp_opener(keys, tag_length, mki))
            else:
                crypt = cryptex.crypt_header(_rtp_crypt(suite, keys))
                hmac = hmac_sha1.rtp_opener(crypt, keys, tag_length, mki)
                open_ = cryptex.from_fixed_header(hmac)
            return cryptex.unmarking(open_)

        return usual(suite.rtp_tag_length) if suite.rcc is None else rcc.rtp_opener(suite, usual)

    return _at_rate(suite, made, _last)


def opens_runs(suite: Suite) -> bool:
    """Whether `run_opener` takes a suite: counter mode or GCM, with encryption and a tag."""
    is_plain = suite.rtp_encrypted and suite.rtp_tag_length and suite.rcc is None
    has_one_key_stream = not suite.prefix_length and not suite.key_derivation_rate
    return suite.cipher in _RUN_OPENERS and bool(is_plain and has_one_key_stream)


def run_opener(suite: Suite, master: MasterKey, mki: bytes) -> RunOpener:
    """Make the opener of many SRTP packets, which must have this MKI."""
    keys = rtp_keys(suite, master.key, master.salt, 0)
    return _RUN_OPENERS[suite.cipher](keys, suite.rtp_tag_length, mki)


def rtcp_sealer(suite: Suite, master: MasterKey, mki: bytes) -> RtcpSealer:
    """Make the sealer of RTCP packets, which writes `mki` unless it is empty."""

    def made(r: int) -> RtcpSealer:
        keys = rtcp_keys(suite, master.key, master.salt, r)
        if suite.rtcp_encrypted:
            return _TRANSFORMS[suite.cipher].rtcp_sealer(keys, suite.rtcp_tag_length, mki)
        if suite.cipher is Cipher.AES_GCM:
            return aes_gcm.clear_rtcp_sealer(keys, suite.rtcp_tag_length, mki)
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
    """Return the result of `made`, remade at each multiple of the key derivation rate, if any.

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


def _rtp_crypt(suite: Suite, keys: SessionKeys) -> Crypt:
    """Make the cipher of RTP packets alone, without their tags; not for AES-GCM."""
    if suite.prefix_length:
        return _suffix(suite, keys)
    cipher = suite.cipher if suite.rtp_encrypted else Cipher.NULL
    return null.crypt if cipher is Cipher.NULL else _STREAMS[cipher](keys.encryption, keys.salt)


def _suffix(suite: Suite, keys: SessionKeys) -> Crypt:
    """Make the cipher that skips the prefix of the key stream (RFC 3711 4.1)."""
    crypt = _STREAMS[suite.cipher](keys.encryption, keys.salt)
    prefix = bytes(suite.prefix_length)

    def behind(packet: bytes, ssrc: int, index: int, data: bytes) -> bytes:
        return crypt(packet, ssrc, index, prefix + data)[len(prefix) :]

    return behind
