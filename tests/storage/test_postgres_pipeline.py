"""The pipeline of an exchange: what goes to the server when, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from mikeytool.storage.postgres import PostgresDatabase
from mikeytool.wire.errors import StateError
from tests.postgres import Server


class Things(PostgresDatabase):
    """A table with each kind of column."""

    name = "things"
    how_to_make = ""
    version = 1
    version_table = "things_version"
    tables = ("things",)
    schema = ("CREATE TABLE things (n INTEGER UNIQUE, t TEXT, b BLOB)",)
    lock = 1


@pytest.fixture
def things(postgres: Server) -> Iterator[Things]:
    url = postgres.new()
    Things.create(url, lambda _db: None)
    with closing(Things(url)) as made:
        yield made


ADD = "INSERT INTO things VALUES (?, ?, ?)"
ALL = "SELECT n, t, b FROM things ORDER BY n"
ROWS = [
    (-(1 << 63), "", b""),
    (-1, "\u00fc\U0001f511 ? $1 %s", bytes(range(256))),
    (0, None, None),
    ((1 << 63) - 1, "x" * 100_000, b"\\x00'"),
]


def test_values_come_back_as_they_went(things: Things) -> None:
    with things.exchange() as db:
        added = [db.execute(ADD, row) for row in ROWS]
        found = db.execute(ALL)
        assert found.fetchone() == ROWS[0]
        assert found.fetchall() == ROWS[1:]
        assert [one.rowcount for one in added] == [1] * 4
        assert db.execute("SELECT 7, EXISTS (SELECT 1 FROM things)").fetchone() == (7, True)
        assert db.execute("DELETE FROM things WHERE n < ?", (0,)).rowcount == 2
    assert things.execute("SELECT count(*) FROM things").fetchone() == (2,)


def test_nothing_is_sent_before_a_result_is_needed(things: Things, postgres: Server) -> None:
    (pid,) = things.execute("SELECT pg_backend_pid()").fetchone()
    with things.exchange() as db, psycopg.connect(postgres.url()) as other:
        query = f"SELECT state FROM pg_stat_activity WHERE pid = {pid}"
        added = [db.execute(ADD, (at, "", b"")) for at in range(4)]
        assert other.execute(query).fetchone() == ("idle",)
        assert added[0].rowcount == 1
        other.rollback()
        assert other.execute(query).fetchone() != ("idle",)
    assert things.execute("SELECT count(*) FROM things").fetchone() == (4,)


def test_more_than_buffers_hold_goes_both_ways(things: Things) -> None:
    text = "y" * 10_000
    with things.exchange() as db:
        for at in range(1000):
            db.execute(ADD, (at, text, None))
        found = [db.execute("SELECT t FROM things WHERE n = ?", (at,)) for at in range(1000)]
        assert all(one.fetchone() == (text,) for one in found)


def wrong(things: Things, how: str) -> None:
    """An exchange that fails after it has written something."""
    with things.exchange() as db:
        db.execute(ADD, (5, how, None))
        match how:
            case "early":
                db.execute(ADD, (5, "again", None)).fetchone()
            case "at the commit":
                db.execute(ADD, (5, "again", None))
            case "a type":
                db.execute("SELECT 1.5").fetchone()
            case "text":
                db.execute(ADD, (6, "a\0b", None))
            case "syntax":
                db.execute("SELEKT").fetchone()
            case _:
                raise StateError(how)


@pytest.mark.parametrize("how", ["early", "at the commit", "a type", "text", "syntax", "ours"])
def test_an_exchange_that_fails_leaves_nothing(things: Things, how: str) -> None:
    """The connection goes on, with what was prepared first in the exchange that failed."""
    (pid,) = things.execute("SELECT pg_backend_pid()").fetchone()
    for _ in range(2):
        with pytest.raises(StateError):
            wrong(things, how)
        assert things.execute("SELECT count(*) FROM things").fetchone() == (0,)
    with things.exchange() as db:
        db.execute(ADD, (5, "good", None))
    with things.exchange() as db:
        assert db.execute(ALL).fetchall() == [(5, "good", None)]
    assert things.execute("SELECT pg_backend_pid()").fetchone() == (pid,)
