"""What a KMS store holds, as the rest of the KMS sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity

MIN_PSK = 16
"""In octets: keys have 128 bits or more (RFC 6043 12.1)."""


@dataclass(frozen=True, slots=True)
class User:
    """Someone who may ask the KMS, known by a pre-shared key, a certificate or both.

    `psk_id` names the key in IDRpsk, if it has a name. `sealed_psk` is the key as the store
    keeps it, `certificate` is DER.
    """

    identity: Identity
    psk_id: Identity | None = None
    enabled: bool = True
    sealed_psk: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be added, with a key that is not sealed yet."""

    identity: Identity
    psk: bytes | None = field(default=None, repr=False)
    psk_id: Identity | None = None
    act_as: tuple[str, ...] = ()
    certificate: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Tpk:
    """A ticket protection key and the name under which tickets refer to it.

    `shared_with` is the one user who has it too; the KMS's own keys are shared with nobody.
    """

    name: Identity
    key: bytes = field(repr=False)
    shared_with: Identity | None = None
    current: bool = True


@dataclass(frozen=True, slots=True)
class Peer:
    """Another KMS, which `place` reaches, and the key shared with it (RFC 6043 10)."""

    identity: Identity
    place: str
    psk: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What someone asked for and what came of it. Times are Unix nanoseconds."""

    at_ns: int
    exchange: str
    user: str
    about: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Handled:
    """What came of a message. With a `refusal`, `answer` is an Error message or None."""

    answer: bytes | None
    refusal: Refused | None = None


def check_psk(psk: bytes) -> None:
    """Raise UsageError for a pre-shared key of less than 128 bits."""
    if len(psk) < MIN_PSK:
        raise UsageError(
            f"the pre-shared key has {len(psk)} octets, it takes {MIN_PSK} or more (RFC 6043 12.1)"
        )
