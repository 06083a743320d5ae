"""Other processes that verify and decrypt batches of packets (`--jobs`).

Each is forked with a copy of everything and decrypts every Nth batch as if it had the stream
to itself; which packets may come in is for the one process to say that has all the indices.
It takes a batch over if each packet simply follows those before, else it throws the work away
and does the batch itself, so that the outcome is the same as without workers.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NamedTuple

from mikeytool.capture.record import Record, make_record
from mikeytool.media.handlers import Handler
from mikeytool.srtp.handover import Run, accepted


class Done(NamedTuple):
    """A batch of which every packet of a stream was let in, or was neither RTP nor RTCP.

    `runs` are the packets let in, a list for each handler.
    """

    octets: bytes
    runs: list[list[Run]]
    others: Counter[str]


class Workers:
    """A number of forked processes, given batches in turn and asked in the same order."""

    def __init__(self, number: int, work: Callable[[list[Record]], Done | None]) -> None:
        context = multiprocessing.get_context("fork")
        self._ends: list[Connection] = []
        for _ in range(number):
            ours, theirs = context.Pipe()
            inherited = [*self._ends, ours]
            context.Process(target=_serve, args=(theirs, inherited, work), daemon=True).start()
            theirs.close()
            self._ends.append(ours)
        self._given = 0
        self._taken = 0

    @property
    def are_busy(self) -> bool:
        """Whether a batch has to be taken before another may be given."""
        return self._given - self._taken == len(self._ends)

    def give(self, octets: bytes) -> None:
        """Have a batch done, which was `packed`."""
        with suppress(OSError):  # of one that is gone: nothing comes of the batch, see `take`
            self._ends[self._given % len(self._ends)].send_bytes(octets)
        self._given += 1

    def take(self) -> Done | None:
        """What came of the batch that was given first; None if it is to be done here."""
        end = self._ends[self._taken % len(self._ends)]
        self._taken += 1
        try:
            return pickle.loads(end.recv_bytes())  # type: ignore[no-any-return]  # noqa: S301
        except (EOFError, OSError):
            return None

    def close(self) -> None:
        """Let them end."""
        for end in self._ends:
            end.close()


def packed(batch: list[Record]) -> bytes:
    """A batch as another process takes it."""
    return pickle.dumps([tuple(record) for record in batch], pickle.HIGHEST_PROTOCOL)


def runs_of(handlers: Sequence[Handler]) -> list[list[Run]] | None:
    """What each handler has let in since it began a journal; None if that is not simple."""
    found = [accepted(each.receiver) if each.receiver else [] for each in handlers]
    if any(runs is None for runs in found):
        return None
    return [runs or [] for runs in found]


def _serve(
    end: Connection, inherited: list[Connection], work: Callable[[list[Record]], Done | None]
) -> None:
    """Do batches until the other end is closed."""
    for each in inherited:
        each.close()
    try:
        while True:
            batch = list(map(make_record, pickle.loads(end.recv_bytes())))  # noqa: S301
            end.send_bytes(pickle.dumps(work(batch), pickle.HIGHEST_PROTOCOL))
    except (EOFError, OSError, KeyboardInterrupt):
        pass
    finally:
        os._exit(0)
