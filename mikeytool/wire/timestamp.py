"""Timestamps and what they mean (RFC 3830 6.6, RFC 6043 6.3, RFC 4330 section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from mikeytool.wire.errors import UsageError
from mikeytool.wire.registry import TsType

if TYPE_CHECKING:
    from mikeytool.wire.payloads import TR, T

NTP_EPOCH = 2_208_988_800
"""Seconds from 1900 to 1970, between the epochs of NTP and of Unix time."""

_ERA = 1 << 32
_NS = 1_000_000_000

FIRST_MOMENT = ((1 << 31) - NTP_EPOCH) * _NS
"""The first NTP time with the top bit set, in 1968, as Unix time in nanoseconds."""

LAST_MOMENT = ((3 << 31) - NTP_EPOCH) * _NS
"""The time in 2104 at which NTP's 32-bit seconds mean 1968 again, as Unix nanoseconds."""

_FILETIME_EPOCH_NS = 11_644_473_600 * _NS
_FIRST_FILETIME_NS = 946_684_800 * _NS
_LAST_FILETIME_NS = (_ERA - NTP_EPOCH) * _NS
"""FILETIME counts from 1601; one is likely from 2000 to the end of NTP's first era, in 2036."""

_UNIX_EPOCH = datetime(1970, 1, 1)  # in UTC; the text ends in Z
_MISSING_BITS = {TsType.NTP_UTC.value: 0, TsType.NTP.value: 0, TsType.NTP_UTC_32.value: 32}
"""For each type that is a time, the number of bits that it lacks of a 64-bit NTP time."""


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A TS type with its TS value, in octets as on the wire."""

    ts_type: int
    value: bytes

    @classmethod
    def of(cls, payload: T | TR) -> Self:
        """The timestamp in a T or TR payload."""
        return cls(payload.ts_type, payload.ts_value)

    @classmethod
    def at(cls, unix_ns: int, ts_type: TsType = TsType.NTP_UTC) -> Self:
        """The NTP timestamp of a Unix time in nanoseconds.

        Raises UsageError for a time outside 1968 to 2104 and for COUNTER, which is not a time.
        """
        if ts_type == TsType.COUNTER:
            raise UsageError("a COUNTER cannot be made from a time")
        if not FIRST_MOMENT <= unix_ns < LAST_MOMENT:
            raise UsageError("NTP times lie between 1968 and 2104")
        seconds, rest = divmod(unix_ns, _NS)
        ntp = (seconds + NTP_EPOCH) % _ERA
        if ts_type == TsType.NTP_UTC_32:
            return cls(ts_type, ntp.to_bytes(4))
        return cls(ts_type, ((ntp << 32) + (rest << 32) // _NS).to_bytes(8))

    def payload(self) -> T:
        """The timestamp as a T payload."""
        from mikeytool.wire.payloads import T  # many commands need no payloads

        return T(ts_type=int(self.ts_type), ts_value=self.value)

    @property
    def ntp64(self) -> bytes:
        """The value in 8 octets, as used in IVs (interpretation 2)."""
        if self.ts_type == TsType.NTP_UTC_32:
            return self.value + bytes(4)
        return self.value.rjust(8, b"\0")

    @property
    def counter(self) -> int | None:
        """The value of a COUNTER; None for other types."""
        return int.from_bytes(self.value) if self.ts_type == TsType.COUNTER else None

    @property
    def unix_ns(self) -> int | None:
        """Unix time in nanoseconds; None for a COUNTER and for unknown types.

        Values with the top bit set mean 1968 to 2036, others 2036 to 2104
        (interpretation 30).
        """
        time = _unix_time(self.ts_type, self.value)
        return None if time is None else time[0] * _NS + (time[1] * _NS >> 32)

    @property
    def utc(self) -> str | None:
        """ISO 8601 in UTC, to the second or the microsecond; None if `unix_ns` is None."""
        return utc_of(self.ts_type, self.value)

    @property
    def json(self) -> dict[str, str | None]:
        """The form in which `--json` prints a time: the value in hex, and `utc`."""
        return {"value": self.value.hex(), "utc": self.utc}

    @property
    def filetime(self) -> str | None:
        """The time that the value is as a Windows FILETIME; None unless that is likely.

        Some senders write a FILETIME, which read as NTP is in 2037.
        """
        if len(self.value) != 8 or self.ts_type not in (TsType.NTP_UTC, TsType.NTP):
            return None
        ns = int.from_bytes(self.value) * 100 - _FILETIME_EPOCH_NS
        if not _FIRST_FILETIME_NS <= ns < _LAST_FILETIME_NS:
            return None
        seconds, rest = divmod(ns, _NS)
        return f"{_date(seconds)}.{rest // 1_000_000:03}Z"

    @property
    def is_zero(self) -> bool:
        """Whether a time is all zeros, as senders without a clock write it."""
        return self.unix_ns is not None and not any(self.value)

    @property
    def interval(self) -> int:
        """A rekeying interval, TRr, in seconds (RFC 6043 6.10)."""
        return int.from_bytes(self.value[:4])


def _unix_time(ts_type: int, value: bytes) -> tuple[int, int] | None:
    """Unix time in seconds, and the 2^-32ths of a second beyond; None if it is not a time."""
    missing = _MISSING_BITS.get(ts_type)
    if missing is None:
        return None
    ntp = int.from_bytes(value) << missing
    seconds = ntp >> 32
    return seconds - (NTP_EPOCH if seconds >> 31 else NTP_EPOCH - _ERA), ntp & (_ERA - 1)


def utc_of(ts_type: int, value: bytes) -> str | None:
    """A TS value in ISO 8601, as `Timestamp.utc` gives it."""
    time = _unix_time(ts_type, value)
    if time is None:
        return None
    seconds, fraction = time
    micros = fraction * 1_000_000 >> 32
    return f"{_date(seconds)}.{micros:06}Z" if micros else f"{_date(seconds)}Z"


_LAST_SECOND = 253_402_300_799
"""The end of the year 9999 in Unix time."""


def unix_utc(seconds: int) -> str | None:
    """Unix time in ISO 8601; None for 0, which says that there is no time, and after 9999."""
    return f"{_date(seconds)}Z" if 0 < seconds <= _LAST_SECOND else None


@lru_cache(maxsize=4096)
def _date(seconds: int) -> str:
    return (_UNIX_EPOCH + timedelta(seconds=seconds)).isoformat()
