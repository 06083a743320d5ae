"""Slots in which threads work on a store: a limited number at once.

A thread that waits for another KMS, which takes seconds, leaves its slot to others meanwhile;
the number of threads that wait so is limited as well.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from mikeytool.wire.errors import Unreachable

MAX_PEER_REQUESTS = 4
"""How many requests to other KMSs, at URLs, one process has open at once."""

_peer_requests = threading.BoundedSemaphore(MAX_PEER_REQUESTS)
_local = threading.local()


class Slot(Protocol):
    """The right to work on a store."""

    def release(self) -> None:
        """Leave the slot to another thread."""

    def acquire(self) -> None:
        """Wait until the slot is free again."""


@contextmanager
def holding(slot: Slot) -> Iterator[None]:
    """Record that this thread works in a slot."""
    _local.slot = slot
    try:
        yield
    finally:
        _local.slot = None


@contextmanager
def peer_request() -> Iterator[None]:
    """Ask another KMS in the block, without a slot; raises Unreachable if too many threads do."""
    if not _peer_requests.acquire(blocking=False):
        raise Unreachable("too many tickets of other KMSs are being resolved; try again")
    slot: Slot | None = getattr(_local, "slot", None)
    if slot is not None:
        slot.release()
    try:
        yield
    finally:
        if slot is not None:
            slot.acquire()
        _peer_requests.release()
