"""The data model of a conference (3GPP TR 33.828 5.3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mikeytool.exchange.profile import PROFILE_128, PROFILE_256, Profile
from mikeytool.exchange.session import DEFAULT_SALT_LENGTH, DEFAULT_TEK_LENGTH, KEY_OVERLAP, Session
from mikeytool.exchange.ticket import new_key
from mikeytool.media.media_lines import Purpose as Purpose
from mikeytool.srtp.suites import SUITES, Suite
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import KeyType, ProtType

DEFAULT_OVERLAP = KEY_OVERLAP
"""Seconds for which a group key stays valid after it has been replaced, for members as well."""
MAX_SEATS = 10
"""How many seats a user can have in a conference: each gets an update at every change of keys."""
DEFAULT_TIMEOUT = 180
"""Seconds that someone who was called out has to answer."""


class MemberState(StrEnum):
    """The state of a seat: called out, in, or out again."""

    INVITED = "invited"
    JOINED = "joined"
    LEFT = "left"


@masked_repr
@dataclass(frozen=True, slots=True)
class Settings:
    """A conference system as a user of its KMS; `identity` is the conference factory's URI.

    `kms` is the address of the KMS, and `kms_id` is its identity. `may_create` lists patterns of
    identities that may create conferences. If it is empty, everyone whom the KMS vouches for may
    create one.
    """

    identity: Identity
    psk: bytes = field(repr=False)
    kms: str
    kms_id: Identity
    may_create: tuple[str, ...]


class Topology(StrEnum):
    """Whose streams the members receive.

    A relay passes on those of the others. A mixer sends one stream to everybody, and with
    mix-minus one to each seat, which leaves out their own voice.
    """

    RELAY = "relay"
    MIXER = "mixer"
    MIX_MINUS = "mix-minus"


DEFAULT_SUITE = SUITES["AES_CM_128_HMAC_SHA1_80"]
"""The suite of a purpose for which no other was chosen."""


@dataclass(frozen=True, slots=True)
class Conference:
    """One conference. `generation` counts its group keys and is 0 until it has the first.

    `purposes` are in the order of the media lines. All members share the key of a purpose, so they
    share its suite as well: `suites` has those that are not `DEFAULT_SUITE`. `may_add` are patterns
    of who may add people besides the creator. `ended_ns` is when it ended. `lines` are the media
    lines of one member, if that member named them in another order.
    """

    number: int
    focus: Identity
    creator: Identity
    purposes: tuple[Purpose, ...]
    generation: int
    suites: Mapping[Purpose, Suite] = field(default_factory=dict)
    topology: Topology = Topology.RELAY
    may_add: tuple[str, ...] = ()
    ended_ns: int | None = None
    lines: tuple[Purpose | None, ...] = ()

    @property
    def media(self) -> dict[Purpose, Suite]:
        """The purposes that are SRTP streams, with their suites."""
        media = (one for one in self.purposes if one.protocol == ProtType.SRTP)
        return {one: self.suites.get(one, DEFAULT_SUITE) for one in media}

    @property
    def profile(self) -> Profile:
        """The weakest profile that can carry all group keys (RFC 6043 12.1)."""
        longest = max(self.key_lengths(purpose)[0] for purpose in self.purposes)
        return PROFILE_128 if longest <= PROFILE_128.key_length else PROFILE_256

    def key_lengths(self, purpose: Purpose) -> tuple[int, int]:
        """Return the lengths of the TEK and of the salt of a purpose, in octets.

        What has no suite has a TEK as long as the shortest of the media, so that everyone who can
        take part in some media can have it.
        """
        suite = self.media.get(purpose)
        if suite is not None:
            return suite.key_length, suite.salt_length
        of_media = (one.key_length for one in self.media.values())
        return min(of_media, default=DEFAULT_TEK_LENGTH), DEFAULT_SALT_LENGTH


@masked_repr
@dataclass(frozen=True, slots=True)
class GroupKey:
    """The key of one purpose, of one generation.

    `tek` and `salt` are empty once the key has expired, because nobody needs it any more.
    `until_ns` is the end of the overlap, or None while the key is active. `due_ns` is the latest
    time at which it has to be replaced.
    """

    purpose: Purpose
    generation: int
    spi: bytes
    tek: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    due_ns: int | None
    until_ns: int | None

    def key_data(self) -> KeyData:
        """The key as a KEMAC carries it (interpretation 13); that of one seat has no salt."""
        kind = KeyType.TEK_SALT if self.salt else KeyType.TEK
        return new_key(kind, self.tek, self.salt or None, self.spi)

    def state(self, now_ns: int) -> str:
        """`active`, `overlap` or `expired`."""
        if self.until_ns is None:
            return "active"
        return "overlap" if self.until_ns > now_ns else "expired"


@dataclass(frozen=True, slots=True)
class Member:
    """A seat: a device of someone who was called out, is in, or was in.

    A user has a seat for each device. `number` is 0 until the seat is stored. `csb_id` names the
    seat; it belongs to `session`, or to the call-out that waits for its answer. The call-out is
    lost at `deadline_ns`. `generation` is that of the newest group keys that the seat is known to
    have.
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
class Seat:
    """An SSRC and who has it; `is_released` says that they have it no more.

    `who` names the user, and the seat too if they have several. `who` and `state` are None for an
    SSRC of the system itself, with which its mixer sends if `is_mixer`. An invitation ends at
    `deadline_ns`.
    """

    ssrc: int
    purpose: Purpose
    who: str | None
    state: MemberState | None
    deadline_ns: int | None
    is_released: bool
    is_mixer: bool = False

    @property
    def owner(self) -> str:
        """Who sends with it."""
        return self.who or "the mixer"

    def refusal(self) -> str | None:
        """Return why nobody may send with this SSRC; None when its member or the mixer may."""
        if self.is_mixer:
            return "it was the mixer's, for somebody who has left" if self.is_released else None
        if self.who is None:
            return "it stands for everyone else's streams; nobody sends with it"
        if self.state == MemberState.INVITED:
            return f"it is kept for {self.who}, who has not answered the call"
        if self.state == MemberState.LEFT:
            return f"it was that of {self.who}, who is no longer in the conference"
        return f"{self.who} has another SSRC now" if self.is_released else None


@dataclass(frozen=True, slots=True)
class MixerStream:
    """A stream that a mixer sends: to one seat, or to everybody if `receiver` is None.

    `without` are the SSRCs of the receiving seat, which does not want to hear its own voice.
    `highest` is the RTP packet index up to which the stream may have been used, `highest_rtcp` the
    SRTCP index; -1 is none.
    """

    ssrc: int
    receiver: Identity | None
    without: frozenset[int]
    highest: int
    highest_rtcp: int = -1


@dataclass(frozen=True, slots=True)
class Update:
    """A message on its way to a member."""

    to: Identity
    message: bytes
