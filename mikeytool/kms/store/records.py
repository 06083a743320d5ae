"""What a KMS store holds, as the rest of the KMS sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.pattern import matches

MIN_PSK = 16
"""In octets: keys have at least 128 bits (RFC 6043 12.1)."""


@masked_repr
@dataclass(frozen=True, slots=True)
class User:
    """A user of the KMS, known by a pre-shared key, a certificate or both.

    `psk_id` is the name of the key in IDRpsk, if it has one. `sealed_psk` is the key as the
    store keeps it, which `Store.psk` opens; `certificate` is DER.
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

    `act_as` are patterns of the identities that the user may act as, in which `*` stands for
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

    `shared_with` is the user that has the key, too; the KMS's own keys are shared with nobody.
    A `current` key protects new tickets. Another one retires at `until_ns`, in Unix nanoseconds,
    when the last ticket made with it has ended; None means that this is not known.
    """

    name: Identity
    key: bytes = field(repr=False)
    shared_with: Identity | None = None
    current: bool = True
    until_ns: int | None = field(default=None, compare=False)

    def is_retired(self, now_ns: int) -> bool:
        """Whether the key was rotated out, and no ticket of it is valid any more."""
        return not self.current and self.until_ns is not None and self.until_ns < now_ns


@masked_repr
@dataclass(frozen=True, slots=True)
class Peer:
    """Another KMS and the key shared with it (RFC 6043 10).

    `location` is its URL, or the path of its store on this machine. `patterns` are those of the
    identities that it speaks for, as initiators of tickets that it resolves and as responders
    that it asks for. Without any, which only a store of an earlier version has, nothing is
    believed of it.
    """

    identity: Identity
    location: str
    psk: bytes = field(repr=False)
    patterns: tuple[str, ...] = ()

    def closeness(self, identity: Identity) -> int:
        """How closely the patterns fit an identity: 0 if none does, else octets that are fixed."""
        fitting = (text for text in self.patterns if matches(identity, text))
        return max((1 + len(text.replace("*", "")) for text in fitting), default=0)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A request to the KMS and its outcome, or a change by an operator.

    The time is in Unix nanoseconds; `count` is how often the same was refused in that minute.
    """

    at_ns: int
    exchange: str
    user: str
    about: str
    outcome: str
    reason: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Handled:
    """The result of handling a message: with a `refusal`, `answer` is an Error message or None."""

    answer: bytes | None
    refusal: Refused | None = None


def check_psk(psk: bytes) -> None:
    """Raise UsageError for a pre-shared key shorter than 128 bits."""
    if len(psk) < MIN_PSK:
        raise UsageError(
            f"the pre-shared key has {len(psk)} octets; at least {MIN_PSK} are needed"
            " (RFC 6043 12.1)"
        )
