"""The transaction of several messages: who is left out of it, and who stands in its way."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from mikeytool.exchange.environment import NS
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.kms.kms_policy import Rule
from mikeytool.kms.received import ReceivedMessage
from mikeytool.kms.service import finish, handle, handle_together
from mikeytool.kms.store.batches import Batch, Part
from mikeytool.kms.store.exchanges import Exchange
from mikeytool.kms.store.records import LogEntry
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.kms.store.store_server import StoreServer
from mikeytool.storage.sql import Divisible
from mikeytool.wire.errors import MikeyError, StateError, Unavailable
from mikeytool.wire.identity import Identity
from tests.world import ALICE, BOB, CAROL, EVE, FORKING, PLAIN, Counting, World

SINGLE = FORKING.replace("J", "")
SINGLE_PLAIN = PLAIN.replace("J", "")
SHARED = PLAIN.replace("E", "")
"""A ticket that is protected with the key that its responder shares with the KMS."""
MINUTE = 60 * NS


def outcome(message: ReceivedMessage, store: Store) -> str:
    """What becomes of a message that was handled with others."""
    try:
        refusal = finish(message, store).refusal
    except MikeyError as error:
        return type(error).__name__
    return "answered" if refusal is None else str(refusal)


def alone(world: World, messages: Sequence[bytes]) -> list[str]:
    found = []
    for message in messages:
        try:
            refusal = handle(world.store, world.env, message).refusal
        except MikeyError as error:
            found.append(type(error).__name__)
        else:
            found.append("answered" if refusal is None else str(refusal))
    return found


def together(world: World, messages: Sequence[bytes]) -> list[str]:
    received = handle_together(world.store, world.env, messages)
    return [outcome(message, world.store) for message in received]


def left(received: Sequence[ReceivedMessage]) -> list[int]:
    """Which messages were left, by their numbers."""
    return [at for at, message in enumerate(received) if message.is_left]


def asked(world: World, *people: Identity) -> list[bytes]:
    return [world.asked(world.policy(initiator=who), by=who) for who in people]


def logged(world: World) -> list[tuple[str, str, str, str, str, int]]:
    """The log, without the times and without the order."""
    return sorted(
        (one.exchange, one.user, one.about, one.outcome, one.reason, one.count)
        for one in world.store.log()
        if one.exchange != "change"
    )


def rows(world: World) -> dict[str, int]:
    """How many rows there are that messages write."""
    with world.store.snapshot() as db:
        return {
            table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("replay", "requested", "single_use", "counters", "log")
        }


# --- who is left out --------------------------------------------------------------------------


def test_new_messages_are_all_decided_at_once(world: World) -> None:
    """Refusals too, and resolves of tickets for single use."""
    world.store.add_rule(Rule(True, "*", "*"))
    world.store.add_rule(Rule(False, "sip:carol@*", "*"))
    first, second = (read_transfer_init(world.call(world.held(SINGLE))).ticket for _ in range(2))
    messages = [*asked(world, ALICE, CAROL, BOB), world.resolving(first), world.resolving(second)]
    received = handle_together(world.store, world.env, messages)
    assert left(received) == []
    found = [outcome(one, world.store) for one in received]
    assert [one == "answered" for one in found] == [True, False, True, True, True]
    assert "denies" in found[1]
    # Requests of the two calls, and these; the last two are of Bob.
    assert rows(world) == {"replay": 7, "requested": 4, "single_use": 2, "counters": 0, "log": 7}
    for message in messages:
        assert "replay" in alone(world, [message])[0]


def test_those_that_are_not_new_are_left(world: World) -> None:
    seen, *new = asked(world, ALICE, ALICE, BOB, CAROL)
    world.handled(seen)
    counter = Counting(world.clock, world.env.random, counter=7)
    counted = world.asked(world.policy(initiator=EVE), by=EVE, env=counter)
    # A file is asked beforehand whether it knows a message, a database server is not.
    received = handle_together(world.store, world.env, [new[0], seen, new[1], new[0], counted])
    assert left(received) in ([1, 3, 4], [3, 4])
    found = [outcome(one, world.store) for one in received]
    assert [one == "answered" for one in found] == [True, False, True, False, True]
    assert "replay" in found[1]
    assert "replay" in found[3]
    assert rows(world)["replay"] == 3
    assert rows(world)["counters"] == 1


def test_a_ticket_that_was_used_before_is_left(world: World) -> None:
    held = world.held(SINGLE)
    calls = [read_transfer_init(world.call(held)).ticket for _ in range(3)]
    messages = [world.resolving(calls[0]), world.resolving(calls[1]), *asked(world, ALICE, BOB)]
    found = together(world, messages)
    assert [one == "answered" for one in found] == [True, False, True, True]
    assert "J flag" in found[1]
    # The call that was first may be resolved again, another one may not.
    found = together(world, [world.resolving(calls[2]), world.resolving(calls[0])])
    assert [one == "answered" for one in found] == [False, True]


def test_two_responders_of_a_forked_call(world: World) -> None:
    held = world.held(SINGLE, responders=(BOB, CAROL))
    ticket = read_transfer_init(world.call(held)).ticket
    messages = [world.resolving(ticket), world.resolving(ticket, CAROL)]
    received = handle_together(world.store, world.env, messages)
    assert left(received) == []
    assert [outcome(one, world.store) for one in received] == ["answered"] * 2


def test_a_ticket_that_ended_before_the_horizon_is_left(world: World) -> None:
    """Its use may have been forgotten."""
    ticket = read_transfer_init(world.call(world.held(SINGLE))).ticket
    with world.store.transaction() as db:
        db.execute("UPDATE replay_horizon SET tickets_ns = ?", (world.clock.now + 2 * 3600 * NS,))
    found = together(world, [world.resolving(ticket), *asked(world, ALICE, BOB)])
    assert "has expired before" in found[0]
    assert found[1:] == ["answered"] * 2


def test_messages_from_before_the_horizon_are_left(world: World) -> None:
    old = asked(world, ALICE)
    with world.store.transaction() as db:
        db.execute("UPDATE replay_horizon SET forgotten_ns = ?", (world.clock.now,))
    world.clock.now += NS
    found = together(world, [*old, *asked(world, BOB, CAROL)])
    assert "older than what is remembered" in found[0]
    assert found[1:] == ["answered"] * 2
    assert rows(world)["replay"] == 2


def test_a_node_behind_counts_in_the_minute_of_the_others(world: World) -> None:
    world.store.set_policy(rate=3)
    world.clock.now = world.clock.now // MINUTE * MINUTE + MINUTE + NS
    assert together(world, asked(world, ALICE, ALICE)) == ["answered"] * 2
    world.clock.now -= 10 * NS
    found = together(world, asked(world, ALICE, ALICE, BOB))
    assert found[0] == "answered"
    assert "more than 3" in found[1]
    assert found[2] == "answered"
    world.clock.now += 2 * MINUTE
    assert together(world, asked(world, ALICE, ALICE)) == ["answered"] * 2


def test_a_message_for_another_kms_is_undone_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not go to the other KMS as long as it is not recorded."""
    ticket = read_transfer_init(world.call(world.held())).ticket
    messages = [*asked(world, ALICE), world.resolving(ticket)]
    monkeypatch.setattr(ReceivedMessage, "_resolve_ticket", lambda *_: None)
    with monkeypatch.context() as patched:
        patched.setattr(Batch, "write", _refuse_first)
        received = handle_together(world.store, world.env, messages)
        assert left(received) == [0, 1]
    received = handle_together(world.store, world.env, messages)
    assert left(received) == []
    assert [one.is_foreign for one in received] == [False, True]


