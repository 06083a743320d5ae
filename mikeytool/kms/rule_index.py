"""Finds the rule that decides about a call without trying every rule.

A pattern can match only identities that begin and end as it does. The patterns of all rules are
found by these ends: for an identity there is one look-up for each pair of lengths that the ends
have, however many rules there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mikeytool.wire.pattern import Ends, Pattern


class Numbered(NamedTuple):
    """A rule and its place in the order of rules."""

    number: int
    allowed: bool
    sender: Pattern
    responder: Pattern


class RuleIndex:
    """The rules of a KMS, by the ends of their patterns."""

    def __init__(self, rules: Sequence[Numbered]) -> None:
        self._senders = _KnownEnds(rule.sender.ends for rule in rules)
        self._responders = _KnownEnds(rule.responder.ends for rule in rules)
        self._newest_first: dict[Ends, dict[Ends, list[Numbered]]] = {}
        for rule in sorted(rules, key=lambda one: -one.number):
            by_responder = self._newest_first.setdefault(rule.sender.ends, {})
            by_responder.setdefault(rule.responder.ends, []).append(rule)

    def last_match(self, calling: bytes, called: Sequence[bytes]) -> Numbered | None:
        """Return the last rule that matches the sender and any name of the responder, or None."""
        found: Numbered | None = None
        responders = {ends for name in called for ends in self._responders.of(name)}
        for sender in self._senders.of(calling):
            by_responder = self._newest_first[sender]
            for responder in responders & by_responder.keys():
                for rule in by_responder[responder]:
                    if found is not None and rule.number < found.number:
                        break
                    if rule.sender.matches(calling) and any(map(rule.responder.matches, called)):
                        found = rule
                        break
        return found


class _KnownEnds:
    """The ends of many patterns."""

    def __init__(self, ends: Iterable[Ends]) -> None:
        self._known = set(ends)
        self._lengths = {(len(first), len(last)) for first, last in self._known if last is not None}

    def of(self, octets: bytes) -> list[Ends]:
        """Return the ends that these octets have too."""
        size, known = len(octets), self._known
        found: list[Ends] = [(octets, None)] if (octets, None) in known else []
        for first, last in self._lengths:
            ends = octets[:first], octets[size - last :]
            if first + last <= size and ends in known:
                found.append(ends)
        return found
