"""The state file: what is wiped is gone, what is old is migrated, what was seen stays seen."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mikeytool.client.session_files import session_of_json
from mikeytool.conference import calling_in, membership
from mikeytool.conference.database import ConferenceState
from mikeytool.conference.model import Purpose, Settings
from mikeytool.exchange.environment import NS
from mikeytool.wire.errors import Refused, StateError
from mikeytool.wire.identity import Identity
from tests.conference.invariants import check
from tests.conference.room import DAN, FACTORY, FLAGS, FOCUS, Room
from tests.conference.version_1 import ERASED, GONE, OWN, old_state
from tests.world import ALICE, BOB, CAROL, EVE, KMS


def octets(path: Path) -> bytes:
    """What is in the state file, checkpointed, and in the files beside it."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    beside = (Path(f"{path}{suffix}") for suffix in ("", "-wal", "-journal"))
    return b"".join(one.read_bytes() for one in beside if one.exists())


def holds(path: Path, key: bytes) -> bool:
    """Whether a key is in the file, as octets or in hex."""
    found = octets(path)
    return key in found or key.hex().encode() in found


def die(*_: object) -> None:
    """In place of something that is not got to."""
    raise KeyboardInterrupt


Command = Callable[[Room], object]
COMMANDS: dict[str, Command] = {
    "allow": lambda room: membership.allow(room.system, None, [DAN]),
    "deny": lambda room: membership.dismiss(room.system, None, [CAROL], deny=True),
    "deny nobody": lambda room: membership.dismiss(room.system, None, [EVE], deny=True),
    "remove": lambda room: membership.dismiss(room.system, None, [CAROL], deny=False),
    "rekey": lambda room: membership.change_keys(room.system, None),
    "updates": lambda room: membership.unanswered(room.system, None),
    "call in": lambda room: room.person(CAROL).call_in(),
    "create": lambda room: room.create(
        BOB, by=CAROL, focus=Identity.from_text("sip:room-2@conf.example.com")
    ),
    "anew": lambda room: ConferenceState.init(
        room.state.path, room.system.settings, force=True
    ).close(),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_keys_that_have_expired_are_nowhere_in_the_file(full: Room, name: str) -> None:
    """Bob does not answer his update, so his session is still under the old key."""
    (old,) = full.group_keys()
    for update in membership.change_keys(full.system, None, 30):
        if update.to != BOB:
            full.answer(full.person(update.to).update(update.message))
    new = full.group_keys()[0]
    assert holds(full.state.path, old.tek)
    full.clock.now += 31 * NS
    COMMANDS[name](full)
    assert not holds(full.state.path, old.tek)
    assert not holds(full.state.path, old.salt)
    if name != "anew":
        assert holds(full.state.path, new.tek)
        check(full.state.path)


def test_answers_wipe_as_well(full: Room) -> None:
    (old,) = full.group_keys()
    membership.allow(full.system, None, [EVE, DAN])
    to_eve, to_dan = full.call_out(EVE, 600), full.call_out(DAN, 600)
    taken = full.person(ALICE).sends()[0][0]
    for update in membership.change_keys(full.system, None, 30):
        full.answer(full.person(update.to).update(update.message))
    full.clock.now += 31 * NS
    (update,) = full.answer(full.person(EVE).pick_up(to_eve)).updates
    assert not holds(full.state.path, old.tek)
    full.answer(full.person(EVE).update(update.message))
    # The key that Dan was called with comes back with his answer, and with a clash.
    assert full.answer(full.person(DAN).pick_up(to_dan, ssrc=taken)).updates
    assert not holds(full.state.path, old.tek)
    check(full.state.path)


def test_a_key_without_overlap_is_gone_at_once(full: Room) -> None:
    (old,) = full.group_keys()
    membership.change_keys(full.system, None, 0)
    assert not holds(full.state.path, old.tek)
    for update in membership.unanswered(full.system, None):
        full.answer(full.person(update.to).update(update.message))
    assert {full.person(who).sends()[0][1].key for who in (ALICE, BOB, CAROL)} == {
        full.group_keys()[0].tek
    }


def test_who_answers_after_many_changes_of_keys(full: Room) -> None:
    """The key that they were called with is not even listed any more."""
    membership.allow(full.system, None, [EVE])
    init = full.call_out(EVE, 600)
    for _ in range(5):
        membership.change_keys(full.system, None, 5)
        full.clock.now += 6 * NS
    (update,) = full.answer(full.person(EVE).pick_up(init)).updates
    full.answer(full.person(EVE).update(update.message))
    assert full.person(EVE).sends()[0][1].key == full.group_keys()[0].tek
    assert check(full.state.path)[EVE] == "joined"


def test_a_member_is_read_with_the_keys_that_are_good(full: Room) -> None:
    (old,) = full.group_keys()
    for update in membership.change_keys(full.system, None, 30):
        full.answer(full.person(update.to).update(update.message))
    (new, _) = full.group_keys()
    session = full.members()[BOB].session
    assert session is not None
    assert [key.key for key in session.keys] == [new.tek, old.tek]
    assert {one.previous for one in session.crypto_sessions} == {(old.spi,)}
    full.clock.now += 31 * NS
    membership.unanswered(full.system, None)
    session = full.members()[BOB].session
    assert session is not None
    assert [key.key for key in session.keys] == [new.tek]
    assert {one.previous for one in session.crypto_sessions} == {()}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("members SET state = 'x'", "session of sip:.* is broken; restore"),
        ("conferences SET purposes = 'audio,x'", "row of sip:room-1@.* is broken; restore"),
        ("conferences SET generation = 7", "not the group keys that it should; restore"),
        ("group_keys SET purpose = 'x'", "a group key is broken; restore"),
        ("group_keys SET purpose = 'video'", "not the group keys that it should; restore"),
        ("calls SET ticket = '{}'", "ticket of a call-out is broken; restore"),
        ("tickets SET resolved = '{}'", "a resolved ticket is broken; restore"),
        ("system SET may_create = '{'", "who may create conferences is broken; restore"),
    ],
)
def test_a_damaged_row_is_told_in_words(full: Room, damage: str, words: str) -> None:
    membership.allow(full.system, None, [EVE])
    answer = full.person(EVE).pick_up(full.call_out(EVE))
    with full.state.transaction() as db:
        db.execute(f"UPDATE {damage}")
    told = []
    for command in (
        lambda: full.answer(answer),
        lambda: full.call_in(full.person(ALICE).call()),
        lambda: membership.change_keys(full.system, None),
        full.state.settings,
    ):
        try:
            command()
        except StateError as error:
            told.append(str(error))
    assert told
    assert all(re.search(words, text) for text in told), told


