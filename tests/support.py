"""What several tests need: the known answers, and an environment whose draws are scripted."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mikeytool.exchange.environment import Environment
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import T
from mikeytool.wire.registry import TsType
from mikeytool.wire.timestamp import Timestamp

TESTS = Path(__file__).parent
SHARED = TESTS.parent.parent / "shared"


@cache
def vectors(name: str) -> list[dict[str, Any]]:
    """The cases of one file of known answers."""
    cases: list[dict[str, Any]] = json.loads((TESTS / "vectors" / f"{name}.json").read_text())[
        "cases"
    ]
    return cases


def message_t(data: bytes) -> Timestamp:
    """The T of a message."""
    t = Message.parse(data).find(T)
    assert t is not None
    return Timestamp.of(t)


@dataclass(frozen=True)
class Scripted(Environment):
    """Draws and timestamps come from lists, so that a message can be made again exactly."""

    draws: Iterator[bytes] = field(default_factory=lambda: iter(()))
    stamps: Iterator[Timestamp] = field(default_factory=lambda: iter(()))

    def timestamp(self, like: Timestamp | None = None) -> Timestamp:
        return next(self.stamps)


def scripted(now_ns: int, draws: list[bytes], *stamps: Timestamp) -> Scripted:
    """An environment at a fixed time with these draws, each checked for its length."""
    left = iter(draws)

    def random(length: int) -> bytes:
        drawn = next(left)
        assert len(drawn) == length, f"{length} octets are drawn, {drawn.hex()} comes next"
        return drawn

    return Scripted(clock=lambda: now_ns, random=random, draws=left, stamps=iter(stamps))


@contextmanager
def to_an_end() -> Iterator[None]:
    """What takes linear time on large input comes to an end.

    What takes longer is broken off after ten seconds of the processor, which is not asked how
    busy it is otherwise.
    """

    def give_up(_signal: int, _frame: object) -> None:
        raise AssertionError("this comes to no end")

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, 10)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def at(now_ns: int) -> Environment:
    """An environment at a fixed time that draws nothing."""
    return Environment(clock=lambda: now_ns, random=lambda _: b"", ts_type=TsType.NTP_UTC)
