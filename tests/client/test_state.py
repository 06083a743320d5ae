"""The client's state file: made by many at once, private, and what it remembers."""

from __future__ import annotations

import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.client import state as client_state
from mikeytool.client.state import ClientState, open_state
from mikeytool.client.ticket_files import TicketFile
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS
from mikeytool.exchange.resolve import ResolvedTicket
from mikeytool.exchange.responder import transfer_resp, verify_transfer_init
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.exchange.transfer import TransferInit, read_transfer_init
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, StateError
from mikeytool.wire.registry import KeyType
from tests.kms.version_1 import REPLAY
from tests.world import (
    ALICE,
    BOB,
    FORKING,
    PLAIN,
    World,
    accept_all,
)


@pytest.fixture
def state_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home" / "state.sqlite"
    monkeypatch.setenv("MIKEYTOOL_STATE", str(path))
    return path


@pytest.mark.parametrize("_round", range(5))
def test_many_make_it_at_once(state_path: Path, _round: int) -> None:
    """Commands run side by side, also the first ones."""
    together = threading.Barrier(12)

    def use(_number: int) -> None:
        together.wait()
        with closing(open_state()) as state, state.transaction() as db:
            db.execute("INSERT INTO replay VALUES (randomblob(8), randomblob(8), 1)")

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(use, range(12)))
    with closing(open_state()) as state, state.transaction() as db:
        assert db.execute("SELECT count(*) FROM replay").fetchone()[0] == 12
    assert {path.name.split("-")[0] for path in state_path.parent.iterdir()} == {"state.sqlite"}


