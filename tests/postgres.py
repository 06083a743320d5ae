"""A PostgreSQL server of the tests' own, on a socket in a folder of its own."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

MEMORY = "PYTEST_DEBUG_TEMPROOT"
"""The variable that names the place for folders of tests, if it is not the usual one."""
_FOUND = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


class Server:
    """A database server, made new; every store gets a schema of its own."""

    def __init__(self, *options: str) -> None:
        initdb = shutil.which("initdb") or (str(_FOUND[-1]) if _FOUND else None)
        if initdb is None:
            pytest.skip("PostgreSQL is not installed")
        self._bin = Path(initdb).parent
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir=os.environ.get(MEMORY)))
        # The server refuses to run as root.
        self._as = "postgres" if os.geteuid() == 0 else None
        if self._as is not None:
            owner = pwd.getpwnam(self._as)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self._options = [f"-c{option}" for option in ("listen_addresses=", *options)]
        self._names = itertools.count(1)
        ran = subprocess.run(
            [initdb, "-D", self.folder / "data", "-A", "trust", "-U", "kms", "-E", "UTF8",
             "--locale=C", "--no-sync"],
            user=self._as, cwd="/", env={}, capture_output=True, text=True,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        self.start()

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._bin / "postgres", "-D", self.folder / "data", "-k", self.folder,
                 *self._options],
                user=self._as, cwd="/", env={}, stdout=log, stderr=log,
            )  # fmt: skip
        give_up = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url()).close()
                break
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < give_up
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends connections first, SIGQUIT is a crash."""
        self.process.send_signal(how)
        self.process.wait(60)

    def url(self, schema: str | None = None) -> str:
        """Where it is; with the search path of a store."""
        url = f"postgresql://kms@/postgres?host={quote(str(self.folder), safe='')}"
        return url if schema is None else f"{url}&options=-csearch_path%3D{schema}"

    def new(self) -> str:
        """The URL of a place for a store that nobody has."""
        schema = f"store_{next(self._names)}"
        with psycopg.connect(self.url(), autocommit=True) as db:
            db.execute(f"CREATE SCHEMA {schema}")
        return self.url(schema)

    def remove(self) -> None:
        """End it, with all that is in it."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)


class Reused:
    """A place for a store that many tests have, one after the other: it is as it was made.

    `make` makes the store at a URL. Each of its tables, of which the names are given in the order
    in which rows can be inserted, gets back the rows that it had then.
    """

    def __init__(
        self, server: Server, make: Callable[[str], object], tables: Sequence[str]
    ) -> None:
        self._server, self._make, self._tables = server, make, tables
        self._build()

    def _build(self) -> None:
        self.url = self._server.new()
        self._db = psycopg.connect(self.url, autocommit=True)
        self._make(self.url)
        self._db.execute(
            "".join(f"CREATE TEMP TABLE first_{t} AS TABLE {t};" for t in self._tables)
        )
        self._before = self._structure()

    def _structure(self) -> Any:
        """What tells that tables were made anew, changed or removed."""
        return self._db.execute(
            "SELECT array_agg((attrelid, relname, attname, atttypid, attnotnull, attcollation)"
            " ORDER BY attrelid, attnum) FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid"
            " WHERE attnum > 0 AND NOT attisdropped"
            " AND relnamespace = current_schema::regnamespace"
        ).fetchone()

    def renew(self) -> None:
        """Make it as it was, or another one if its tables are no longer the same."""
        if self._structure() != self._before:
            self._db.close()
            self._build()
            return
        emptied = "".join(f"DELETE FROM {table};" for table in reversed(self._tables))
        filled = "".join(f"INSERT INTO {t} TABLE first_{t};" for t in self._tables)
        self._db.execute(f"SET lock_timeout = '10s'; {emptied} {filled}")
        self._db.execute(
            "SELECT setval(sequence, coalesce(most, 0) + 1, false) FROM (VALUES"
            " (pg_get_serial_sequence('rules', 'position'), (SELECT max(position) FROM rules)),"
            " (pg_get_serial_sequence('log', 'number'), (SELECT max(number) FROM log))"
            ") AS each (sequence, most)"
        )

    def execute(self, statement: str, values: Sequence[object]) -> None:
        """Change what is there."""
        self._db.execute(statement, values)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


@contextmanager
def server(*options: str) -> Iterator[Server]:
    """A server while it is needed."""
    made = Server(*options)
    try:
        yield made
    finally:
        made.remove()
