"""Threads that share a store: so many work on it at once, not counting those that wait.

One that asks another KMS waits for seconds. It gives its turn to others then; and of such
threads, too, there are only so many.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from mikeytool.wire.errors import Unreachable

MAX_ASKING = 4
"""How many questions to other KMSs, at URLs, one process has open."""

_asking = threading.BoundedSemaphore(MAX_ASKING)
_local = threading.local()


class Turn(Protocol):
    """The right to work on the store."""

    def give_up(self) -> None:
        """Let others have it."""

    def take_back(self) -> None:
        """Wait until it is there again."""


@contextmanager
def having(turn: Turn) -> Iterator[None]:
    """Say that this thread has a turn."""
    _local.turn = turn
    try:
        yield
    finally:
        _local.turn = None


@contextmanager
def asking() -> Iterator[None]:
    """Wait for another KMS without a turn; raises Unreachable when too many do."""
    if not _asking.acquire(blocking=False):
        raise Unreachable("too many tickets of other KMSs are being resolved; try again")
    turn: Turn | None = getattr(_local, "turn", None)
    if turn is not None:
        turn.give_up()
    try:
        yield
    finally:
        if turn is not None:
            turn.take_back()
        _asking.release()
