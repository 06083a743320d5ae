"""Users in the store, by key and by certificate."""

from __future__ import annotations

import pytest

from mikeytool.kms.store.records import NewUser
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.identity import Identity
from tests.world import ALICE, BOB, USERS, World, psk_of

DAN = Identity.from_text("sip:dan@example.com")


def user(number: int) -> Identity:
    return Identity.from_text(f"sip:user{number}@example.com")


def test_users_are_found_by_identity_and_by_key_name(world: World) -> None:
    name = Identity.key_name("dans")
    world.store.add_user(DAN, b"d" * 16, name, ["sip:*@dan.example", "sip:d"])
    found = world.store.user_of_key(name)
    assert found is not None
    assert found == world.store.user(DAN)
    assert world.store.psk(found) == b"d" * 16
    assert world.store.act_as(DAN) == ["sip:*@dan.example", "sip:d"]
    assert world.store.user(name) is None


def test_a_user_without_a_key(world: World) -> None:
    world.store.add_user(DAN, certificate=b"DER")
    found = world.store.user(DAN)
    assert found is not None
    assert found.certificate == b"DER"
    with pytest.raises(UsageError, match="no pre-shared key"):
        world.store.psk(found)
    world.store.rekey(DAN, b"k" * 16)
    found = world.store.user(DAN)
    assert found is not None
    assert world.store.psk(found) == b"k" * 16


def test_what_happens_before_the_commit_may_undo_it(world: World) -> None:
    def breaks() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world.store.add_user(DAN, b"d" * 16, before_commit=breaks)
    with pytest.raises(ZeroDivisionError):
        world.store.rekey(ALICE, b"d" * 16, before_commit=breaks)
    alice = world.store.user(ALICE)
    assert alice is not None
    assert world.store.psk(alice) == psk_of(ALICE)
    assert world.store.user(DAN) is None


def test_users_who_are_not_there(world: World) -> None:
    with pytest.raises(StateError, match="no user"):
        world.store.enable(DAN, True)
    with pytest.raises(StateError, match="no user"):
        world.store.rekey(DAN, b"d" * 16)
    with pytest.raises(StateError, match="no user"):
        world.store.remove_user(DAN)


def test_a_removed_user_leaves_nothing(world: World) -> None:
    world.store.add_user(DAN, b"d" * 16, act_as=["sip:d"])
    world.store.remove_user(DAN)
    assert world.store.act_as(DAN) == []
    world.store.add_user(DAN, b"e" * 16)
    assert world.store.count_users() == len(USERS) + 1


def test_of_many_users_all_are_added_or_none(world: World) -> None:
    new = [NewUser(user(n), psk_of(user(n))) for n in range(3)]
    with pytest.raises(StateError, match="exists already"):
        world.store.add_users([*new, NewUser(BOB, psk_of(BOB))])
    with pytest.raises(UsageError, match="neither a key nor"):
        world.store.add_users([*new, NewUser(user(3))])
    assert world.store.count_users() == len(USERS)
    world.store.add_users(new)
    assert world.store.count_users() == len(USERS) + 3


def test_a_key_is_not_named_as_another_user_is(world: World) -> None:
    """IDRpsk may name a key or its user."""
    with pytest.raises(StateError, match="that of another user"):
        world.store.add_user(DAN, b"d" * 16, Identity.key_name(str(ALICE)))
    world.store.add_user(DAN, b"d" * 16, Identity.key_name(str(user(1))))
    with pytest.raises(StateError, match="names a key of sip:dan@"):
        world.store.add_user(user(1), b"d" * 16)
    world.store.add_user(user(2), b"d" * 16, Identity.key_name(str(user(2))))


def test_who_is_not_in_a_group_is_not_taken_out(world: World) -> None:
    team = Identity.from_text("sip:team@example.com")
    world.store.add_members(team, [ALICE])
    with pytest.raises(StateError, match="is not in sip:team@"):
        world.store.remove_members(team, [ALICE, BOB])
    world.store.remove_members(team, [ALICE])
    assert world.store.groups() == {}
