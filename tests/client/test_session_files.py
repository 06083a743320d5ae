"""Session files: what is in them comes back, and broken ones are told as such."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mikeytool.client.session_files import SessionFile, locked_session, with_sent
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.media.session_description import describe_session_file
from mikeytool.wire.errors import MikeyError, Refused, StateError, WireError
from mikeytool.wire.registry import KeyType
from tests.client.test_ticket_files import broken_copies
from tests.world import BOB, BOTH_WAYS, FORKING, HALF_TRIP, PLAIN, World

TEKS = (wanted_key(KeyType.TEK_SALT, 16, 14), wanted_key(KeyType.TEK, 16, 0))


def waiting(world: World) -> Path:
    """A call that waits for its answer."""
    session = world.path()
    world.start(world.ticket_file(world.held()), session=session)
    return session


def established(world: World) -> Path:
    """An initiator's session, which still knows its call."""
    session = world.path()
    answer, _ = world.respond(world.start(world.ticket_file(world.held()), session=session))
    world.finish(answer or b"", session)
    return session


def responding(world: World) -> Path:
    """A responder's session."""
    session = world.path()
    world.respond(world.call(world.held(PLAIN, keys=TEKS)), session=session)
    return session


KINDS = pytest.mark.parametrize("made", [waiting, established, responding])


@KINDS
def test_a_session_comes_back(world: World, made: Callable[[World], Path]) -> None:
    path = made(world)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = SessionFile.read(path)
    another = world.path()
    content.write(another)
    assert another.read_bytes() == path.read_bytes()
    if content.session is None:
        with pytest.raises(Refused, match="waits"):
            _ = content.established
        return
    again = SessionFile.read(another).established
    for one, other in zip(content.established.crypto_sessions, again.crypto_sessions, strict=True):
        assert content.established.media_key(one) == again.media_key(other)


def test_a_session_without_an_answer_comes_back(world: World) -> None:
    path = world.path()
    world.start(world.ticket_file(world.held(HALF_TRIP)), BOTH_WAYS[:1], session=path)
    assert SessionFile.read(path).established.remote == BOB


@KINDS
def test_broken_session_files(world: World, made: Callable[[World], Path]) -> None:
    """Missing fields and fields of a wrong kind are told; whatever is read can be used."""
    path = made(world)
    for name, data in broken_copies(json.loads(path.read_bytes())):
        path.write_bytes(data)
        try:
            content = SessionFile.read(path)
        except (WireError, StateError):
            continue
        try:
            use(content, world.path())
        except MikeyError:
            pass
        except Exception as error:
            raise AssertionError(name) from error


def use(content: SessionFile, path: Path) -> None:
    """What commands do with a session file."""
    with_sent(content, {"x": [1, 2]}).write(path)
    SessionFile.read(path)
    if content.session is None:
        return
    content.session.check()
    described = describe_session_file(content, 0, show_keys=True)
    assert len(described["crypto_sessions"]) == len(content.session.crypto_sessions)
    assert all(len(indices) == 2 for indices in content.sent.values())


@KINDS
def test_cut_session_files(world: World, made: Callable[[World], Path]) -> None:
    path = made(world)
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(WireError):
            SessionFile.read(path)


def test_files_of_another_kind(world: World) -> None:
    ticket = world.ticket_file(world.held(FORKING))
    for path in (ticket, world.store.path):
        with pytest.raises(WireError, match="no session file"):
            SessionFile.read(path)
    with pytest.raises(StateError):
        SessionFile.read(world.path())
    deep = world.path()
    deep.write_bytes(b'{"mikeytool":"session","a":' * 100_000)
    with pytest.raises(WireError):
        SessionFile.read(deep)
    with pytest.raises(StateError), locked_session(world.path()):
        pass


def test_a_broken_call_takes_no_answer(world: World) -> None:
    """An answer is not lost on a session file that is broken, nor the file on it."""
    session = world.path()
    answer, _ = world.respond(world.start(world.ticket_file(world.held()), session=session))
    good = json.loads(session.read_bytes())
    for name in ("init", "ticket", "state"):
        broken = json.dumps({**good, name: None}).encode()
        session.write_bytes(broken)
        with pytest.raises((WireError, Refused)):
            world.finish(answer or b"", session)
        assert session.read_bytes() == broken
    session.write_bytes(json.dumps(good).encode())
    world.finish(answer or b"", session)


def test_a_file_of_an_earlier_version(world: World) -> None:
    """It knows the largest T and no other: whatever is up to that is refused."""
    path = responding(world)
    content = json.loads(path.read_text())
    for name in ("ts_type", "peer_counter", "heard", "sent_updates", "floor", "keys_since",
                 "policies", "randr_kms", "ticket_digest"):  # fmt: skip
        del content[name]
    path.write_text(json.dumps(content))
    session = SessionFile.read(path).established
    assert session.fresh.floor == session.fresh.last_t > 0
    assert session.policies_by_number.keys() == {0}
    assert session.rekey_by_ns is None
