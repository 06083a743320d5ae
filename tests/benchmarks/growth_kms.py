"""What a message costs a KMS, and a join or a rekey a conference, as their stores grow.

Each table has the size, and the processor time of one message or one member: on a straight line
it stays as it is.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time

from mikeytool.conference import membership
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.kms.kms_policy import Rule
from mikeytool.wire.identity import Identity
from tests.benchmarks.bench_conference import filled, guest
from tests.benchmarks.bench_kms import fill, requests, resolves
from tests.conference.room import Room
from tests.world import BOB, START, World, psk_of

EACH, ROUNDS = 40, 7

RULES = (0, 10, 100, 1_000, 10_000)
USERS = (100, 1_000, 10_000, 100_000)
ROWS = (0, 1_000, 10_000, 100_000, 1_000_000)
MEMBERS = (1, 10, 100, 1_000, 10_000)
SEATS = (10, 100, 1_000, 10_000, 100_000)

Make = Callable[[World, int], list[bytes]]


def main() -> None:
    """Print every table."""
    kms("rules, of which the first decides: a request", RULES, add_rules, requests)
    kms("users: a request", USERS, fill, requests)
    kms("users: a resolve", USERS, fill, resolves)
    kms("rows in log and replay cache: a request", ROWS, add_rows, requests)
    kms("members of the group that a ticket is for: a resolve", MEMBERS, add_members, for_group)
    conference()


def kms(title: str, sizes: Sequence[int], grow: Callable[[World, int], object], make: Make) -> None:
    """Print what a message costs a KMS of each size."""
    print(f"{title}, processor time of one")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder))
            grow(world, size)
            best = min(cost(world, make(world, EACH)) for _ in range(ROUNDS))
            world.close()
        print(f"  {size:9,} {1e6 * best:9,.0f} us", flush=True)


def cost(world: World, messages: Sequence[bytes]) -> float:
    """The processor time of one of these messages."""
    started = process_time()
    for message in messages:
        world.handled(message)
    return (process_time() - started) / len(messages)


def add_rules(world: World, count: int) -> None:
    """Rules that all match neither Alice nor Bob, but for the first."""
    if count:
        world.store.add_rule(Rule(True, "sip:*@example.com", "*"))
    with world.store.transaction() as db:
        db.executemany(
            "INSERT INTO rules (allowed, sender, responder) VALUES (0, ?, ?)",
            [(f"sip:user{n}@example.com", "sip:*@example.org") for n in range(count - 1)],
        )


def add_rows(world: World, count: int) -> None:
    """Messages of the last minutes."""
    with world.store.transaction() as db:
        db.executemany(
            "INSERT INTO log (at_ns, exchange, who, about, outcome, reason, count)"
            " VALUES (?, 'request', 'sip:user@example.com', 'sip:b@example.com', 'answered', '',"
            " 1)",
            [(START - n * 100_000,) for n in range(count)],
        )
        db.executemany(
            "INSERT INTO replay VALUES (?, ?, ?)",
            [(b"sip:user@example.com", n.to_bytes(20), START - n * 100_000) for n in range(count)],
        )


GROUP = Identity.from_text("sip:group@example.com")


def add_members(world: World, count: int) -> None:
    """A group of so many, Bob among them."""
    others = [Identity.from_text(f"sip:member{n}@example.com") for n in range(count - 1)]
    world.store.add_members(GROUP, [BOB, *others])


def for_group(world: World, count: int) -> list[bytes]:
    """Messages that have tickets for the group resolved."""
    held = world.held(responders=(GROUP,))
    calls = [world.call(held, called=GROUP) for _ in range(count)]
    return [world.resolving(read_transfer_init(call).ticket) for call in calls]


def conference() -> None:
    """Print what a join costs, a rekey for each member, and the memory that a rekey takes."""
    print(
        "seats taken in a conference: processor time of a join, of a rekey and of sending its"
        " updates for each member, and how much memory both take at most"
    )
    for size in SEATS:
        with tempfile.TemporaryDirectory() as folder:
            room = Room(Path(folder))
            guests = [guest(at) for at in range(EACH // 4)]
            for who in guests:
                room.store.add_user(who, psk_of(who))
            room.create(BOB, *guests)
            room.person(BOB).call_in()
            filled(room, size)
            joins = []
            for who in guests:
                person = room.person(who)
                person.ticket(room.conference().focus)
                call = person.call()
                started = process_time()
                room.call_in(call)
                joins.append(process_time() - started)
            before, started = memory(), process_time()
            updates = membership.change_keys(room.system, None)
            rekeyed = process_time()
            sent = sum(1 for _ in updates)
            each, sending = rekeyed - started, process_time() - rekeyed
            peak = memory("VmHWM") - before
            assert sent == size + len(guests)
            room.state.close()
        print(
            f"  {size:9,} {1e3 * min(joins):9.2f} ms {1e6 * each / sent:9,.0f} us"
            f" {1e6 * sending / sent:9,.0f} us {peak:9,.1f} MB",
            flush=True,
        )


def memory(which: str = "") -> float:
    """The memory of this process in MB, or the most since it was last asked for that."""
    if not which:
        Path("/proc/self/clear_refs").write_text("5")  # the highest mark is set back
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{which or 'VmRSS'}:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


if __name__ == "__main__":
    main()