def test_a_broken_session_is_told_in_words(full: Room) -> None:
    with full.state.transaction() as db:
        db.execute("UPDATE members SET session = '{}' WHERE identity = ?", (BOB.data,))
    with pytest.raises(StateError, match=r"session of sip:bob@example\.com is broken"):
        membership.change_keys(full.system, None)


# Version 1


@pytest.fixture
def old(full: Room, tmp_path: Path) -> Room:
    """A room at a file of version 1, in which one key has expired and one is in its overlap."""
    (first,) = full.group_keys()
    for _ in range(2):
        for update in membership.change_keys(full.system, None, 30):
            if update.to != BOB:
                full.answer(full.person(update.to).update(update.message))
        full.clock.now += 16 * NS
    membership.unanswered(full.system, None)
    expired = {
        "type": "TEK+SALT",
        "key": first.tek.hex(),
        "salt": first.salt.hex(),
        "spi": first.spi.hex(),
    }
    path = tmp_path / "old.db"
    old_state(path, full, [expired])
    for text in (first.tek.hex(), GONE["key"], OWN["key"]):
        assert text is not None
        assert text.encode() in octets(path)
    assert ERASED in octets(path)
    full.state.close()
    full.state = ConferenceState(path)
    full.system = replace(full.system, state=full.state)
    return full


