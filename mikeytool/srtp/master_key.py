"""Master keys, their lengths for each suite, and their lifetime (RFC 3711 9.2)."""

from __future__ import annotations

from dataclasses import dataclass, field

from mikeytool.srtp.notes import Notes
from mikeytool.srtp.suites import SUITES, USUAL_SALT, Cipher, Suite
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.printable import number_of


@masked_repr
@dataclass(frozen=True)
class MasterKey:
    """A master key, its salt, and its MKI, which is empty if it has none.

    Key and salt must have the lengths that a suite requires; a `Sender` or `Receiver` checks them.
    `lifetime` is the number of packets that the key may protect, counted separately for SRTP and
    SRTCP, if the key management sets a limit (RFC 4568 6.1). The indices of a stream end at 2^48
    and 2^31 anyway (RFC 3711 9.2). `repr` masks key and salt.
    """

    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    mki: bytes = b""
    lifetime: int | None = None


def check_lengths(suite: Suite, master: MasterKey) -> None:
    """Raise UsageError if key or salt do not have the lengths that `suite` needs."""
    given = len(master.key), len(master.salt)
    if given == (suite.key_length, suite.salt_length):
        return
    # Key and salt may have been given in one string. A suite that leaves media in the clear is
    # not suggested.
    fitting = [
        name
        for name, each in SUITES.items()
        if each.cipher is not Cipher.NULL
        and given in ((each.key_length, each.salt_length), (each.key_length + each.salt_length, 0))
    ]
    gcm = suite.cipher is Cipher.AES_GCM and given in (
        (given[0], USUAL_SALT),
        (suite.key_length + USUAL_SALT, 0),
    )
    if given == (suite.key_length, 0):
        raise UsageError(
            f"a master key of {number_of(given[0], 'octet')} without a salt; {suite.name} needs "
            f"one of "
            f"{suite.salt_length} octets, behind the key or of its own"
        )
    raise UsageError(
        f"a master key of {number_of(given[0], 'octet')} with a salt of {given[1]}; "
        f"{suite.name} needs "
        f"{suite.key_length} and {suite.salt_length}"
        + (f" (AES-GCM has a salt of {suite.salt_length}, the other suites {USUAL_SALT})" * gcm)
        + (f"; use {' or '.join(fitting)}" if fitting else "; no suite takes what was given")
    )


def nearly(limit: int) -> int:
    """The number of packets after which to warn that a key expires at `limit` packets."""
    return limit - limit // 16


class Lifetime:
    """Counts the packets of one master key that has a set lifetime (RFC 4568 6.1)."""

    def __init__(self, master: MasterKey, notes: Notes) -> None:
        self._limit = master.lifetime or 0
        self._notes = notes
        self._used = {"SRTP": 0, "SRTCP": 0}

    def check(self, kind: str) -> None:
        """Raise Refused if the key has used up its packets of a kind."""
        if self._used[kind] >= self._limit:
            raise Refused(
                f"a master key has protected the {self._limit} {kind} packets of its lifetime; "
                "agree on a new key"
            )

    def count(self, kind: str) -> None:
        """Count one packet, and warn before the limit is reached."""
        self._used[kind] += 1
        if self._used[kind] == nearly(self._limit):
            self._notes.add(
                f"a master key has protected {self._used[kind]} of the {self._limit} {kind} "
                "packets of its lifetime; agree on a new key soon"
            )
