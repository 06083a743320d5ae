"""Input that another program is still writing, such as a capture that is running."""

from __future__ import annotations

import io
import os
import select
from collections.abc import Callable
from typing import Any

PAUSE = 0.3
"""Seconds without input after which what was found so far is given out."""


class LiveInput(io.RawIOBase):
    """A pipe that tells when nothing comes: it calls `pause` before it waits for more."""

    def __init__(self, descriptor: int, pause: Callable[[], None]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._pause = pause

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def fileno(self) -> int:
        """The descriptor of the pipe, which stays open when this is closed."""
        return self._descriptor

    def is_idle(self) -> bool:
        """Tell whether nothing has come for a while."""
        return not select.select([self._descriptor], [], [], PAUSE)[0]

    def readinto(self, buffer: Any, /) -> int:
        """Read what is there into a buffer, or wait for it."""
        if self.is_idle():
            self._pause()
        return os.readv(self._descriptor, [buffer])
