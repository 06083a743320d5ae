"""What is wrong with a MIKEY message: the musts of the RFCs, and known habits of senders.

    from mikeytool.lint import lint

    for finding in lint(octets, now_ns=time.time_ns()).findings:
        print(finding.level, finding.code, finding.text)

Nothing is decrypted and no MAC is verified: rules look at what everyone can see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import NamedTuple

from mikeytool.lint import (  # noqa: F401 - their rules put themselves on the list
    answers,
    certificates,
    header,
    identities,
    kemac_keys,
    quirks,
    security_policies,
    strength,
    structure,
    ticket,
    times,
)
from mikeytool.lint.rule import RULES, Finding, Found, Level, Relation, Rule, Spot
from mikeytool.lint.subject import MOST_PAYLOADS, Subject
from mikeytool.wire.errors import WireError
from mikeytool.wire.message import Message

__all__ = ["RULES", "Finding", "Level", "Report", "lint"]


MOST = 50
"""How often a rule may find something in one message; what comes behind that says no more."""


class Report(NamedTuple):
    """What is wrong with a message, in the order of the octets.

    `error` tells where the message could not be read further; the findings are about what
    comes before.
    """

    findings: list[Finding]
    error: WireError | None


def lint(data: bytes, *, now_ns: int, init: Message | None = None) -> Report:
    """Check a message against every rule.

    `now_ns` is when it was received, in Unix nanoseconds; `init` the message that it answers,
    or for a CSB update a message of the first exchange.
    """
    try:
        message = Message.read(data)
        if message.error is not None and message.error.partial is not None:
            raise message.error
    except WireError as error:
        found = Found(Spot(error.payload or "HDR", error.offset or 0), error.text)
        return Report([RULES["unreadable"].finding(found)], error)
    subject = Subject(message, now_ns, init)
    findings = sorted(_findings(subject), key=lambda finding: finding.offset)
    return Report(findings, message.error)


def _findings(subject: Subject) -> Iterator[Finding]:
    whole, parts = _rules(subject.kind, subject.relation)
    there = subject.numbers
    for each in whole:
        if each.needs is None or each.needs.number in there:
            for found in islice(each.check(subject), MOST):
                yield each.finding(found)
    seen: Counter[str] = Counter()
    for layer, payload in islice(subject.parts(), MOST_PAYLOADS):
        for each in parts.get(payload.number, ()):
            for found in islice(each.check(subject, payload, layer), MOST - seen[each.code]):
                seen[each.code] += 1
                yield each.finding(found)


@cache
def _rules(kind: int, relation: Relation | None) -> tuple[list[Rule], dict[int | None, list[Rule]]]:
    """The rules for messages of a data type: for whole ones, and by payload number."""
    whole: list[Rule] = []
    parts: dict[int | None, list[Rule]] = {}
    for each in RULES.values():
        if (each.kinds and kind not in each.kinds) or each.relation not in (None, relation):
            continue
        if not each.on:
            whole.append(each)
        for payload_class in each.on:
            parts.setdefault(payload_class.number, []).append(each)
    return whole, parts
