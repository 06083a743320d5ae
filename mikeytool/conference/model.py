"""What a conference is made of (3GPP TR 33.828 5.3.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket import new_key
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import KeyType, ProtType

TEK_LENGTH = 16
SALT_LENGTH = 14
"""In octets: what the suite of every conference, AES_CM_128_HMAC_SHA1_80, takes."""
DEFAULT_OVERLAP = 30
"""Seconds that a group key is good for after another one has taken its place."""
DEFAULT_TIMEOUT = 180
"""Seconds that someone who was called out has for answering."""


class Purpose(StrEnum):
    """What a group key is for; each purpose has crypto sessions and a key of its own."""

    AUDIO = "audio"
    VIDEO = "video"
    FLOOR = "floor"
    EVENTS = "events"

    @property
    def protocol(self) -> ProtType:
        """The Prot type of its crypto sessions."""
        return _PROTOCOLS.get(self, ProtType.SRTP)


_PROTOCOLS = {Purpose.FLOOR: ProtType.TLS_PSK, Purpose.EVENTS: ProtType.CMS}


class MemberState(StrEnum):
    """Where someone stands: called out, in, or out again."""

    INVITED = "invited"
    JOINED = "joined"
    LEFT = "left"


@masked_repr
@dataclass(frozen=True, slots=True)
class Settings:
    """A conference system as a user of its KMS; `identity` is the conference factory's URI.

    `kms` is where the KMS is reached, `kms_id` what it is called. `may_create` are patterns
    of who may create conferences; without any, everyone whom the KMS vouches for may.
    """

    identity: Identity
    psk: bytes = field(repr=False)
    kms: str
    kms_id: Identity
    may_create: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conference:
    """One conference. `generation` counts its group keys; 0 until it has the first."""

    number: int
    focus: Identity
    creator: Identity
    purposes: tuple[Purpose, ...]
    generation: int


@masked_repr
@dataclass(frozen=True, slots=True)
class GroupKey:
    """The key of one purpose, of one generation.

    `tek` and `salt` are empty once the key has expired: nobody needs it any more.
    `until_ns` is the end of the overlap, None while the key is the active one; `due_ns` is
    when it has to be replaced at the latest.
    """

    purpose: Purpose
    generation: int
    spi: bytes
    tek: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    due_ns: int | None
    until_ns: int | None

    def key_data(self) -> KeyData:
        """The key as a KEMAC carries it (interpretation 13)."""
        return new_key(KeyType.TEK_SALT, self.tek, self.salt, self.spi)

    def state(self, now_ns: int) -> str:
        """`active`, `overlap` or `expired`."""
        if self.until_ns is None:
            return "active"
        return "overlap" if self.until_ns > now_ns else "expired"


@dataclass(frozen=True, slots=True)
class Member:
    """Someone who was called out, is in, or was.

    `csb_id` is that of `session`, or of the call-out that waits for its answer, which is
    lost at `deadline_ns`. `generation` is that of the newest group keys they are known to have.
    """

    number: int
    conference: int
    identity: Identity
    state: MemberState
    csb_id: int
    generation: int
    deadline_ns: int | None = None
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """A message on its way to a member."""

    to: Identity
    message: bytes
