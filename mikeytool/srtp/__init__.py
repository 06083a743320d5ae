"""SRTP and SRTCP: protecting and opening media packets with a master key (RFC 3711, 6188, 7714).

A `Sender` is made from a suite and a master key, a `Receiver` from a suite and one or more. RTP and
RTCP packets go in and come out as bytes. No code here reads a file, a socket or a clock.

    from os import urandom
    from mikeytool.srtp import MasterKey, Receiver, Replayed, Sender, suite

    chosen = suite("AEAD_AES_128_GCM")
    key = MasterKey(urandom(chosen.key_length), urandom(chosen.salt_length))
    sender, receiver = Sender(chosen, key), Receiver(chosen, [key])
    packet = bytes.fromhex("8008000100000000cafebabe") + b"payload"
    protected = sender.protect(packet)
    assert receiver.unprotect(protected) == packet
    try:
        receiver.unprotect(protected)
    except Replayed as error:
        print(error)  # packet index 1 was received before; drop the copy

`parse_crypto` reads suite and keys from an SDES line (RFC 4568), `read_policy` a suite from
the SP payload of a MIKEY message, and `policy_for` makes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikeytool.lazy import face

if TYPE_CHECKING:
    from mikeytool.srtp.index import Clash as Clash
    from mikeytool.srtp.index import Highest as Highest
    from mikeytool.srtp.index import Replayed as Replayed
    from mikeytool.srtp.index import TooLate as TooLate
    from mikeytool.srtp.master_key import MasterKey as MasterKey
    from mikeytool.srtp.packet import is_rtcp as is_rtcp
    from mikeytool.srtp.packet import parse_rtcp as parse_rtcp
    from mikeytool.srtp.packet import parse_rtp as parse_rtp
    from mikeytool.srtp.receiver import Receiver as Receiver
    from mikeytool.srtp.roc_search import SearchBudget as SearchBudget
    from mikeytool.srtp.sdes import Crypto as Crypto
    from mikeytool.srtp.sdes import parse_crypto as parse_crypto
    from mikeytool.srtp.security_policy import policy_for as policy_for
    from mikeytool.srtp.security_policy import read_policy as read_policy
    from mikeytool.srtp.sender import Sender as Sender
    from mikeytool.srtp.stream import Stream as Stream
    from mikeytool.srtp.suites import SUITES as SUITES
    from mikeytool.srtp.suites import Cipher as Cipher
    from mikeytool.srtp.suites import Rcc as Rcc
    from mikeytool.srtp.suites import Suite as Suite
    from mikeytool.srtp.suites import suite as suite

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "index": ("Clash", "Highest", "Replayed", "TooLate"),
        "master_key": ("MasterKey",),
        "packet": ("is_rtcp", "parse_rtcp", "parse_rtp"),
        "receiver": ("Receiver",),
        "roc_search": ("SearchBudget",),
        "sdes": ("Crypto", "parse_crypto"),
        "security_policy": ("policy_for", "read_policy"),
        "sender": ("Sender",),
        "stream": ("Stream",),
        "suites": ("SUITES", "Cipher", "Rcc", "Suite", "suite"),
    },
)
