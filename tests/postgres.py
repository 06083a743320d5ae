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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

_FOUND = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


class Server:
    """A database server, made new; every store gets a schema of its own."""

    def __init__(self, *options: str) -> None:
        initdb = shutil.which("initdb") or (str(_FOUND[-1]) if _FOUND else None)
        if initdb is None:
            pytest.skip("PostgreSQL is not installed")
        self._bin = Path(initdb).parent
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
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


@contextmanager
def server(*options: str) -> Iterator[Server]:
    """A server while it is needed."""
    made = Server(*options)
    try:
        yield made
    finally:
        made.remove()
