"""The clock, randomness and surroundings that are passed to the exchanges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mikeytool.wire.errors import Refused
from mikeytool.wire.protocol_list import sdp_ids
from mikeytool.wire.registry import ErrorNo, TsType
from mikeytool.wire.timestamp import Timestamp

if TYPE_CHECKING:
    from mikeytool.wire.payloads import Payload

NS = 1_000_000_000
DEFAULT_SKEW = 300
"""How far a clock may be off, in seconds (interpretation 30)."""


@dataclass(frozen=True)
class Environment:
    """The clock and randomness of a role: `clock` returns Unix nanoseconds, `random` octets.

    `skew` is the maximum difference between a timestamp and the clock, in seconds. `protocols` are
    the key management protocols in the session description that messages go into, if they do.
    """

    clock: Callable[[], int]
    random: Callable[[int], bytes]
    ts_type: TsType = TsType.NTP_UTC
    skew: int = DEFAULT_SKEW
    protocols: tuple[str, ...] = ()

    def timestamp(self, like: Timestamp | None = None) -> Timestamp:
        """Return the T of a message that is made now.

        `like` is the T of the message that it answers. The answer has its type, and repeats a
        COUNTER (4.2.2.3, interpretation 42).
        """
        if like is None:
            return Timestamp.at(self.clock(), self.ts_type)
        if like.counter is not None:
            return like
        return Timestamp.at(self.clock(), TsType(like.ts_type))

    def extensions(self) -> list[Payload]:
        """Return what a message of Ticket Transfer has in a session description: their list."""
        return [sdp_ids(self.protocols)] if self.protocols else []

    def check_fresh(self, t: Timestamp) -> None:
        """Raise Refused (Invalid TS) if `t` differs from the current time by more than the skew.

        A COUNTER does not contain a time. Code that stores the last COUNTER compares it with the
        new one (interpretation 31).
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
        """Return a new SPI of 4 octets that is not in `taken`, and add it to `taken`."""
        while (spi := self.random(4)) in taken:
            pass
        taken.add(spi)
        return spi
