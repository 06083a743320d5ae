"""What only a database server has: several nodes that are one KMS, and a server that goes away."""

from __future__ import annotations

import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.profile import PROFILE_256
from mikeytool.exchange.request import HeldTicket, accept_request_resp, read_request_init
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.kms.kms_policy import Rule
from mikeytool.kms.service import finish, handle, handle_together
from mikeytool.kms.store.records import Peer
from mikeytool.kms.store.schema import SCHEMA, TABLES, VERSION
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.kms.store.store_server import StoreServer
from mikeytool.storage import replay
from mikeytool.storage.postgres import PostgresDatabase
from mikeytool.wire.errors import StateError, Unavailable, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo
from tests.postgres import Server, server
from tests.world import ALICE, BOB, KMS, START, USERS, Counting, World, psk_of

TPK = Tpk(Identity.key_name("tpk-1"), b"t" * 32)


@pytest.fixture
def world(postgres: Server, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, where=postgres.new())
    yield made
    made.store.close()


def nodes(world: World, work: Sequence[Callable[[Store], Any]]) -> list[Any]:
    """Each piece of work on a node of its own, all at once; gives what came of each."""
    ready = threading.Barrier(len(work))

    def run(one: Callable[[Store], Any]) -> Any:
        with closing(Store(world.where)) as store:
            store.sealer  # noqa: B018 - it opens the data key
            ready.wait()
            return one(store)

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(run, work))


def resolving(world: World, held: HeldTicket) -> bytes:
    """RESOLVE_INIT for a new call with a ticket."""
    return world.resolving(read_transfer_init(world.call(held)).ticket)


def answered(world: World, messages: Sequence[bytes]) -> Callable[[Store], list[bool]]:
    return lambda store: [handle(store, world.env, one).refusal is None for one in messages]


def test_what_two_nodes_get_at_once_one_of_them_answers(world: World) -> None:
    messages = [world.asked(world.policy()) for _ in range(150)]
    backwards = [*reversed(messages[:75]), *messages[75:]]
    found = nodes(world, [answered(world, messages), answered(world, backwards)])
    first = dict(zip(messages, found[0], strict=True))
    second = dict(zip(backwards, found[1], strict=True))
    assert [first[one] + second[one] for one in messages] == [1] * 150
    assert sum(entry.outcome == "answered" for entry in world.store.log()) == 150


def test_single_use_counts_over_all_nodes(world: World) -> None:
    """Of two calls with one ticket without J, both resolved at once, one is."""
    for _ in range(20):
        held = world.held("DEFGHINO")
        calls = [resolving(world, held) for _ in range(2)]
        found = nodes(world, [answered(world, [one]) for one in calls])
        assert sorted(found) == [[False], [True]]


def test_counters_grow_over_all_nodes(world: World) -> None:
    def asked(counter: int) -> bytes:
        return world.asked(
            world.policy(), env=Counting(world.clock, world.env.random, counter=counter)
        )

    messages = [asked(counter) for counter in range(1, 60)]
    found = nodes(world, [answered(world, messages)] * 3)
    assert all(sum(each) <= 1 for each in zip(*found, strict=True))
    assert not any(answered(world, messages)(world.store))


def test_the_rate_limit_counts_over_all_nodes(world: World) -> None:
    world.store.set_policy(rate=40)
    world.clock.now = START // (60 * NS) * 60 * NS
    messages = [[world.asked(world.policy()) for _ in range(40)] for _ in range(3)]
    found = nodes(world, [answered(world, some) for some in messages])
    assert sum(map(sum, found)) == 40


