"""Types of option values: identities, times, durations, SPECs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.timestamp import FIRST_MOMENT, LAST_MOMENT


class IdentityType(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """A URI, or `user@host`."""

    name = "URI"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Identity:
        """Make the identity."""
        if isinstance(value, Identity):
            return value
        if not value:
            self.fail("an identity cannot be empty", param, ctx)
        return Identity.from_text(value)


IDENTITY = IdentityType()

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> int:
    """Give the seconds of `90s`, `15m`, `8h` or `7d`; raises UsageError."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if match is None:
        raise UsageError(f"{text}: a duration is like 90s, 15m, 8h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def parse_time(text: str, now: int) -> int:
    """Give the Unix nanoseconds of ISO 8601, Unix seconds, or `now`, `now+D`, `now-D`.

    Raises UsageError for anything else, and for times that NTP cannot represent.
    """
    moment = _parse_time(text, now)
    if not FIRST_MOMENT <= moment < LAST_MOMENT:
        raise UsageError(f"{text}: this is not between 1968 and 2104, as NTP times are")
    return moment


def _parse_time(text: str, now: int) -> int:
    if match := re.fullmatch(r"now(?:([+-])(\w+))?", text):
        offset = parse_duration(match[2]) if match[2] else 0
        return now + (-offset if match[1] == "-" else offset) * 1_000_000_000
    if re.fullmatch(r"\d{1,10}(\.\d{1,9})?", text):
        whole, _, fraction = text.partition(".")
        return int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text}: a time is ISO 8601, Unix seconds, or now+D") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


class Spec(NamedTuple):
    """The parts of a `name=value,…` option; a first word without `=` is `head`."""

    head: str | None
    values: dict[str, list[str]]


def parse_spec(text: str, option: str, allowed: set[str], *, head: bool) -> Spec:
    """Take a SPEC apart; raises UsageError for a name that is not `allowed`."""
    parts = text.split(",")
    first = parts.pop(0) if head else None
    values: dict[str, list[str]] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or name not in allowed:
            known = ", ".join(sorted(allowed))
            raise UsageError(f"{option} {text}: {part!r} is none of {known} with a value")
        values.setdefault(name, []).append(value)
    return Spec(first, values)


def single(spec: Spec, name: str, option: str) -> str | None:
    """Give the one value of a name in a SPEC, None without it; raises UsageError for two."""
    values = spec.values.get(name, [])
    if len(values) > 1:
        raise UsageError(f"{option}: {name} is given {len(values)} times")
    return values[0] if values else None
