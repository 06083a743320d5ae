"""Slots in which threads work on a store. They limit the number of threads at work.

Waiting for another KMS takes seconds, so a thread gives up its slot while it waits. The number of
such waiting threads is limited too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from mikeytool.wire.errors import Unreachable

MAX_PEER_REQUESTS = 4
"""The most requests to URLs of other KMSs that one process has open at once."""

_peer_requests = threading.BoundedSemaphore(MAX_PEER_REQUESTS)
_local = threading.local()


class Slot(Protocol):
    """The right to work on a store."""

    def release(self) -> None:
        """Give the slot to another thread."""

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
    """Give up the slot while the block asks another KMS.

    Raises Unreachable if too many threads are asking already.
    """
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
