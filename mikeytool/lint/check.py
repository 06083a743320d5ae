"""Checks a message against every rule."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import NamedTuple

from mikeytool import decode
from mikeytool.lint import (  # noqa: F401 - their rules register themselves
    answers,
    bidding_down,
    certificates,
    header,
    identities,
    ims,
    kemac_keys,
    mission_critical,
    onvif,
    quirks,
    rsa_r,
    security_policies,
    strength,
    structure,
    ticket,
    times,
)
from mikeytool.lint.rule import PERMITTED, Finding, Found, Profile, Relation, Rule, Spot
from mikeytool.lint.rule import RULES as RULES
from mikeytool.lint.subject import MOST_PAYLOADS, Subject
from mikeytool.wire.errors import WireError
from mikeytool.wire.message import Message
from mikeytool.wire.protocol_list import Carried
from mikeytool.wire.registry import CsIdMapType

MOST = 50
"""The most findings of one rule in one message; more would not help."""


class Report(NamedTuple):
    """What is wrong with a message, in the order of its octets.

    `error` says where reading stopped; the findings are about what comes before that.
    """

    findings: list[Finding]
    error: WireError | None


def lint(
    message: bytes | str | Message,
    *,
    now_ns: int | None = None,
    init: Message | None = None,
    profile: Profile | None = None,
    carried: Carried | None = None,
) -> Report:
    """Check a message against every rule, and those of a profile.

    `message` is what `mikeytool.decode` takes, or what it gives. `now_ns` is when the message
    was received, in Unix nanoseconds, by default now. `init` is the message that it answers,
    or for a CSB update a message of the first exchange. `carried` is its place in a session
    description, if it comes from one. Raises WireError for a text that does
    not carry exactly one message.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    try:
        message = decode(_octets(message) if isinstance(message, Message) else message)
    except WireError as error:
        if isinstance(message, str) and error.partial is None:
            raise
        mended = None if error.partial is None else _without_map(error.partial)
        if mended is None:
            found = Found(Spot(error.payload or "HDR", error.offset or 0), error.text)
            return Report([RULES["unreadable"].finding(found)], error)
        missing = error.partial.header.cs_count
        subject = Subject(mended, now_ns, init, missing, carried)
        return Report(_sorted(subject, profile), error)
    mended = _without_map(message)
    if mended is None:
        subject = Subject(message, now_ns, init, carried=carried)
    else:
        subject = Subject(mended, now_ns, init, message.header.cs_count or 0, carried)
    return Report(_sorted(subject, profile), message.error)


def _without_map(message: Message) -> Message | None:
    """A message as it can be read if the CS ID map is missing, although #CS says that it is there.

    None if the message can be read to its last octet as it is, or cannot be without the map.
    """
    data = message.raw
    head = message.header
    if (message.error is None and not message.trailing) or not head.cs_count:
        return None
    if head.cs_id_map_type not in (CsIdMapType.SRTP_ID, CsIdMapType.GENERIC_ID):
        return None
    without = head.copy(cs_count=0, cs_id_map=[]).build()
    with suppress(WireError):
        return Message.parse(without + data[len(without) :])
    return None


def _sorted(subject: Subject, profile: Profile | None) -> list[Finding]:
    return sorted(_findings(subject, profile), key=lambda finding: finding.offset)


def _octets(message: Message) -> bytes:
    return message.raw or message.build()


def _findings(subject: Subject, profile: Profile | None) -> Iterator[Finding]:
    whole, parts = _rules(subject.kind, subject.relation, profile)
    there = subject.numbers
    is_broken = subject.message.error is not None
    for each in whole:
        if each.whole and is_broken:
            continue
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
def _rules(
    kind: int, relation: Relation | None, profile: Profile | None
) -> tuple[list[Rule], dict[int | None, list[Rule]]]:
    """The rules for messages of a data type: for whole ones, and by payload number."""
    whole: list[Rule] = []
    parts: dict[int | None, list[Rule]] = {}
    permitted = PERMITTED[profile] if profile else frozenset()
    for each in RULES.values():
        if each.profile not in (None, profile) or each.code in permitted:
            continue
        if (each.kinds and kind not in each.kinds) or each.relation not in (None, relation):
            continue
        if not each.on:
            whole.append(each)
        for payload_class in each.on:
            parts.setdefault(payload_class.number, []).append(each)
    return whole, parts
