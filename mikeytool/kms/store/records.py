"""The records of a KMS store, as the rest of the KMS sees them."""

from __future__ import annotations

from dataclasses import dataclass, field

from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.pattern import matches
from mikeytool.wire.printable import number_of
from mikeytool.wire.registry import TsType
from mikeytool.wire.timestamp import Timestamp

MIN_PSK = 16
"""In octets: keys have at least 128 bits (RFC 6043 12.1)."""


@masked_repr
@dataclass(frozen=True, slots=True)
class User:
    """A user of the KMS, who has a pre-shared key, a certificate or both.

    `psk_id` is the name of the key in IDRpsk, if it has one. `sealed_psk` is the sealed key from
    the store, which `Store.psk` opens. `certificate` is DER.
    """

    identity: Identity
    psk_id: Identity | None = None
    enabled: bool = True
    sealed_psk: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)


@masked_repr
@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be added, with the pre-shared key in the clear.

    `act_as` has patterns for the identities that the user may act as. In a pattern, `*` matches
    any number of octets.
    """

    identity: Identity
    psk: bytes | None = field(default=None, repr=False)
    psk_id: Identity | None = None
    act_as: tuple[str, ...] = ()
    certificate: bytes | None = field(default=None, repr=False)


@masked_repr
@dataclass(frozen=True, slots=True)
class Tpk:
    """A ticket protection key and the name by which tickets refer to it.

    `shared_with` is the user who also has the key. The KMS's own keys are not shared.
    A `current` key protects new tickets. Any other key retires at `until_ns`, in Unix
    nanoseconds, when the last ticket made with it has ended. None means that this time is
    unknown.
    """

    name: Identity
    key: bytes = field(repr=False)
    shared_with: Identity | None = None
    current: bool = True
    until_ns: int | None = field(default=None, compare=False)

    def is_retired(self, now_ns: int) -> bool:
        """Whether the key was rotated out and none of its tickets is still valid."""
        return not self.current and self.until_ns is not None and self.until_ns < now_ns


@masked_repr
@dataclass(frozen=True, slots=True)
class Peer:
    """Another KMS and the key shared with it (RFC 6043 10).

    `location` is its URL, or the path of its store on this machine. `patterns` match the
    identities that it speaks for. These are the initiators of tickets that it resolves, and the
    responders for whom it asks. A KMS without patterns occurs only in stores of an earlier
    version, and nothing that it says is trusted.
    """

    identity: Identity
    location: str
    psk: bytes = field(repr=False)
    patterns: tuple[str, ...] = ()

    def closeness(self, identity: Identity) -> int:
        """How closely the patterns match an identity.

        0 means no match. Otherwise it is one more than the number of fixed octets.
        """
        fitting = (text for text in self.patterns if matches(identity, text))
        return max((1 + len(text.replace("*", "")) for text in fitting), default=0)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A request to the KMS and its outcome, or a change by an operator.

    The time is in Unix nanoseconds. `count` says how often the same refusal occurred in that
    minute.
    """

    at_ns: int
    exchange: str
    user: str
    about: str
    outcome: str
    reason: str
    count: int = 1

    @property
    def time(self) -> Timestamp:
        """The time as an NTP timestamp, to the second."""
        return Timestamp.at(self.at_ns, TsType.NTP_UTC_32)


def unauthenticated(at_ns: int, exchange: str, claimed: Identity, reason: str) -> LogEntry:
    """The entry for a refused message that names a known sender, but does not verify."""
    reason = f"{reason}; anyone may have sent it"
    return LogEntry(at_ns, exchange, str(claimed), "", "refused", reason)


@dataclass(frozen=True, slots=True)
class Handled:
    """The result of a message. If it has a `refusal`, `answer` is an Error message or None."""

    answer: bytes | None
    refusal: Refused | None = None


def check_psk(psk: bytes) -> None:
    """Raise UsageError for a pre-shared key shorter than 128 bits."""
    if len(psk) < MIN_PSK:
        raise UsageError(
            f"the pre-shared key has {number_of(len(psk), 'octet')}; at least {MIN_PSK} are needed"
            " (RFC 6043 12.1)"
        )
