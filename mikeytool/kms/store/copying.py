"""Copying a store: from a file to a database server, back, or to another name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mikeytool.kms.store.schema import TABLES
from mikeytool.kms.store.seal import Sealer
from mikeytool.kms.store.store import Store
from mikeytool.storage.sql import Db, Where
from mikeytool.wire.errors import StateError

Progress = Callable[[int, int], None]
"""Called with the number of rows copied so far, and the total number of rows."""

_COPIED = {table: order for table, order in TABLES.items() if table != "seal"}
"""The tables and the order of their rows. The copy gets its own seal."""

_BATCH = 1000
_NUMBERED = {("log", "number"), ("rules", "position")}
"""Columns that the database numbers itself, in the order of the rows."""


def copy(source: Store, target: Where, how: str, progress: Progress) -> int:
    """Copy a snapshot of a store to a new store, and return the number of rows.

    Everything is copied, including the replay cache and the log. A KMS that is stopped before the
    copy and started on it afterwards therefore accepts no message twice. The secrets stay sealed
    under their data key, which is sealed again by `how`. Raises the same errors as `Store.make`.
    """
    total = done = 0
    if isinstance(target, Path) and target.exists():  # nothing forces a copy over a store
        raise StateError(f"{target}: it exists already; choose another name")

    def fill(into: Db, _sealer: Sealer) -> None:
        nonlocal total, done
        with source.snapshot() as db:
            total = sum(_count(db, table) for table in _COPIED)
            for table, order in _COPIED.items():
                into.execute(f"DELETE FROM {table}")  # noqa: S608 - names from here
                for count in _copied(source, db, table, order, into):
                    done += count
                    progress(done, total)

    Store.make(target, how, fill, sealer=source.sealer)
    return total


def _count(db: Db, table: str) -> int:
    count: int = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
    return count


def _copied(source: Store, db: Db, table: str, order: str, into: Db) -> Iterator[int]:
    """Copy one table. Yield the number of rows in each batch."""
    query = f"SELECT * FROM {table} ORDER BY {order}"  # noqa: S608 - names from here
    names, rows = source.stream(db, query)
    kept = [at for at, name in enumerate(names) if (table, name) not in _NUMBERED]
    columns = ", ".join(names[at] for at in kept)
    marks = ", ".join("?" * len(kept))
    insert = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608
    while batch := [_chosen(row, kept) for row in islice(rows, _BATCH)]:
        into.executemany(insert, batch)
        yield len(batch)


def _chosen(row: Sequence[Any], kept: Sequence[int]) -> list[Any]:
    return [row[at] for at in kept]
