"""State on disk: private files, SQL over SQLite and PostgreSQL, the replay cache.

An example of a database for a program that receives messages, and of a private file:

    import os
    from pathlib import Path
    from mikeytool.storage import SqliteDatabase, replay, write_private

    class State(SqliteDatabase):
        kind, name = 0x64656D6F, "demo state"
        schema = "".join(f"{statement};" for statement in replay.SCHEMA)

    with State.create(Path("demo.sqlite")) as state, state.transaction() as db:
        print(db.execute("SELECT count(*) FROM replay").fetchone())
    write_private(Path("demo.key"), os.urandom(32))

With such a database, `replay.remember` refuses a message that was seen before, and
`replay.use_once` refuses a second use of a single-use ticket. All failures of files and databases
raise `StateError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikeytool.lazy import face

if TYPE_CHECKING:
    from mikeytool.storage.postgres import PostgresDatabase as PostgresDatabase
    from mikeytool.storage.private_files import locked as locked
    from mikeytool.storage.private_files import new_file as new_file
    from mikeytool.storage.private_files import write_private as write_private
    from mikeytool.storage.sqlite import SqliteDatabase as SqliteDatabase
    from mikeytool.wire.errors import StateError as StateError
    from mikeytool.wire.errors import Unavailable as Unavailable

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "postgres": ("PostgresDatabase",),
        "private_files": ("locked", "new_file", "write_private"),
        "sqlite": ("SqliteDatabase",),
        ".wire.errors": ("StateError", "Unavailable"),
    },
)