def test_a_file_of_version_1_is_migrated(old: Room) -> None:
    path = old.state.path
    found = octets(path)
    first_state = json.loads(
        old.state.db.execute("SELECT session FROM members WHERE number = 1").fetchone()[0]
    )
    live = [key for key in old.group_keys() if key.tek]
    assert sorted(first_state["keys"]) == sorted(key.spi.hex() for key in live)
    assert len(live) == 2
    for key in (GONE["key"], OWN["key"]):
        assert key is not None
        assert key.encode() not in found
    assert ERASED not in found
    assert old.state._pragma("user_version") == ConferenceState.version
    assert old.tables()["tickets"] == []
    assert len(check(path)) == 3


def test_expired_keys_of_version_1_are_gone(old: Room) -> None:
    """Of the live ones, each stands in the file once."""
    found = octets(old.state.path)
    for key in old.group_keys():
        if key.tek:
            assert found.count(key.tek) == 1
        assert key.tek == b"" or key.tek.hex().encode() not in found


def test_a_conference_of_version_1_goes_on(old: Room) -> None:
    for update in membership.change_keys(old.system, None):
        old.answer(old.person(update.to).update(update.message))
    assert {old.person(who).sends()[0][1].key for who in (ALICE, BOB, CAROL)} == {
        old.group_keys()[0].tek
    }
    with pytest.raises(Refused, match="seen before"):
        old.call_in(old.person(BOB).init)


@pytest.fixture
def one_seat(room: Room, tmp_path: Path) -> Room:
    """A room at a file that version 2 wrote, and people with the sessions that they had then."""
    path, here = tmp_path / "old.db", Path(__file__).parent
    path.write_bytes(gzip.decompress((here / "version_2.db.gz").read_bytes()))
    held = json.loads((here / "version_2.json").read_text())
    room.clock.now = held["clock"]
    for who, session in held["sessions"].items():
        room.person(Identity.from_text(who)).session = session_of_json(session)
    room.state.close()
    room.state = ConferenceState(path)
    room.system = replace(room.system, state=room.state)
    return room


def test_a_file_of_version_2_is_migrated(one_seat: Room) -> None:
    """With a member whose update waits, one who was put out, and one who is being called."""
    old, path = one_seat, one_seat.state.path
    assert check(path) == {
        ALICE: "joined", BOB: "joined", CAROL: "joined", EVE: "left", DAN: "invited"
    }  # fmt: skip
    assert old.ssrcs(BOB) == [0x11111112, 0x11111212]
    (update,) = membership.unanswered(old.system, None)
    old.answer(old.person(BOB).update(update.message))
    old.device(BOB).call_in()
    for one in membership.change_keys(old.system, None):
        if old.person(one.to).is_for(one.message):
            old.answer(old.person(one.to).update(one.message))
    newest = old.group_keys()[0].tek
    assert old.person(ALICE).keys()[old.group_keys()[0].spi] == newest
    with pytest.raises(Refused, match="may not take part"):
        old.person(EVE).call_in()
    check(path)


def test_a_file_of_version_2_gets_the_tables_of_a_new_one(one_seat: Room, tmp_path: Path) -> None:
    def tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
        with closing(sqlite3.connect(path)) as db:
            names = [n for (n,) in db.execute("SELECT name FROM sqlite_master ORDER BY name")]
            return {name: db.execute(f"PRAGMA table_info({name})").fetchall() for name in names}

    fresh = tmp_path / "fresh.db"
    ConferenceState.init(fresh, one_seat.system.settings).close()
    assert tables(one_seat.state.path) == tables(fresh)


