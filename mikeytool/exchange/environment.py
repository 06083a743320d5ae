"""Clock and randomness, which the exchanges are given instead of taking them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import ErrorNo, TsType
from mikeytool.wire.timestamp import Timestamp

NS = 1_000_000_000
DEFAULT_SKEW = 300
"""Seconds that a clock may be off (interpretation 30)."""


@dataclass(frozen=True)
class Environment:
    """What a role knows of the world: `clock` gives Unix nanoseconds, `random` octets.

    `skew` is how far, in seconds, a timestamp may lie from the clock.
    """

    clock: Callable[[], int]
    random: Callable[[int], bytes]
    ts_type: TsType = TsType.NTP_UTC
    skew: int = DEFAULT_SKEW

    def timestamp(self) -> Timestamp:
        """The T of a message that is made now."""
        return Timestamp.at(self.clock(), self.ts_type)

    def check_fresh(self, t: Timestamp) -> None:
        """Raise Refused (Invalid TS) when `t` lies more than the skew from now.

        A COUNTER says nothing about time; it is compared with the last one where that is kept
        (interpretation 31).
        """
        if t.counter is not None:
            return
        sent = t.unix_ns
        if sent is None:
            raise Refused(f"timestamp type {t.ts_type} is not supported", ErrorNo.INVALID_TS)
        off = (sent - self.clock()) / NS
        if abs(off) > self.skew:
            way = "ahead of" if off > 0 else "behind"
            raise Refused(
                f"its timestamp {t.utc} is {abs(off):.0f} s {way} this clock,"
                f" more than {self.skew} s; check both clocks",
                ErrorNo.INVALID_TS,
            )

    def spi(self, taken: set[bytes]) -> bytes:
        """A new SPI of 4 octets that is not in `taken`, and is from now on."""
        while (spi := self.random(4)) in taken:
            pass
        taken.add(spi)
        return spi
