"""The KMS policy: limits on what is granted, and rules for who may call whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mikeytool.exchange.environment import DEFAULT_SKEW
from mikeytool.exchange.profile import PROFILES
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.pattern import Pattern, pattern
from mikeytool.wire.registry import KeyType

DAY = 24 * 3600
YEAR = 366 * DAY

KEY_TYPES = tuple(
    kind.label.lower()
    for kind in (
        KeyType.TGK,
        KeyType.TGK_SALT,
        KeyType.TEK,
        KeyType.TEK_SALT,
        KeyType.GTGK,
        KeyType.GTGK_SALT,
    )
)
"""The key types that can be asked for, by their names on the command line."""


@dataclass(frozen=True, slots=True)
class KmsPolicy:
    """What a KMS grants.

    `max_validity` is the longest validity of a ticket and `max_skew` how far clocks may be
    apart, both in seconds. `require_forking` demands the I flag of every ticket. `key_types`
    are those of `KEY_TYPES` that are given, `profiles` the algorithms that are served, in
    bits. `rate` is how many messages of one identity are answered in a minute, 0 without a
    limit. `admit_certified` admits senders that are no users but have a certificate of a
    trusted CA. `extended_key_usage` are the purposes that certificates of senders may be limited
    to, as `crypto.certificates.purpose` reads them.
    `keep_log` is how long entries of the log are kept, in seconds.
    """

    max_validity: int = DAY
    max_skew: int = DEFAULT_SKEW
    require_forking: bool = False
    key_types: tuple[str, ...] = KEY_TYPES
    profiles: tuple[int, ...] = tuple(PROFILES)
    admit_certified: bool = False
    rate: int = 30_000
    extended_key_usage: tuple[str, ...] = ()
    keep_log: int = 90 * DAY

    def check(self) -> None:
        """Raise UsageError for a value out of range."""
        from mikeytool.crypto.certificates import purpose  # reads X.509, as few commands do

        for name, least, most in (
            ("max_validity", 1, YEAR),
            ("max_skew", 1, DAY),
            ("rate", 0, 1_000_000_000),
            ("keep_log", 60, 100 * YEAR),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"{name.replace('_', '-')} is {value}, not {least} to {most}")
        for text in self.extended_key_usage:
            purpose(text)
        for name, given, known in (
            ("key-types", self.key_types, KEY_TYPES),
            ("profiles", self.profiles, tuple(PROFILES)),
        ):
            if not given or not set(given) <= set(known):
                listed = ", ".join(map(str, known))
                raise UsageError(f"{name}: one or more of {listed} are expected")


class Rule(NamedTuple):
    """Allows or denies calls from senders to responders.

    Both are patterns of identities, in which `*` stands for any number of octets.
    """

    allowed: bool
    sender: str
    responder: str


@dataclass(frozen=True)
class Rules:
    """An ordered list of rules, of which the last one that matches decides.

    If none matches, the first rule decides: if it allows, all other calls are denied; if it
    denies, all others are allowed. Without rules every call is allowed.
    """

    rules: tuple[Rule, ...] = ()

    @property
    def otherwise(self) -> bool:
        """Whether calls are allowed that no rule matches."""
        return not self.rules or not self.rules[0].allowed

    def allow(self, sender: Identity | None, responders: Sequence[Identity]) -> bool:
        """Whether `sender` may call a responder.

        `responders` are names of one responder, such as a member and its group; a rule matches
        if it matches one of them.
        """
        calling = b"" if sender is None else sender.data
        called = [responder.data for responder in responders]
        for allowed, senders, rule_responders in self._newest_first:
            if senders.matches(calling) and any(map(rule_responders.matches, called)):
                return allowed
        return self.otherwise

    @cached_property
    def _newest_first(self) -> list[tuple[bool, Pattern, Pattern]]:
        return [
            (rule.allowed, pattern(rule.sender), pattern(rule.responder))
            for rule in reversed(self.rules)
        ]
