"""What sender and receiver share: master keys, and who may speak.

A cryptographic context (RFC 3711 3.2) is found by SSRC; RTP and RTCP of an SSRC share the
master key and count their packets apart.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import NamedTuple

from mikeytool.srtp.suites import SUITES, Cipher, Suite
from mikeytool.wire.errors import Refused, UsageError

# The salt of every suite but those with AES-GCM, in octets.
OTHER_SALT = 14


@dataclass(frozen=True)
class MasterKey:
    """A master key, its salt, and the MKI that names it, empty if none does.

    Lengths are in octets and those of a suite; they are checked where key and suite meet.
    """

    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    mki: bytes = b""


class Highest(NamedTuple):
    """The highest indices used for an SSRC; -1 where no packet was."""

    rtp: int = -1
    rtcp: int = -1


def check_ssrc(ssrc: int, allowed: Set[int] | None) -> None:
    """Raise Refused if `ssrc` is not among those allowed; None allows every one."""
    if allowed is not None and ssrc not in allowed:
        raise Refused(
            f"SSRC 0x{ssrc:08x} is not one of the {len(allowed)} allowed; "
            "allow it or leave its packets out"
        )


def check_lengths(suite: Suite, master: MasterKey) -> None:
    """Raise UsageError if key or salt have other lengths than `suite` needs."""
    given = len(master.key), len(master.salt)
    if given == (suite.key_length, suite.salt_length):
        return
    # A suite that would leave media in the clear is no advice.
    fitting = [
        name
        for name, each in SUITES.items()
        if (each.key_length, each.salt_length) == given and each.cipher is not Cipher.NULL
    ]
    gcm = suite.cipher is Cipher.AES_GCM and given[1] == OTHER_SALT
    raise UsageError(
        f"a master key of {given[0]} octets with a salt of {given[1]}; {suite.name} needs "
        f"{suite.key_length} and {suite.salt_length}"
        + (f" (AES-GCM has a salt of {suite.salt_length}, the other suites {OTHER_SALT})" * gcm)
        + (f"; use {' or '.join(fitting)}" if fitting else "; no suite takes what was given")
    )
