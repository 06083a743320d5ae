"""The KMS policy in a store: its settings and rules."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

from mikeytool.kms.kms_policy import KmsPolicy, Rule, Rules
from mikeytool.kms.store.memory import kept
from mikeytool.kms.store.names import check_patterns
from mikeytool.kms.store.sealed import SealedDatabase
from mikeytool.wire.errors import StateError

_SETTINGS = frozenset(field.name for field in fields(KmsPolicy))


class StoredPolicy(SealedDatabase):
    """The settings and rules in a store."""

    _rules: tuple[tuple[int, int | None], Rules] = (0, None), Rules()
    """The rules from the last read, with their number and the position of the last rule."""

    @kept()
    def policy(self) -> KmsPolicy:
        """Return the KMS policy. Raises StateError if it cannot be read."""
        with self._errors():
            rows = self._db.execute("SELECT name, value FROM settings").fetchall()
        try:
            values: Any = {name: json.loads(text) for name, text in rows if name in _SETTINGS}
            for name in {"key_types", "profiles", "extended_key_usage"} & set(values):
                values[name] = tuple(values[name])
        except (ValueError, TypeError):
            raise StateError(
                f"{self.where}: the policy in it cannot be read; restore a backup"
            ) from None
        return KmsPolicy(**values)

    def set_policy(self, **changes: Any) -> None:
        """Change the given fields of the KMS policy, and leave the others as they are.

        Raises UsageError for a value out of range.
        """
        rows = [(name, json.dumps(value)) for name, value in changes.items()]
        with self.transaction() as db:
            replace(self.policy(), **changes).check()
            db.executemany(
                "INSERT INTO settings VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                rows,
            )
            changed = ", ".join(f"{name} = {json.dumps(value)}" for name, value in changes.items())
            self._note(db, f"policy set {changed}")

    @kept()
    def rules(self) -> Rules:
        """Return the rules in order.

        A rule never changes, and its position is never used again. The number of rules and the
        last position therefore show whether the rules have changed since they were last read.
        """
        with self._errors():
            count, last = self._db.execute("SELECT count(*), max(position) FROM rules").fetchone()
            if self._rules[0] != (count, last):
                rows = self._db.execute(
                    "SELECT allowed, sender, responder FROM rules ORDER BY position"
                ).fetchall()
                found = Rules(tuple(Rule(bool(allowed), *others) for allowed, *others in rows))
                # If a rule was added between the two queries, read them again next time.
                self._rules = (count, last) if len(rows) == count else (0, -1), found
        return self._rules[1]

    def add_rule(self, rule: Rule) -> None:
        """Append a rule, in place of any earlier one with the same patterns.

        Raises UsageError for a pattern that no identity can match.
        """
        check_patterns((rule.sender, rule.responder))
        with self.transaction() as db:
            db.execute(
                "DELETE FROM rules WHERE sender = ? AND responder = ?",
                (rule.sender, rule.responder),
            )
            db.execute(
                "INSERT INTO rules (allowed, sender, responder) VALUES (?, ?, ?)",
                (int(rule.allowed), rule.sender, rule.responder),
            )
            what = "allow" if rule.allowed else "deny"
            self._note(db, f"policy {what} {rule.sender} to {rule.responder}")

    def remove_rule(self, sender: str, responder: str) -> None:
        """Remove the rule with these patterns. Raises StateError if there is none."""
        with self.transaction() as db:
            gone = db.execute(
                "DELETE FROM rules WHERE sender = ? AND responder = ?", (sender, responder)
            )
            if not gone.rowcount:
                raise StateError(
                    f"{self.where}: there is no rule from {sender} to {responder};"
                    " see kms policy list"
                )
            self._note(db, f"policy remove {sender} to {responder}")
