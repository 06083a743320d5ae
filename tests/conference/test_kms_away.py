"""What becomes of commands while the KMS cannot be reached: who is to be out is out at once, and
what needs the KMS is done by the next command that reaches it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mikeytool.client.kms_access import Kms
from mikeytool.conference import calling_in, calling_out, membership, rows
from mikeytool.conference.system import ConferenceSystem
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.error import error_message
from mikeytool.kms.store.seal import key_path
from mikeytool.wire.errors import MikeyError, Refused, Unreachable
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.registry import ErrorNo
from tests.conference.invariants import check
from tests.conference.room import DAN, FOCUS, Room
from tests.world import ALICE, BOB, CAROL, EVE

TEAM = Identity.from_text("sip:team@example.com")


class Away:
    """A KMS that answers nobody."""

    def __init__(self, kms: Kms) -> None:
        self.identity = kms.identity

    def answer(self, _env: Environment, _message: bytes) -> bytes:
        raise Unreachable("the KMS is away")

    def groups_of(self, _identity: Identity) -> Sequence[Identity]:
        raise Unreachable("the KMS is away")

    def is_group(self, _identity: Identity) -> bool:
        raise Unreachable("the KMS is away")


@pytest.fixture
def full(room: Room) -> Room:
    """Alice, Bob and Carol by name, and Dan by his group, in a conference."""
    room.store.add_members(TEAM, [DAN])
    room.create(BOB, CAROL, TEAM)
    for who in (ALICE, BOB, CAROL, DAN):
        room.person(who).call_in()
    return room


@pytest.fixture
def alone(full: Room) -> ConferenceSystem:
    """The system while its KMS is away."""
    return replace(full.system, kms=Away(full.system.kms))


Command = Callable[[Room], object]
NEXT: dict[str, Command] = {
    "rekey": lambda room: membership.change_keys(room.system, None),
    "updates": lambda room: membership.unanswered(room.system, None),
    "allow": lambda room: membership.allow(room.system, None, [EVE]),
    "deny": lambda room: membership.dismiss(room.system, None, [EVE], deny=True),
    "remove": lambda room: membership.dismiss(room.system, None, [CAROL], deny=False),
    "call in": lambda room: room.person(CAROL).come_back(),
    "call out": lambda room: room.call_out(EVE),
    "answer": lambda room: room.answer(room.person(EVE).pick_up(room.call_out(EVE))),
}


@pytest.fixture(params=NEXT)
def following(request: pytest.FixtureRequest) -> Command:
    """Each command that catches up."""
    return NEXT[request.param]


def everyone_has_the_newest(room: Room, but: Identity) -> None:
    """All who are in get the newest key, and the one who is out gets no update."""
    for update in membership.unanswered(room.system, None):
        assert update.to != but
        if room.person(update.to).is_for(update.message):  # not one that ends a session
            room.answer(room.person(update.to).update(update.message))
    newest = room.group_keys()[0].tek
    for who, state in check(room.state.path).items():
        if state == "joined":
            assert {media.key for _, media in room.person(who).sends()} == {newest}
    assert newest not in room.person(but).keys().values()


@pytest.mark.parametrize("deny", [True, False])
def test_who_is_named_is_out_and_the_next_command_changes_the_keys(
    full: Room, alone: ConferenceSystem, following: Command, deny: bool
) -> None:
    membership.allow(full.system, None, [EVE])
    word = "denial" if deny else "removal"
    with pytest.raises(Unreachable, match=f"away; the {word} stands, and the group keys change"):
        membership.dismiss(alone, None, [BOB], deny=deny)
    assert check(full.state.path)[BOB] == "left"
    assert len(full.group_keys()) == 1
    following(full)
    assert [key.generation for key in full.group_keys()] == [2, 1]
    everyone_has_the_newest(full, BOB)


@pytest.mark.parametrize("deny", [True, False])
def test_an_invitee_who_is_named_cannot_answer(
    full: Room, alone: ConferenceSystem, deny: bool
) -> None:
    membership.allow(full.system, None, [EVE])
    answer = full.person(EVE).pick_up(full.call_out(EVE))
    with pytest.raises(Unreachable):
        membership.dismiss(alone, None, [EVE], deny=deny)
    for system in (alone, full.system):
        with pytest.raises(Refused, match="too late"):
            calling_out.answer(system, answer)
    assert check(full.state.path)[EVE] == "left"
    membership.unanswered(full.system, None)
    everyone_has_the_newest(full, EVE)


def _gone(store: Path) -> None:
    store.unlink()


def _no_store(store: Path) -> None:
    store.write_bytes(b"this is no database " * 400)


def _folder(store: Path) -> None:
    store.unlink()
    store.mkdir()


def _no_seal(store: Path) -> None:
    key_path(store).unlink()


def _other_seal(store: Path) -> None:
    key_path(store).write_text("00" * 32)


def _no_tables(store: Path) -> None:
    with closing(sqlite3.connect(store)) as db:
        db.execute("DROP TABLE users")


DAMAGE: list[Callable[[Path], None]] = [
    _gone, _no_store, _folder, _no_seal, _other_seal, _no_tables,
]  # fmt: skip


@pytest.mark.parametrize("deny", [True, False])
@pytest.mark.parametrize("damage", DAMAGE)
def test_who_is_named_is_out_whatever_became_of_the_store(
    full: Room, damage: Callable[[Path], None], deny: bool
) -> None:
    membership.allow(full.system, None, [EVE])
    answer = full.person(EVE).pick_up(full.call_out(EVE))
    store, kept = full.store.path, full.folder / "kept"
    full.store.close()
    full.own_kms.close()
    beside = [path for path in full.folder.iterdir() if path.name.startswith(store.name)]
    kept.mkdir()
    for path in beside:
        shutil.copy(path, kept)
    damage(store)
    with ConferenceSystem.open(full.state.path, full.env) as system:
        with pytest.raises(MikeyError, match=r"; the (denial|removal) stands, and the group"):
            membership.dismiss(system, None, [BOB, EVE], deny=deny)
        with pytest.raises(Refused, match="too late"):
            calling_out.answer(system, answer)
        with pytest.raises(MikeyError):
            membership.unanswered(system, None)
    states = check(full.state.path)
    assert (states[BOB], states[EVE], states[CAROL]) == ("left", "left", "joined")
    if store.is_dir():
        store.rmdir()
    for path in kept.iterdir():
        shutil.copy(path, full.folder)
    with ConferenceSystem.open(full.state.path, full.env) as system:
        got = list(membership.unanswered(system, None))
    assert {update.to for update in got} == {ALICE, CAROL, DAN}


class Answering(Away):
    """A KMS whose answers to messages are these octets, or made of the message."""

    def __init__(self, kms: Kms, made: bytes | Callable[[bytes], bytes]) -> None:
        super().__init__(kms)
        self._made = made

    def answer(self, _env: Environment, message: bytes) -> bytes:
        return self._made if isinstance(self._made, bytes) else self._made(message)

    def groups_of(self, _identity: Identity) -> Sequence[Identity]:
        return []


def _error(message: bytes) -> bytes:
    env = Environment(lambda: 0, lambda length: bytes(length))
    return error_message(env, Message.parse(message).header, ErrorNo.AUTH_FAILURE, None)


@pytest.mark.parametrize("deny", [True, False])
@pytest.mark.parametrize("made", [b"", b"garbage", b"\x01" * 300, lambda message: message, _error])
def test_who_is_named_is_out_whatever_the_kms_answers(
    full: Room, deny: bool, made: bytes | Callable[[bytes], bytes]
) -> None:
    system = replace(full.system, kms=Answering(full.system.kms, made))
    with pytest.raises(MikeyError, match=r"; the (denial|removal) stands, and the group"):
        membership.dismiss(system, None, [BOB], deny=deny)
    assert check(full.state.path)[BOB] == "left"
    assert len(full.group_keys()) == 1
    membership.unanswered(full.system, None)
    everyone_has_the_newest(full, BOB)


def test_a_group_that_is_denied_is_looked_at_by_the_next_command(
    full: Room, alone: ConferenceSystem, following: Command
) -> None:
    membership.allow(full.system, None, [EVE])
    with pytest.raises(Unreachable, match="the denial stands"):
        membership.dismiss(alone, None, [TEAM], deny=True)
    assert full.states()[DAN] == "joined"
    following(full)
    assert full.states()[DAN] == "left"
    assert [key.generation for key in full.group_keys()] == [2, 1]
    everyone_has_the_newest(full, DAN)
    # Once is enough.
    number = full.conference().number
    with full.state.snapshot() as db:
        assert not rows.is_unsettled(db, number)


def test_an_invitee_of_a_group_that_is_denied_cannot_answer(full: Room) -> None:
    membership.dismiss(full.system, None, [DAN], deny=False)
    answer = full.person(DAN).pick_up(full.call_out(DAN))
    alone = replace(full.system, kms=Away(full.system.kms))
    with pytest.raises(Unreachable):
        membership.dismiss(alone, None, [TEAM], deny=True)
    with pytest.raises(Unreachable):
        calling_out.answer(alone, answer)
    with pytest.raises(Refused, match="too late"):
        full.answer(answer)
    membership.unanswered(full.system, None)
    assert check(full.state.path)[DAN] == "left"
    everyone_has_the_newest(full, DAN)


def test_a_group_that_is_allowed_again_before_anybody_looked(
    full: Room, alone: ConferenceSystem
) -> None:
    with pytest.raises(Unreachable):
        membership.dismiss(alone, None, [TEAM], deny=True)
    membership.allow(full.system, None, [TEAM])
    assert full.states()[DAN] == "joined"
    assert len(full.group_keys()) == 1


def test_who_is_denied_and_in_all_the_same_gets_no_key(full: Room) -> None:
    """As files of earlier versions have it."""
    membership.allow(full.system, None, [EVE])
    answer = full.person(EVE).pick_up(full.call_out(EVE))
    _, to_bob, *_ = membership.change_keys(full.system, None)
    assert to_bob.to == BOB
    number = full.conference().number
    with full.state.transaction() as db:
        for who in (BOB, EVE):
            rows.deny(db, number, who, settled=True)
    answered = full.answer(answer)
    assert str(answered.refusal) == f"{EVE} may not take part in {FOCUS}"
    assert {update.to for update in answered.updates} == {ALICE, CAROL, DAN}
    assert full.states()[BOB] == "left"
    everyone_has_the_newest(full, BOB)
    everyone_has_the_newest(full, EVE)


def test_who_is_denied_gets_no_update_anew(full: Room) -> None:
    membership.change_keys(full.system, None)
    number = full.conference().number
    with full.state.transaction() as db:
        rows.deny(db, number, BOB, settled=True)
    assert {update.to for update in membership.unanswered(full.system, None)} == {ALICE, CAROL, DAN}
    everyone_has_the_newest(full, BOB)


# What is done although something else is due


def test_an_answer_is_taken_while_others_are_late(full: Room, alone: ConferenceSystem) -> None:
    membership.allow(full.system, None, [EVE])
    membership.dismiss(full.system, None, [BOB], deny=False)
    answer = full.person(EVE).pick_up(full.call_out(EVE, 60))
    full.call_out(BOB, 10)
    full.clock.now += 11 * NS
    answered = calling_out.answer(alone, answer)
    assert (answered.identity, list(answered.updates), answered.refusal) == (EVE, [], None)
    assert isinstance(answered.undone, Unreachable)
    assert full.states()[EVE] == "joined"
    membership.unanswered(full.system, None)
    assert check(full.state.path)[BOB] == "left"
    everyone_has_the_newest(full, BOB)


def test_keys_that_are_due_change_with_an_answer_that_leads_to_an_update(
    full: Room, alone: ConferenceSystem
) -> None:
    """Eve was called with a key before the present one."""
    membership.allow(full.system, None, [EVE])
    answer = full.person(EVE).pick_up(full.call_out(EVE))
    membership.change_keys(full.system, None)
    with pytest.raises(Unreachable):
        membership.dismiss(alone, None, [BOB], deny=False)
    assert {one.to for one in full.answer(answer).updates} == {ALICE, CAROL, DAN, EVE}
    assert len(full.group_keys()) == 3
    everyone_has_the_newest(full, BOB)


def test_someone_is_allowed_while_the_keys_are_due(full: Room, alone: ConferenceSystem) -> None:
    with pytest.raises(Unreachable):
        membership.dismiss(alone, None, [BOB], deny=False)
    tidied = membership.allow(alone, None, [EVE])
    assert not tidied.updates
    assert isinstance(tidied.undone, Unreachable)
    full.person(EVE).call_in()
    everyone_has_the_newest(full, BOB)


def test_a_refusal_is_taken(full: Room, alone: ConferenceSystem) -> None:
    membership.allow(full.system, None, [EVE])
    init = full.call_out(EVE)
    full.person(EVE).pick_up(init)
    verified = full.verified(init, EVE)
    keys = verified.init.keys(verified.resolved.keys.mpki.key, response=False)
    header = Message.parse(init).header
    refusal = error_message(full.env, header, ErrorNo.UNSPECIFIED, keys)
    answered = calling_out.answer(alone, refusal)
    assert answered.refusal is not None
    assert isinstance(answered.undone, Unreachable)
    assert check(full.state.path)[EVE] == "left"
    membership.unanswered(full.system, None)
    everyone_has_the_newest(full, EVE)


def test_who_answers_for_another_makes_them_a_leaver(full: Room, alone: ConferenceSystem) -> None:
    """The name of who is called has become that of a group meanwhile."""
    crew = Identity.from_text("sip:crew@example.com")
    membership.allow(full.system, None, [crew])
    init = full.call_out(crew)
    full.store.add_members(crew, [EVE])
    answered = calling_out.answer(alone, full.person(EVE).pick_up(init))
    assert str(answered.refusal) == f"{EVE} answers, {crew} was called"
    assert check(full.state.path)[crew] == "left"
    membership.unanswered(full.system, None)
    everyone_has_the_newest(full, EVE)


def test_an_update_of_somebody_whose_group_is_denied_waits_for_the_kms(
    full: Room, alone: ConferenceSystem
) -> None:
    """Until the KMS says who is in the group, nobody gets another stream, or the key of one."""
    with pytest.raises(Unreachable):
        membership.dismiss(alone, None, [TEAM], deny=True)
    asked = full.person(DAN).ask(CsSpec(send=True, cs_id=1, ssrc=0x77777777))
    before = full.dump()
    with pytest.raises(Unreachable):
        calling_in.call_in(alone, asked)
    assert full.dump() == before
