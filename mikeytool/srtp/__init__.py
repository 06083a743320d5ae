"""SRTP and SRTCP: protecting and reading media packets with a master key (RFC 3711, 6188, 7714).

A `Sender` or `Receiver` is made from a `suite` and one or several `MasterKey`s. Packets go
in and come out as bytes, RTP and RTCP alike; nothing here reads a file, a socket or a clock.
"""

from mikeytool.srtp.context import Highest, MasterKey
from mikeytool.srtp.index import Clash, Replayed
from mikeytool.srtp.packet import is_rtcp, parse_rtcp, parse_rtp
from mikeytool.srtp.receiver import Receiver
from mikeytool.srtp.sender import Sender
from mikeytool.srtp.stream import Stream
from mikeytool.srtp.suites import SUITES, Cipher, Suite, suite

__all__ = [
    "SUITES",
    "Cipher",
    "Clash",
    "Highest",
    "MasterKey",
    "Receiver",
    "Replayed",
    "Sender",
    "Stream",
    "Suite",
    "is_rtcp",
    "parse_rtcp",
    "parse_rtp",
    "suite",
]
