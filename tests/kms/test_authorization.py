"""Acting for others, and groups (RFC 6043 12.5, interpretations 16 and 17)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mikeytool.kms.authorization import acting_responder, may_act_as
from mikeytool.kms.store.records import User
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from tests.world import BOB, CAROL, World

DESK = Identity.from_text("sip:desk@example.com")
TEAM = Identity.from_text("sip:team@example.com")
ROOM = Identity.from_text("sip:room7@conf.example.com")


@pytest.fixture
def desk(world: World) -> User:
    world.store.add_user(DESK, b"d" * 16, act_as=["sip:*@conf.example.com"])
    return User(DESK)


def test_a_key_speaks_for_its_user_and_for_whom_a_pattern_names(world: World, desk: User) -> None:
    assert may_act_as(world.store, desk, DESK)
    assert may_act_as(world.store, desk, ROOM)
    assert not may_act_as(world.store, desk, BOB)
    assert not may_act_as(world.store, User(BOB), ROOM)


def test_who_resolves_and_by_which_name(world: World, desk: User) -> None:
    world.store.add_members(TEAM, [BOB])
    policy = replace(world.policy(), responders=(TEAM, ROOM))
    assert acting_responder(world.store, User(BOB), BOB, policy) == (BOB, TEAM)
    assert acting_responder(world.store, desk, DESK, policy) == (ROOM, ROOM)
    assert acting_responder(world.store, desk, ROOM, policy) == (ROOM, ROOM)
    with pytest.raises(Refused, match="may not resolve"):
        acting_responder(world.store, User(CAROL), CAROL, policy)
    with pytest.raises(Refused, match="nobody"):
        acting_responder(world.store, desk, DESK, replace(policy, responders=()))
