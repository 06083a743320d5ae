"""Requests and resolves a second, against what they cannot do without.

That is the HMACs of an exchange, with the octets that it has, and one commit to a file of
SQLite that is on disk then. The two take turns, so that what else the machine does falls on
both; the ratio is the median of the rounds. And how it changes with the number of users.
"""

from __future__ import annotations

import hmac
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from unittest import mock

from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.kms.service import handle_together
from mikeytool.kms.store.records import NewUser
from mikeytool.wire.identity import Identity
from tests.world import USERS, World

EACH = 60
"""Messages in a round."""

ROUNDS = 9
TOGETHER = 20
FEW, MANY = 100, 100_000

Hmacs = list[tuple[bytes, bytes, str]]


def main() -> None:
    """Print the comparisons."""
    with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as many:
        small, large = World(Path(few)), World(Path(many))
        fill(small, FEW)
        started = perf_counter()
        fill(large, MANY)
        print(f"{MANY:,} users added in {perf_counter() - started:.1f} s")
        for name, make in (("requests", requests), ("resolves", resolves)):
            against_the_least(name, small, make)
            together(name, small, make)
            with_more_users(name, small, large, make)


def fill(world: World, count: int) -> None:
    """Add users until there are so many."""
    people = (Identity.from_text(f"sip:user{n}@example.com") for n in range(count - len(USERS)))
    chance = random.Random(6043)
    world.store.add_users(NewUser(one, chance.randbytes(32)) for one in people)


def requests(world: World, count: int) -> list[bytes]:
    """Messages that ask for tickets."""
    return [world.asked(world.policy()) for _ in range(count)]


def resolves(world: World, count: int) -> list[bytes]:
    """Messages that have tickets resolved."""
    held = world.held()
    return [world.resolving(read_transfer_init(world.call(held)).ticket) for _ in range(count)]


Make = Callable[[World, int], list[bytes]]


def against_the_least(name: str, world: World, make: Make) -> None:
    """Compare with the HMACs of these messages and a commit for each."""
    hmacs = hmacs_of(world, make(world, 1)[0])
    pairs = []
    with bare_commits(world.folder) as commit:
        for _ in range(ROUNDS):
            ours = seconds(world, make(world, EACH))
            pairs.append((ours, least(hmacs, commit, EACH)))
    report(f"{name}, against {len(hmacs)} HMACs and a commit", pairs, "the least", "0.5")


def together(name: str, world: World, make: Make) -> None:
    """Compare messages that share a transaction with messages that have one each."""
    pairs = []
    for _ in range(ROUNDS):
        messages = make(world, EACH)
        started = perf_counter()
        for first in range(0, EACH, TOGETHER):
            handle_together(world.store, world.env, messages[first : first + TOGETHER])
        pairs.append((perf_counter() - started, seconds(world, make(world, EACH))))
    report(f"{name}, {TOGETHER} in a transaction", pairs, "one", "1.5")


def with_more_users(name: str, small: World, large: World, make: Make) -> None:
    """Compare few users with many."""
    pairs = [
        (seconds(large, make(large, EACH)), seconds(small, make(small, EACH)))
        for _ in range(ROUNDS)
    ]
    report(f"{name}, {MANY:,} users against {FEW:,}", pairs, f"{FEW:,} users", "1")


def report(what: str, pairs: Sequence[tuple[float, float]], other: str, aim: str) -> None:
    """Print medians, and the median of the ratios."""
    ours, theirs = (EACH / median(column) for column in zip(*pairs, strict=True))
    ratio = median(theirs / ours for ours, theirs in pairs)
    print(f"{what}: {ours:,.0f}/s, {other} {theirs:,.0f}/s, ratio {ratio:.2f} (aim: {aim})")


def seconds(world: World, messages: Sequence[bytes]) -> float:
    """How long a KMS takes for messages."""
    started = perf_counter()
    for message in messages:
        world.handled(message)
    return perf_counter() - started


def hmacs_of(world: World, message: bytes) -> Hmacs:
    """Every HMAC that is computed to answer a message."""
    found: Hmacs = []
    real = hmac.digest

    def noted(key: bytes, data: bytes, digest: str) -> bytes:
        found.append((key, data, digest))
        return real(key, data, digest)

    with mock.patch("hmac.digest", noted):
        world.handled(message)
    return found


@contextmanager
def bare_commits(folder: Path) -> Iterator[Callable[[int], None]]:
    """A transaction with a row of the size of a replay entry, on disk when it is done."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE IF NOT EXISTS entries (sender BLOB, mac BLOB, t INTEGER)")

        def commit(number: int) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO entries VALUES (?, ?, ?)", (b"s" * 21, b"m" * 20, number))
            db.execute("COMMIT")

        yield commit


def least(hmacs: Hmacs, commit: Callable[[int], None], count: int) -> float:
    """How long the HMACs and a commit take for so many messages."""
    started = perf_counter()
    for number in range(count):
        for key, data, digest in hmacs:
            hmac.digest(key, data, digest)
        commit(number)
    return perf_counter() - started


if __name__ == "__main__":
    main()
