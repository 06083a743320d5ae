"""Rules, their findings, and the list of all rules.

A rule is a function that looks at one thing and yields what is wrong with it. The decorator
`rule` gives it a code that never changes, a level and the section of the RFC that it comes
from; the first line of its docstring is what `--list` says about it. Codes are words in kebab
case; those of known habits of real senders begin with `quirk-`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeVar

from mikeytool.wire.payloads import Payload


class Level(StrEnum):
    """How serious a finding is.

    An error breaks a must of the RFCs. A warning breaks a should, is weak, or is wrong unless
    something that the message does not say makes it right. A note is worth knowing.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Place(Protocol):
    """The place of a finding in a message; every payload is one."""

    @property
    def label(self) -> str:
        """The name of the payload."""

    @property
    def offset(self) -> int:
        """The offset in octets from the start of the message."""


class Spot(NamedTuple):
    """A place that is not a payload."""

    label: str
    offset: int


HEADER = Spot("HDR", 0)


class Found(NamedTuple):
    """What a rule yields; `section` replaces that of the rule where it varies."""

    place: Place
    text: str
    section: str | None = None


class Finding(NamedTuple):
    """One thing that is wrong with a message, in the words of `--json`.

    `offset` counts octets from the start of the message.
    """

    level: Level
    code: str
    payload: str
    offset: int
    text: str
    section: str


class Relation(StrEnum):
    """How a message relates to the previous one of the same crypto session bundle."""

    ANSWER = "answer"
    UPDATE = "update"


class Profile(StrEnum):
    """A system that demands more of messages than the RFCs."""

    ONVIF = "onvif"
    MC = "mc"
    IMS = "ims"


Check = Callable[..., Iterator[Found]]
C = TypeVar("C", bound=Check)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and when it applies.

    `check` takes the subject, and for rules `on` a payload class also the payload and the
    `Within` around it. A rule that `needs` a payload class applies once to a message that has
    such a payload. `kinds` are data types; empty means all. A rule with a `relation` needs the
    previous message, and applies only to messages that have this relation to it. A `whole` rule
    says what is missing, so it does not apply to a message that breaks off. A rule with a `profile`
    applies only when that is asked for.
    """

    code: str
    level: Level
    section: str
    check: Check
    on: tuple[type[Payload], ...]
    needs: type[Payload] | None
    kinds: frozenset[int]
    relation: Relation | None
    whole: bool
    profile: Profile | None

    @property
    def about(self) -> str:
        """What the rule is about, in one line."""
        return (self.check.__doc__ or "").splitlines()[0].rstrip(".")

    def finding(self, found: Found) -> Finding:
        """What the rule found, as a finding."""
        place = found.place
        section = found.section or self.section
        return Finding(self.level, self.code, place.label, place.offset, found.text, section)


RULES: dict[str, Rule] = {}
"""Every rule by its code."""

PERMITTED: dict[Profile, frozenset[str]] = {}
"""The codes of what a profile wants or takes, though it is an RFC's should not, or a quirk."""


def rule(
    code: str,
    level: Level,
    section: str,
    *,
    on: type[Payload] | tuple[type[Payload], ...] = (),
    needs: type[Payload] | None = None,
    kinds: Iterable[Any] = (),
    relation: Relation | None = None,
    whole: bool = False,
    profile: Profile | None = None,
) -> Callable[[C], C]:
    """Put a function on the list of rules; see `Rule` for the arguments."""

    def register(check: C) -> C:
        if code in RULES:
            raise ValueError(f"two rules have the code {code}")
        classes = on if isinstance(on, tuple) else (on,)
        numbers = frozenset(int(kind) for kind in kinds)
        RULES[code] = Rule(
            code, level, section, check, classes, needs, numbers, relation, whole, profile
        )
        return check

    return register
