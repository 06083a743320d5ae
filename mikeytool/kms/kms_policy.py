"""The policy of a KMS: what is granted at most, and who may ask for whom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

from mikeytool.exchange.environment import DEFAULT_SKEW
from mikeytool.exchange.profile import PROFILES
from mikeytool.kms.store.sealed import SealedDatabase
from mikeytool.wire.errors import StateError, UsageError
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
"""What can be asked for, by the names that the command line has for key types."""


@dataclass(frozen=True, slots=True)
class KmsPolicy:
    """What a KMS grants.

    `max_validity` and `max_skew` are in seconds, `profiles` in bits, `rate` is how many
    messages of one identity are answered in a minute, 0 without a limit. `admit_certified`
    lets in whoever has a certificate by a trust anchor, known as a user or not.
    """

    max_validity: int = DAY
    max_skew: int = DEFAULT_SKEW
    require_forking: bool = False
    key_types: tuple[str, ...] = KEY_TYPES
    profiles: tuple[int, ...] = tuple(PROFILES)
    admit_certified: bool = False
    rate: int = 30_000

    def check(self) -> None:
        """Raise UsageError for what makes no sense."""
        for name, least, most in (
            ("max_validity", 1, YEAR),
            ("max_skew", 1, DAY),
            ("rate", 0, 1_000_000_000),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"{name.replace('_', '-')} is {value}, not {least} to {most}")
        for name, given, known in (
            ("key-types", self.key_types, KEY_TYPES),
            ("profiles", self.profiles, tuple(PROFILES)),
        ):
            if not given or not set(given) <= set(known):
                listed = ", ".join(map(str, known))
                raise UsageError(f"{name}: one or more of {listed} are expected")


_SETTINGS = frozenset(field.name for field in fields(KmsPolicy))


class Rule(NamedTuple):
    """Who may, or may not, call whom: patterns in which `*` stands for any number of octets."""

    allowed: bool
    sender: str
    responder: str


@dataclass(frozen=True)
class Rules:
    """Rules in their order. The last one that matches counts; where none does, the first one
    decides: behind a list that begins with allow everyone else is denied, behind one that
    begins with deny everyone else is allowed. Without rules everyone is.
    """

    rules: tuple[Rule, ...] = ()

    @property
    def otherwise(self) -> bool:
        """Whether those are allowed whom no rule matches."""
        return not self.rules or not self.rules[0].allowed

    def allow(self, sender: Identity | None, responders: Sequence[Identity]) -> bool:
        """Whether a sender may call; the last rule that knows any of the `responders` decides.

        These are names of one and the same, such as a member and its group.
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


class Policies(SealedDatabase):
    """Settings and rules in the store."""

    _rules: tuple[tuple[int, int | None], Rules] = (0, None), Rules()
    """The rules as they were read last, and what told them from others."""

    def policy(self) -> KmsPolicy:
        """What is granted at most."""
        with self._errors():
            rows = self._db.execute("SELECT name, value FROM settings").fetchall()
        try:
            values: Any = {name: json.loads(text) for name, text in rows if name in _SETTINGS}
            for name in {"key_types", "profiles"} & set(values):
                values[name] = tuple(values[name])
        except (ValueError, TypeError):
            raise StateError(
                f"{self.where}: the policy in it cannot be read; restore a backup"
            ) from None
        return KmsPolicy(**values)

    def set_policy(self, **changes: Any) -> None:
        """Change these fields of the policy, and leave the others as they are.

        Raises UsageError for what makes no sense.
        """
        rows = [(name, json.dumps(value)) for name, value in changes.items()]
        with self.transaction() as db:
            replace(self.policy(), **changes).check()
            db.executemany(
                "INSERT INTO settings VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                rows,
            )

    def rules(self) -> Rules:
        """Who may call whom.

        A rule never changes and its position is never used again, so the number of rules and
        the last position tell whether the rules are still those that were read last.
        """
        with self._errors():
            count, last = self._db.execute("SELECT count(*), max(position) FROM rules").fetchone()
            if self._rules[0] != (count, last):
                rows = self._db.execute(
                    "SELECT allowed, sender, responder FROM rules ORDER BY position"
                ).fetchall()
                found = Rules(tuple(Rule(bool(allowed), *others) for allowed, *others in rows))
                # A rule that came between the two queries is read again next time.
                self._rules = (count, last) if len(rows) == count else (0, -1), found
        return self._rules[1]

    def add_rule(self, rule: Rule) -> None:
        """Put a rule at the end; one with the same patterns is no more."""
        with self.transaction() as db:
            db.execute(
                "DELETE FROM rules WHERE sender = ? AND responder = ?",
                (rule.sender, rule.responder),
            )
            db.execute(
                "INSERT INTO rules (allowed, sender, responder) VALUES (?, ?, ?)",
                (int(rule.allowed), rule.sender, rule.responder),
            )

    def remove_rule(self, sender: str, responder: str) -> None:
        """Remove the rule with these patterns; raises StateError when there is none."""
        with self.transaction() as db:
            gone = db.execute(
                "DELETE FROM rules WHERE sender = ? AND responder = ?", (sender, responder)
            )
            if not gone.rowcount:
                raise StateError(
                    f"{self.where}: there is no rule from {sender} to {responder};"
                    " see kms policy list"
                )