def test_a_migration_that_is_cut_short_is_done_again(
    full: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.db"
    old_state(path, full, [])
    with monkeypatch.context() as patched:
        patched.setattr(ConferenceState, "_migrated", die)
        with pytest.raises(KeyboardInterrupt):
            ConferenceState(path)
    ConferenceState(path).close()
    assert len(check(path)) == 3


def test_a_newer_version_is_refused(full: Room) -> None:
    full.state.db.execute("PRAGMA user_version=9")
    with pytest.raises(StateError, match="another version"):
        ConferenceState(full.state.path)


# Made anew


def anew(room: Room) -> Room:
    """The same system after `init --force`."""
    state = ConferenceState.init(room.state.path, room.system.settings, force=True)
    room.state.close()
    room.state = state
    room.system = replace(room.system, state=state)
    return room


def test_a_system_made_anew_is_empty(full: Room) -> None:
    membership.change_keys(full.system, None)
    other = Settings(Identity.from_text("sip:other@conf.example.com"), b"o" * 32, "x", KMS, ("a",))
    with closing(ConferenceState.init(full.state.path, other, force=True)) as state:
        assert state.settings() == other
    left = {name for name, table in full.tables().items() if table}
    assert left == {"system"}


def test_recorded_messages_are_refused_by_a_system_made_anew(full: Room) -> None:
    creation, call = full.person(ALICE).init, full.person(BOB).init
    alice = full.person(ALICE)
    alice.ticket(FACTORY, BOB, keys=1)
    creation = alice.call(FACTORY)
    other = Identity.from_text("sip:room-2@conf.example.com")
    calling_in.create(full.system, creation, other, (Purpose.AUDIO,))
    anew(full)
    with pytest.raises(Refused, match="seen before"):
        calling_in.create(full.system, creation, FOCUS, (Purpose.AUDIO,))
    assert full.tables()["conferences"] == []
    full.create(BOB, by=CAROL)
    with pytest.raises(Refused, match="seen before"):
        full.call_in(call)
    assert full.states() == {}


def test_tickets_for_single_use_stay_used(room: Room) -> None:
    alice = room.person(ALICE)
    alice.ticket(FACTORY, BOB, keys=1, flags=FLAGS.replace("J", ""))
    calling_in.create(room.system, alice.call(FACTORY), FOCUS, (Purpose.AUDIO,))
    anew(room)
    with pytest.raises(Refused, match="J flag"):
        calling_in.create(room.system, alice.call(FACTORY), FOCUS, (Purpose.AUDIO,))


def test_a_system_is_not_made_anew_unless_asked(full: Room) -> None:
    before = full.dump()
    with pytest.raises(StateError, match="exists"):
        ConferenceState.init(full.state.path, full.system.settings)
    assert full.dump() == before


def test_making_anew_is_all_or_nothing(full: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    before = full.dump()
    monkeypatch.setattr("mikeytool.conference.database._put_settings", die)
    with pytest.raises(KeyboardInterrupt):
        ConferenceState.init(full.state.path, full.system.settings, force=True)
    assert full.dump() == before


def test_another_file_is_not_made_anew(room: Room) -> None:
    content = room.store.path.read_bytes()
    with pytest.raises(StateError, match="no conference system"):
        ConferenceState.init(room.store.path, room.system.settings, force=True)
    assert room.store.path.read_bytes() == content


def test_an_expired_key_is_wiped_while_others_have_the_file_open(full: Room) -> None:
    """Such as a relay: the log beside the file is not deleted then."""
    key = full.group_keys()[0].tek
    membership.change_keys(full.system, None)
    full.clock.now += 11 * NS
    files = [Path(f"{full.state.path}{suffix}") for suffix in ("", "-wal")]
    with closing(ConferenceState(full.state.path)) as other:
        with other.snapshot() as db:
            db.execute("SELECT count(*) FROM members").fetchone()
            membership.tidy(full.system, FOCUS)
        membership.tidy(full.system, FOCUS)
        assert not any(key in one.read_bytes() for one in files)
