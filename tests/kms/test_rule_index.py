"""The rule that decides is the one that a walk through all rules finds."""

from __future__ import annotations

import re
from random import Random

import pytest

from mikeytool.kms import kms_policy
from mikeytool.kms.kms_policy import Rule, Rules
from mikeytool.wire.identity import Identity
from mikeytool.wire.pattern import Pattern


def walked(rules: list[Rule], sender: str, responders: list[str]) -> bool:
    """Whether a call is allowed, by regular expressions tried one by one."""

    def matches(pattern: str, name: str) -> bool:
        return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.S) is not None

    for rule in reversed(rules):
        if matches(rule.sender, sender) and any(matches(rule.responder, one) for one in responders):
            return rule.allowed
    return not rules or not rules[0].allowed


def drawn(chance: Random, letters: str, most: int) -> str:
    return "".join(chance.choices(letters, k=chance.randrange(most)))


def text(chance: Random, *, star: bool) -> str:
    """A name, or a pattern; short enough that many of them match each other."""
    if chance.random() < 0.5:
        return drawn(chance, "ab**" if star else "ab", 6)
    user = drawn(chance, "ab*" if star else "ab", 4)
    host = chance.choice(["x.example", "a.x.example", "*.x.example" if star else "b.x.example"])
    return f"sip:{user}@{host}"


@pytest.mark.parametrize("seed", range(60))
def test_random_rules(seed: int) -> None:
    chance = Random(seed)
    rules = [
        Rule(chance.random() < 0.5, text(chance, star=True), text(chance, star=True))
        for _ in range(chance.choice((0, 1, 2, 5, 20, 100)))
    ]
    made = Rules(tuple(rules))
    for _ in range(60):
        sender = text(chance, star=False)
        called = [text(chance, star=False) for _ in range(chance.randrange(1, 4))]
        found = made.allow(
            Identity(sender.encode()) if sender else None,
            [Identity(one.encode()) for one in called],
        )
        assert found == walked(rules, sender, called), (sender, called, rules)


@pytest.mark.parametrize(
    ("sender", "responder"),
    [
        ("sip:user{:05}@example.com", "sip:*@example.org"),
        ("sip:*@example.com", "sip:user{:05}@example.org"),
        ("sip:*@host{:05}.example", "*"),
        ("*{:05}@example.com", "sip:{:05}*"),
    ],
)
def test_ten_thousand_rules_cost_a_few_comparisons(
    monkeypatch: pytest.MonkeyPatch, sender: str, responder: str
) -> None:
    compared = []

    class Counted(Pattern):
        def matches(self, octets: bytes) -> bool:
            compared.append(octets)
            return super().matches(octets)

    monkeypatch.setattr(kms_policy, "pattern", Counted)
    rules = Rules(
        (
            Rule(True, "*", "*"),
            *(Rule(False, sender.format(n), responder.format(n)) for n in range(10_000)),
        )
    )
    for n, allowed in ((10_001, True), (7_000, False)):
        caller = Identity(sender.format(n).replace("*", "x").encode())
        called = Identity(responder.format(n).replace("*", "y").encode())
        compared.clear()
        assert rules.allow(caller, [called]) is allowed
        assert len(compared) < 20