def _refuse_first(batch: Batch, _env: object) -> None:
    batch._parts[0].is_accepted = False


# --- like one by one ----------------------------------------------------------------------------


@pytest.mark.parametrize("draw", range(4))
def test_together_is_like_alone(world: World, draw: int) -> None:
    """Outcomes, rows and log of any mixture."""
    chance = random.Random(draw)
    world.store.add_rule(Rule(True, "*", "*"))
    world.store.add_rule(Rule(False, "sip:carol@*", "*"))
    world.store.set_policy(rate=9)

    def mixture() -> list[bytes]:
        world.clock.now = (world.clock.now // MINUTE + 20) * MINUTE
        held = [world.held(flags) for flags in (SINGLE, SINGLE_PLAIN, FORKING, PLAIN)]
        made: list[bytes] = []
        for _ in range(24):
            what = chance.random()
            if what < 0.4:
                made += asked(world, chance.choice((ALICE, ALICE, BOB, CAROL, EVE)))
            elif what < 0.5:
                made += asked(world, CAROL)
            elif what < 0.8:
                ticket = read_transfer_init(world.call(chance.choice(held))).ticket
                made.append(world.resolving(ticket, chance.choice((BOB, BOB, EVE))))
            else:
                made.append(chance.choice(made or asked(world, EVE)))
        return made

    state = chance.getstate()
    found = []
    for way in (alone, together):
        chance.setstate(state)
        with world.store.transaction() as db:
            for table in ("replay", "requested", "single_use", "counters", "log", "rates"):
                db.execute(f"DELETE FROM {table}")
        messages = mixture()
        found.append((way(world, messages), rows(world), logged(world)))
    assert sorted(found[0][0]) == sorted(found[1][0])
    assert found[0][1] == found[1][1]
    assert found[0][2] == found[1][2]


# --- on a database server -----------------------------------------------------------------------


def test_a_locked_row_holds_up_only_those_who_need_it(postgres_world: World) -> None:
    world = postgres_world
    world.handled(asked(world, ALICE)[0])
    messages = asked(world, ALICE, BOB, CAROL)
    with psycopg.connect(str(world.where)) as other:
        other.execute("UPDATE rates SET count = count")
        received = handle_together(world.store, world.env, messages)
        assert left(received) == [0, 1, 2]
        assert [outcome(one, world.store) for one in received[1:]] == ["answered"] * 2
        assert outcome(received[0], world.store) == Unavailable.__name__
        other.rollback()
    # Nothing was written of the one that could not be answered.
    assert alone(world, messages[:1]) == ["answered"]


def test_a_value_that_the_server_refuses_is_the_fault_of_one(
    postgres_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, messages = postgres_world, asked(postgres_world, ALICE, BOB, CAROL)

    def spoils(kind: type[Exchange]) -> None:
        log = kind.log

        def bad(exchange: Exchange, entry: LogEntry) -> None:
            about = "\0" if entry.user == str(BOB) else entry.about
            log(exchange, replace(entry, about=about))

        monkeypatch.setattr(kind, "log", bad)

    spoils(Part)
    spoils(Exchange)
    assert together(world, messages) == ["answered", StateError.__name__, "answered"]


def test_rows_are_locked_in_one_order(
    postgres_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order of the messages. Two nodes would meet too seldom to show it."""
    world, people = postgres_world, (ALICE, BOB, CAROL, EVE)
    world.store.add_rule(Rule(False, "sip:carol@*", "*"))
    world.store.add_rule(Rule(False, "sip:eve@*", "*"))
    for who in people:
        world.store.add_tpk(Tpk(Identity.key_name(f"of {who}"), b"k" * 32, who))
    alone(world, asked(world, CAROL, EVE, CAROL))  # their refusals are counted from now on
    held = [world.held(SINGLE_PLAIN) for _ in range(6)]
    tickets = [read_transfer_init(world.call(one)).ticket for one in held]
    requests = [
        world.asked(world.policy(SHARED, initiator=ALICE, responders=(who,))) for who in people
    ]
    messages = [
        *asked(world, EVE, CAROL, BOB, EVE, CAROL, ALICE),
        *requests,
        *(world.resolving(one) for one in tickets),
    ]
    locked: dict[str, list[list[Any]]] = {}

    def record(query: str, row: Sequence[Any]) -> None:
        _, table, *_ = query.replace("INTO ", "").split()
        locked.setdefault(table, []).append(list(row))

    with_rows, execute = StoreServer.with_rows, StoreServer.execute

    def inserts(server: StoreServer, query: str, rows: Sequence[Sequence[Any]]) -> Any:
        if "ON CONFLICT" in query:
            for row in rows:
                record(query, row)
        return with_rows(server, query, rows)

    def updates(server: StoreServer, query: str, values: Sequence[Any] = ()) -> Any:
        if query.startswith("UPDATE"):
            record(query, values[1:])
        return execute(server, query, values)

    for order in (messages, messages[::-1]):
        with monkeypatch.context() as patched:
            patched.setattr(StoreServer, "with_rows", inserts)
            patched.setattr(StoreServer, "execute", updates)
            patched.setattr(StoreServer, "_commit", _fail)
            handle_together(world.store, world.env, order)
        assert list(locked) == ["replay", "rates", "single_use", "tpks", "log"]
        assert all(len(rows) > 1 and rows == sorted(rows) for rows in locked.values()), locked
        locked.clear()


def _fail(_server: StoreServer) -> None:
    raise psycopg.DataError("not now")


def test_transactions_do_not_wait_in_a_circle(
    postgres_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same messages in any order on several nodes: each is answered once."""
    world, chance = postgres_world, random.Random(6043)
    divided: list[str] = []
    init = Divisible.__init__

    def counts(error: Divisible, text: str) -> None:
        divided.append(text)
        init(error, text)

    monkeypatch.setattr(Divisible, "__init__", counts)
    for name in (ALICE, BOB, CAROL, EVE):
        world.store.add_tpk(Tpk(Identity.key_name(f"of {name}"), b"k" * 32, name))
    people = [ALICE, BOB, CAROL, EVE] * 3
    orders = []
    for _ in range(12):
        held = [world.held(SINGLE_PLAIN) for _ in range(3)]
        tickets = [read_transfer_init(world.call(one)).ticket for one in held]
        messages = [*asked(world, *people), *(world.resolving(one) for one in tickets)]
        orders.append([chance.sample(messages, len(messages)) for _ in range(3)])
    ready = threading.Barrier(3)

    def node(number: int) -> list[str]:
        found = []
        with closing(Store(world.where, clock=world.clock)) as store:
            for order in orders:
                ready.wait()
                received = handle_together(store, world.env, order[number])
                found += [outcome(one, store) for one in received]
        return found

    with ThreadPoolExecutor(3) as pool:
        found = [one for each in pool.map(node, range(3)) for one in each]
    assert found.count("answered") == 12 * 15
    assert divided == []


def test_arrays_on_their_way(postgres_world: World) -> None:
    """Octets, integers and texts come back as they went."""
    world = postgres_world
    given = [
        (b"", 0, ""),
        (b"\0\xff" * 300, -(1 << 63), "\u0436,\"{}'\\"),
        (b"{", (1 << 63) - 1, " NULL"),
    ]
    backend = world.store._backend
    for begun in (backend.exchange, backend.transaction):
        with begun() as db:
            query, values = backend.with_rows("SELECT * FROM ({rows}) AS given", given)
            assert [tuple(row) for row in db.execute(query, values).fetchall()] == given