def test_ticket_protection_keys_rotate_without_a_gap(world: World) -> None:
    """Whatever key protects a ticket, every node resolves it, while keys change all the time."""
    done = threading.Event()

    def rotate(store: Store) -> int:
        count = 0
        while not done.is_set():
            store.add_tpk(Tpk(Identity.key_name(f"tpk-{count + 2}"), bytes([count % 250]) * 32))
            count += 1
        return count

    def ask(store: Store) -> int:
        other = Store(world.where)
        try:
            for _ in range(40):
                init = world.asked(world.policy())
                granted = handle(store, world.env, init).answer
                assert granted is not None
                held = accept_request_resp(
                    world.env, read_request_init(init), psk_of(ALICE), granted
                ).held
                assert handle(other, world.env, resolving(world, held)).refusal is None
        finally:
            done.set()
            other.close()
        return 40

    rotated, asked = nodes(world, [rotate, ask])
    assert rotated > 5
    assert asked == 40


def test_what_is_being_forgotten_is_not_taken_for_new(world: World) -> None:
    """One node, whose clock is ahead, forgets a message; it comes to another one meanwhile."""
    message = world.asked(world.policy())
    world.handled(message)
    ahead = Environment(lambda: world.clock.now + 301 * NS, world.env.random)
    for gone in (False, True):
        with closing(Store(world.where)) as other, ThreadPoolExecutor(1) as pool:
            try:
                with other.transaction() as db:
                    replay.forget(db, ahead)
                    left = db.execute("SELECT count(*) FROM replay").fetchone()[0]
                    assert left == 0
                    again = pool.submit(answers_alone, world, message)
                    with pytest.raises(TimeoutError):
                        again.result(0.5)  # it waits for what becomes of the entry
                    if not gone:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass
            refusal = again.result(30)
            assert refusal is not None
            assert refusal.error_no == (ErrorNo.INVALID_TS if gone else ErrorNo.AUTH_FAILURE)


def answers_alone(world: World, message: bytes) -> Any:
    """What a node answers that has not looked whether the message is new."""
    with closing(Store(world.where)) as store:
        store.check_new = lambda *_: None  # type: ignore[method-assign]
        return handle(store, world.env, message).refusal


def test_no_key_gets_to_the_server(tmp_path: Path) -> None:
    """Neither into its tables nor into the statements that it is sent."""
    with server("fsync=off", "log_statement=all", "log_min_duration_statement=0") as made:
        world = World(tmp_path, where=made.new())
        world.store.add_tpk(Tpk(Identity.key_name("bobs"), b"b" * 32, BOB))
        world.resolved(world.call(world.held()))
        with closing(world.store) as store, store.snapshot() as db:
            rows = repr([db.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES])
        log = (made.folder / "log").read_text()
    assert "INSERT INTO users" in log
    assert repr(psk_of(BOB)[:4])[2:-1] in repr(psk_of(BOB))
    for secret in (b"t" * 32, b"b" * 32, b"s" * 32, *map(psk_of, USERS)):
        for form in (secret.hex(), repr(secret)[2:-1]):
            assert form not in rows
            assert form not in log


def test_an_operator_who_takes_long_holds_nobody_up(world: World) -> None:
    """Old messages are to be forgotten meanwhile: that can wait, and exchanges do not."""
    world.handled(world.asked(world.policy()))
    world.clock.now += 3600 * NS
    message = world.asked(world.policy())
    with closing(Store(world.where)) as other, ThreadPoolExecutor(1) as pool:
        with other.transaction():
            assert pool.submit(answered_alone, world, message).result(5)
        with world.store.snapshot() as db:
            assert db.execute("SELECT count(*) FROM replay").fetchone()[0] == 2
        assert answered_alone(world, world.asked(world.policy()))
        with world.store.snapshot() as db:
            assert db.execute("SELECT count(*) FROM replay").fetchone()[0] == 2


def answered_alone(world: World, message: bytes) -> bool:
    with closing(Store(world.where)) as store:
        return handle(store, world.env, message).refusal is None