def test_the_file_that_another_process_made_just_now(
    state_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found missing, then somebody else is faster."""
    create = ClientState.create

    def overtaken(path: Path) -> ClientState:
        create(path).close()
        return create(path)

    monkeypatch.setattr(client_state.ClientState, "create", overtaken)
    with closing(open_state()) as state:
        assert state.path == state_path


def test_it_is_private(state_path: Path) -> None:
    with closing(open_state()) as state, state.transaction() as db:
        db.execute("INSERT INTO streams (stream) VALUES (x'00')")
        for path in state_path.parent.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(state_path.parent.stat().st_mode) == 0o700


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$MIKEYTOOL_STATE`, else `$XDG_STATE_HOME/mikeytool`; a folder holds it."""
    monkeypatch.delenv("MIKEYTOOL_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    with closing(open_state()) as state:
        assert state.path.is_relative_to(tmp_path / "xdg" / "mikeytool")
    monkeypatch.setenv("MIKEYTOOL_STATE", str(tmp_path))
    with closing(open_state()) as state:
        assert state.path.parent == tmp_path


@pytest.mark.parametrize("content", [b"", b"junk", b"SQLite format 3\0" + bytes(100)])
def test_a_broken_file(state_path: Path, content: bytes) -> None:
    """Nothing is accepted on a replay cache that cannot be read, and it is not replaced."""
    state_path.parent.mkdir()
    state_path.write_bytes(content)
    with pytest.raises(StateError):
        open_state()
    assert state_path.read_bytes() == content


def test_the_file_of_a_kms(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKEYTOOL_STATE", str(world.store.path))
    with pytest.raises(StateError, match="no client state"):
        open_state()
    with closing(Store(world.store.path)) as store:
        assert store.identity == world.store.identity


def test_a_folder_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MIKEYTOOL_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(StateError):
        open_state()


def test_a_broken_state_answers_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a replay cache no call is answered, and the KMS is not asked."""
    init = world.call(world.held(PLAIN))
    broken, session = world.path(), world.path()
    broken.write_bytes(b"junk")
    monkeypatch.setenv("MIKEYTOOL_STATE", str(broken))
    with pytest.raises(StateError):
        world.respond(init, session=session, resolve=never)
    assert not session.exists()


def never(_init: TransferInit) -> ResolvedTicket:
    raise AssertionError("the KMS is asked")


def test_it_remembers_over_processes(world: World, state_path: Path) -> None:
    """RFC 3830 5.4, interpretation 30: on disk."""
    verified = world.verified(world.call(world.held(PLAIN)))
    with closing(open_state()) as state:
        state.refuse_seen(verified.init.incoming, ALICE)
        state.remember(world.env, verified)
    with closing(open_state()) as state:
        with pytest.raises(Refused, match="replay"):
            state.refuse_seen(verified.init.incoming, ALICE)
        with pytest.raises(Refused, match="replay"):
            state.remember(world.env, verified)
        state.refuse_seen(verified.init.incoming, BOB)  # the sender counts


def test_looking_writes_nothing(world: World, state_path: Path) -> None:
    """What is not verified leaves no trace, so nobody can fill the disk."""
    read = world.verified(world.call(world.held(PLAIN))).init
    with closing(open_state()) as state:
        for _ in range(3):
            state.refuse_seen(read.incoming, ALICE)
        with state.transaction() as db:
            assert db.execute("SELECT count(*) FROM replay").fetchone()[0] == 0


def test_single_use_over_processes(world: World, state_path: Path) -> None:
    """Interpretation 22: the responder remembers the ticket."""
    held = world.held(FORKING.replace("J", ""))
    first = world.verified(world.call(held))
    another = world.call(held)
    with closing(open_state()) as state:
        state.remember(world.env, first)
    second = verify_transfer_init(read_transfer_init(another), first.resolved, BOB)
    with closing(open_state()) as state, pytest.raises(Refused, match="J flag"):
        state.remember(world.env, second)


def session_with(world: World, init: bytes) -> Session:
    _, session = transfer_resp(world.env, world.verified(init), accept_all, local=BOB)
    return session


def test_streams_are_claimed_whole_or_not_at_all(world: World, state_path: Path) -> None:
    """Of a session that is refused nothing stays claimed."""
    held = world.held(PLAIN, keys=(wanted_key(KeyType.TEK_SALT, 16, 14),))
    offer = [CsSpec(send=False), CsSpec(send=False)]
    init = world.call(held, offer)

    def answered(*ssrcs: int) -> Session:
        specs = [CsSpec(send=True, ssrc=ssrc) for ssrc in ssrcs]
        verified = world.verified(init)
        return transfer_resp(world.env, verified, accept_all, local=BOB, crypto_sessions=specs)[1]

    with closing(open_state()) as state:
        state.claim_streams(answered(1, 2))
        with pytest.raises(Refused, match="0x00000002"):
            state.claim_streams(answered(3, 2))
        state.claim_streams(answered(3, 4))


def test_what_is_received_is_not_claimed(world: World, state_path: Path) -> None:
    """Two ends on one machine share the state: each claims only what it sends."""
    ours = session_with(world, world.call(world.held(PLAIN)))
    with closing(open_state()) as state:
        state.claim_streams(ours)
        with state.transaction() as db:
            assert db.execute("SELECT count(*) FROM streams").fetchone()[0] == 1


def test_no_key_of_a_session_can_be_read_from_it(world: World, state_path: Path) -> None:
    """It has the keys of tickets that were resolved; sessions have files of their own."""
    session = session_with(world, world.call(world.held(PLAIN)))
    with closing(open_state()) as state:
        state.claim_streams(session)
    content = b"".join(path.read_bytes() for path in state_path.parent.iterdir())
    for one in session.crypto_sessions:
        media = session.media_key(one)
        assert media.key not in content
        assert media.salt not in content


def test_a_state_of_the_first_version_goes_on(world: World, state_path: Path) -> None:
    """What was seen and sent stays; tickets that are resolved have a place then."""
    state_path.parent.mkdir()
    with closing(sqlite3.connect(state_path, isolation_level=None)) as db:
        db.executescript(
            f"BEGIN; PRAGMA application_id={ClientState.kind}; PRAGMA user_version=1; {REPLAY}"
            " CREATE TABLE streams (stream BLOB PRIMARY KEY) WITHOUT ROWID;"
            " INSERT INTO streams (stream) VALUES (x'07'); COMMIT;"
        )
    init = read_transfer_init(world.call(world.held(PLAIN)))
    with closing(open_state()) as state:
        state.remember(world.env, world.verified(init.incoming.raw))
        state.keep(world.env, TicketFile.of_resolved(init.ticket, world.resolved(init), BOB))
        assert state.resolved(world.env, init.ticket, BOB) is not None
    with closing(open_state()) as state:
        with pytest.raises(Refused, match="replay"):
            state.refuse_seen(init.incoming, ALICE)
        with state.transaction() as db:
            assert db.execute("SELECT stream FROM streams").fetchall() == [(b"\7",)]


def test_keys_of_forgotten_tickets_are_wiped(world: World, state_path: Path) -> None:
    found = []
    for _ in range(2):
        init = read_transfer_init(world.call(world.held(PLAIN)))
        resolved = world.resolved(init)
        found.append(resolved.keys.mpki.key.hex().encode())
        with closing(open_state()) as state:
            state.keep(world.env, TicketFile.of_resolved(init.ticket, resolved, BOB))
        world.clock.now += 2 * 3600 * NS
    with closing(open_state()) as state, state.transaction() as db:
        (kept,) = db.execute("SELECT content FROM resolved").fetchall()
    assert found[1] in kept[0].encode()
    content = b"".join(path.read_bytes() for path in state_path.parent.iterdir())
    assert found[0] not in content
