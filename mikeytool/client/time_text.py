"""Times and durations as text: ISO 8601, Unix seconds, `now-15m`, `8h`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from mikeytool.wire.errors import UsageError
from mikeytool.wire.timestamp import FIRST_MOMENT, LAST_MOMENT

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str, option: str = "") -> int:
    """Return the seconds of `90s`, `15m`, `8h` or `7d`; raises UsageError, which names `option`."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if match is None:
        raise UsageError(f"{_named(option, text)}: a duration is like 90s, 15m, 8h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def parse_time(text: str, now: int, option: str = "") -> int:
    """Return the Unix nanoseconds of ISO 8601, Unix seconds, or `now`, `now+D`, `now-D`.

    Raises UsageError, which names `option`, for anything else, and for times that NTP cannot
    represent.
    """
    moment = _parse_time(text, now, option)
    if not FIRST_MOMENT <= moment < LAST_MOMENT:
        raise UsageError(
            f"{_named(option, text)}: this is not between 1968 and 2104, as NTP times are"
        )
    return moment


def _named(option: str, text: str) -> str:
    return f"{option} {text}".lstrip()


def _parse_time(text: str, now: int, option: str) -> int:
    if match := re.fullmatch(r"now(?:([+-])(\w+))?", text):
        offset = parse_duration(match[2], option) if match[2] else 0
        return now + (-offset if match[1] == "-" else offset) * 1_000_000_000
    if re.fullmatch(r"\d{1,10}(\.\d{1,9})?", text):
        whole, _, fraction = text.partition(".")
        return int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{_named(option, text)}: a time is ISO 8601, Unix seconds, now, now+D or now-D"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