def test_the_rate_limit_counts_where_clocks_differ(world: World) -> None:
    """One node is in the next minute already."""
    world.store.set_policy(rate=10)
    world.clock.now = START // (60 * NS) * 60 * NS
    ahead = Environment(lambda: world.clock.now + 70 * NS, world.env.random)
    counts = []
    for env in (world.env, ahead):
        messages = [world.asked(world.policy()) for _ in range(30)]
        counts.append(sum(handle(world.store, env, one).refusal is None for one in messages))
        counts.append(0)
    alternating = [world.asked(world.policy()) for _ in range(40)]
    found = [
        handle(world.store, (world.env, ahead)[at % 2], one).refusal is None
        for at, one in enumerate(alternating)
    ]
    assert counts == [10, 0, 10, 0]
    assert not any(found)


def test_tables_of_others_that_come_first_in_the_path(world: World, postgres: Server) -> None:
    """Neither do they stand before those of the store, nor are they dropped with it."""
    message = world.asked(world.policy())
    world.handled(message)
    mine = str(world.where).rpartition("%3D")[2]
    with psycopg.connect(postgres.url(), autocommit=True) as db:
        db.execute("CREATE SCHEMA before")
        for table in ("replay", "users"):
            db.execute(f"CREATE TABLE before.{table} (LIKE {mine}.{table} INCLUDING ALL)")
        url = f"{postgres.url()}&options=-csearch_path%3Dbefore%2C{mine}"
        with closing(Store(url)) as store:
            assert "replay" in str(handle(store, world.env, message).refusal)
        Store.init(url, KMS, PROFILE_256, TPK, how=world.how, force=True).close()
        assert db.execute("SELECT count(*) FROM before.users").fetchone() == (0,)
        db.execute("DROP SCHEMA before CASCADE")


def test_the_defaults_of_a_database_change_nothing(world: World) -> None:
    """Its isolation would let operators see what was there before it was their turn."""
    url = f"{world.where}%20-cdefault_transaction_isolation%3Dserializable"
    with closing(Store(url)) as store:
        for begun in (store.transaction, store._backend.exchange):
            with begun() as db:
                shown = "SHOW transaction_isolation"
                assert db.execute(shown).fetchone()[0] == "read committed"


def test_other_encodings(world: World, monkeypatch: pytest.MonkeyPatch, postgres: Server) -> None:
    who = "sip:\u0436@example.com"
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with closing(Store(world.where)) as store:
        handled = handle(store, world.env, world.asked(world.policy(responders=(BOB,))))
        assert handled.refusal is None
        store.add_rule(Rule(True, "*", who))
        assert store.rules().rules[0].responder == who
    with psycopg.connect(postgres.url(), autocommit=True) as db:
        db.execute("CREATE DATABASE old ENCODING LATIN1 TEMPLATE template0")
    url = postgres.url().replace("/postgres?", "/old?")
    with pytest.raises(StateError, match="LATIN1"):
        Store.init(url, KMS, PROFILE_256, TPK, how=world.how)


# --- a server that goes away ----------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Server, World]]:
    """A server that may be stopped, with a store."""
    with server("fsync=off") as made:
        world = World(tmp_path, where=made.new())
        yield made, world
        world.store.close()


def test_a_server_that_is_away_is_told_as_such(own: tuple[Server, World]) -> None:
    made, world = own
    message = world.asked(world.policy())
    made.stop(signal.SIGQUIT)
    with pytest.raises(Unavailable):
        world.handled(message)
    with pytest.raises(Unavailable):
        Store(world.where)
    made.start()
    world.handled(message)  # nothing was written of it: the same message is good
    with pytest.raises(Exception, match="replay"):
        world.handled(message)


