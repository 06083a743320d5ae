"""Input that another program is still writing, such as a capture that is running."""

from __future__ import annotations

import io
import os
import select
import time
from collections.abc import Callable
from typing import Any

PAUSE = 0.3
"""Seconds of waiting for input after which what was found so far is given out."""


class LiveInput(io.RawIOBase):
    """A pipe that tells when nothing comes: it calls `pause` before it waits for more."""

    def __init__(self, descriptor: int, pause: Callable[[], None]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._pause = pause
        self._patience = PAUSE
        self._is_due = self._is_known_silent = False

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def fileno(self) -> int:
        """The descriptor of the pipe, which stays open when this is closed."""
        return self._descriptor

    def is_silent(self) -> bool:
        """Tell whether nothing comes for a while."""
        return not self._is_readable(PAUSE)

    def is_idle(self) -> bool:
        """Tell whether the input was waited for long enough since this was last true.

        A program that reads a file of any size is hardly waited for. A capture with a packet now
        and then is, though nothing in it is a pause. In a silence this is true of all that was read
        before it.
        """
        if self._is_known_silent:
            return True
        begin = time.monotonic()
        is_readable = self._is_readable(self._patience)
        self._patience -= time.monotonic() - begin
        if is_readable and self._patience > 0:
            return False
        self._patience = PAUSE
        self._is_due, self._is_known_silent = True, not is_readable
        return True

    def _is_readable(self, seconds: float) -> bool:
        return bool(select.select([self._descriptor], [], [], max(seconds, 0))[0])

    def readinto(self, buffer: Any, /) -> int:
        """Read what is there into a buffer, or wait for it."""
        if self._is_due or self.is_idle():
            self._pause()
        self._is_due = self._is_known_silent = False
        return os.readv(self._descriptor, [buffer])


def live_input(file: object) -> LiveInput | None:
    """The pipe that is read behind a buffer; None for other files."""
    raw = getattr(file, "raw", None)
    return raw if isinstance(raw, LiveInput) else None


def idleness(file: object) -> Callable[[], bool]:
    """What tells that an open file is a pipe on which nothing has come for a while."""
    live = live_input(file)
    return _never if live is None else live.is_idle


def _never() -> bool:
    return False
