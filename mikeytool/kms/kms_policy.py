"""The KMS policy: limits on what the KMS grants, and rules that allow or deny calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mikeytool.exchange.environment import DEFAULT_SKEW
from mikeytool.exchange.profile import PROFILES
from mikeytool.kms.rule_index import Numbered, RuleIndex
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.pattern import pattern
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
"""The key types that users can ask for, by their names on the command line."""


@dataclass(frozen=True, slots=True)
class KmsPolicy:
    """What a KMS grants.

    `max_validity` is the longest validity of a ticket, in seconds.
    `max_skew` is the largest allowed difference between clocks, in seconds.
    `require_forking` requires the I flag in every ticket.
    `key_types` lists the types from `KEY_TYPES` that the KMS grants.
    `profiles` lists the profiles that the KMS serves, in bits.
    `rate` is the number of messages per minute that the KMS answers for one identity. 0 means
    no limit.
    `admit_certified` admits senders that are not users but have a certificate from a trusted CA.
    `extended_key_usage` lists the purposes that a sender's certificate may be limited to, in the
    form that `crypto.certificates.purpose` reads.
    `keep_log` is the time for which log entries are kept, in seconds.
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
        from mikeytool.crypto.certificates import purpose  # loads X.509, which few commands need

        for name, least, most in (
            ("max_validity", 1, YEAR),
            ("max_skew", 1, DAY),
            ("rate", 0, 1_000_000_000),
            ("keep_log", 60, 100 * YEAR),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"--{name.replace('_', '-')} is {value}, not {least} to {most}")
        for text in self.extended_key_usage:
            purpose(text)
        for name, given, known in (
            ("key-types", self.key_types, KEY_TYPES),
            ("profiles", self.profiles, tuple(PROFILES)),
        ):
            if not given or not set(given) <= set(known):
                listed = ", ".join(map(str, known))
                raise UsageError(f"--{name}: one or more of {listed} are expected")


class Rule(NamedTuple):
    """A rule that allows or denies calls from senders to responders.

    Both are patterns for identities. In a pattern, `*` matches any number of octets.
    """

    allowed: bool
    sender: str
    responder: str


@dataclass(frozen=True)
class Rules:
    """An ordered list of rules. The last rule that matches decides.

    If no rule matches, the call gets the opposite of the first rule: it is denied if the first
    rule allows, and allowed if the first rule denies. If there are no rules, every call is
    allowed.
    """

    rules: tuple[Rule, ...] = ()

    @property
    def otherwise(self) -> bool:
        """Whether calls that no rule matches are allowed."""
        return not self.rules or not self.rules[0].allowed

    def allow(self, sender: Identity | None, responders: Sequence[Identity]) -> bool:
        """Whether `sender` may call a responder.

        `responders` are the names of one responder, such as a member and its group. A rule
        matches if it matches any of them.
        """
        if not self.rules:
            return True
        calling = b"" if sender is None else sender.data
        found = self._index.last_match(calling, [responder.data for responder in responders])
        return self.otherwise if found is None else found.allowed

    @cached_property
    def _index(self) -> RuleIndex:
        return RuleIndex(
            [
                Numbered(number, rule.allowed, pattern(rule.sender), pattern(rule.responder))
                for number, rule in enumerate(self.rules)
            ]
        )