def test_a_server_that_crashes_within_an_exchange(
    own: tuple[Server, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, world = own
    message = world.asked(world.policy())
    sent = PostgresDatabase.first_values

    def crashes(database: PostgresDatabase, statements: Any) -> Any:
        made.stop(signal.SIGQUIT)
        return sent(database, statements)

    with monkeypatch.context() as patched:
        patched.setattr(PostgresDatabase, "first_values", crashes)
        with pytest.raises(Unavailable):
            world.handled(message)
    made.start()
    assert list(world.store.log()) == []
    world.handled(message)


def test_a_server_that_crashes_at_the_commit(
    own: tuple[Server, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell what is written: no answer, and no word that it may be tried again."""
    made, world = own
    message = world.asked(world.policy())
    commit = PostgresDatabase._commit

    def crashes(database: PostgresDatabase) -> None:
        made.stop(signal.SIGQUIT)
        commit(database)

    with monkeypatch.context() as patched:
        patched.setattr(PostgresDatabase, "_commit", crashes)
        with pytest.raises(StateError, match="not known") as caught:
            world.handled(message)
    assert not isinstance(caught.value, Unavailable)
    made.start()
    assert len(world.store.users()) == len(USERS)


@pytest.mark.parametrize(("method", "error"), [("with_rows", Unavailable), ("_commit", StateError)])
def test_a_server_that_crashes_under_several_messages(
    own: tuple[Server, World],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    error: type[StateError],
) -> None:
    """None of them is answered, and none is tried alone while nobody knows what is written."""
    made, world = own
    messages = [world.asked(world.policy()) for _ in range(3)]
    real = getattr(PostgresDatabase, method)

    def crashes(database: PostgresDatabase, *what: Any) -> Any:
        made.stop(signal.SIGQUIT)
        return real(database, *what)

    with monkeypatch.context() as patched:
        patched.setattr(PostgresDatabase, method, crashes)
        with pytest.raises(StateError) as caught:
            handle_together(world.store, world.env, messages)
        assert type(caught.value) is error
    made.start()
    assert list(world.store.log()) == []
    received = handle_together(world.store, world.env, messages)
    assert [finish(one, world.store).refusal for one in received] == [None] * 3


def test_a_server_that_goes_while_another_kms_is_asked(
    own: tuple[Server, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message counts as seen already: nobody is told to send it again."""
    made, world = own
    other = Identity.from_text("sip:kms.example.org")
    world.store.add_peer(Peer(other, str(world.folder / "away"), b"p" * 32, ("*",)))
    held = world.held(kms=KMS)
    ticket = read_transfer_init(world.call(held)).ticket
    request = world.resolving(ticket)
    for name in ("is_foreign", "check_foreign"):
        monkeypatch.setattr(f"mikeytool.kms.received.{name}", lambda *_: True)

    def asked(*_: Any) -> bytes:
        made.stop(signal.SIGQUIT)
        return b""

    monkeypatch.setattr("mikeytool.kms.foreign_tickets.Forwarder.resolve", asked)
    with pytest.raises(StateError, match="counts as seen") as caught:
        handle(world.store, world.env, request)
    assert not isinstance(caught.value, Unavailable)
    made.start()
    assert "replay" in str(handle(world.store, world.env, request).refusal)


def test_a_restart_between_messages_is_not_noticed(own: tuple[Server, World]) -> None:
    made, world = own
    for how in (signal.SIGINT, signal.SIGQUIT):
        world.handled(world.asked(world.policy()))
        made.stop(how)
        made.start()
    world.handled(world.asked(world.policy()))
    assert world.store.count_log() == 3


class Counter:
    """Stands between a client and a server, and counts how often the client waits."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.trips = 0
        self._server = str(server.folder / ".s.PGSQL.5432")
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / ".s.PGSQL.5432"))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with self._listening:
            client, _ = self._listening.accept()
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            asking = False
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if ready is client and not asking:
                        self.trips += 1
                    asking = ready is client
                    (server if ready is client else client).sendall(data)


def test_a_message_takes_two_round_trips(postgres: Server, tmp_path: Path) -> None:
    """And no more for a resolve; the first ones read what is kept in memory then."""
    url = postgres.new()
    with closing(World(tmp_path, where=url)) as world:
        held = world.held()
        requests = [world.asked(world.policy()) for _ in range(20)]
        resolves = [resolving(world, held) for _ in range(20)]
        counter = Counter(postgres, tmp_path)
        near = url.replace(quote(str(postgres.folder), safe=""), quote(str(tmp_path), safe=""))
        with closing(Store(near, clock=world.clock)) as store:
            for messages in (requests, resolves):
                for message in messages[:10]:
                    assert handle(store, world.env, message).refusal is None
                before = counter.trips
                for message in messages[10:]:
                    assert handle(store, world.env, message).refusal is None
                assert counter.trips - before == 2 * 10


# --- the database itself --------------------------------------------------------------------


def test_a_store_is_made_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StateError, match="already"):
        Store.init(world.where, KMS, PROFILE_256, TPK, how=world.how)
    with pytest.raises(UsageError, match="--seal"):
        Store.init(world.where, KMS, PROFILE_256, TPK, force=True)
    with monkeypatch.context() as patched:
        patched.setattr(StoreServer, "schema", (*SCHEMA, "CREATE NONSENSE"))
        with pytest.raises(StateError):
            Store.init(world.where, KMS, PROFILE_256, TPK, how=world.how, force=True)
    assert len(world.store.users()) == len(USERS)
    with closing(Store.init(world.where, KMS, PROFILE_256, TPK, how=world.how, force=True)) as made:
        assert made.users() == []


def test_what_is_no_store(postgres: Server) -> None:
    with pytest.raises(StateError, match="no KMS store in this database; see kms init"):
        Store(postgres.new())
    for url in (
        "postgresql://u:secret@h/d",
        "postgresql://h/d?password=secret",
        "postgres://u:secret#1@h/d",
        "postgresql://u:secret?1@h/d",
        "postgresql://h/d?application_name=a#&password=secret",
        "postgresql://u:%73ecret@h/d?sslpassword=secret",
    ):
        with pytest.raises(UsageError, match="password") as caught:
            Store(url)
        assert "secret" not in str(caught.value)
        with pytest.raises(UsageError, match="password"):
            Store.init(url, KMS, PROFILE_256, TPK)
    for url in ("postgresql://h/d?nonsense=secret", "postgresql://[h", "postgresql://h/%zz"):
        with pytest.raises(UsageError, match="no URL"):
            Store(url)


def test_without_psycopg(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgres.new()
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=r"pip install 'mikeytool\[postgres\]'"):
        Store(url)


def test_an_older_store_is_brought_to_this_version(
    world: World, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the first node that opens it; those of the version before leave it alone then."""
    later = VERSION + 1
    monkeypatch.setattr(StoreServer, "version", later)
    with pytest.raises(StateError, match=f"its format is {later - 1}, this one's {later}"):
        Store(world.where)
    steps = {later - 1: ("CREATE TABLE added (data BLOB)", "INSERT INTO added VALUES (NULL)")}
    monkeypatch.setattr(StoreServer, "migrations", steps)
    assert nodes(world, [lambda store: store.count_users()] * 4) == [len(USERS)] * 4
    with psycopg.connect(str(world.where)) as db:
        assert db.execute("SELECT count(*) FROM added").fetchone() == (1,)
    monkeypatch.setattr(StoreServer, "version", later - 1)
    with pytest.raises(StateError, match="another version"):
        Store(world.where)


def test_changes_by_operators_take_turns(world: World) -> None:
    """A key name cannot be that of another user, however many add users at once."""

    def add(number: int) -> Callable[[Store], bool]:
        def run(store: Store) -> bool:
            who, other = (
                Identity.from_text(f"sip:user{n}@example.com") for n in (number, 1 - number)
            )
            try:
                store.add_user(who, psk_of(who), Identity.key_name(str(other)))
            except StateError:
                return False
            return True

        return run

    assert sum(nodes(world, [add(0), add(1)])) == 1
