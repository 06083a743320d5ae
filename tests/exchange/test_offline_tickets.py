"""Tickets without the KMS: made by the initiator, resolved by the responder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.exchange.offline_tickets import create_ticket, resolve_alone
from mikeytool.exchange.request import HeldTicket
from mikeytool.kms.grant import make_keys, wanted_keys
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from tests.world import BOB, EVE, World

TPK = b"a key of two that trust each other"
TEAM = Identity.from_text("sip:team@example.com")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(World(tmp_path)) as made:
        yield made


def made(world: World, *responders: Identity) -> HeldTicket:
    policy = world.policy("FGHJLNO", responders=responders)
    keys = make_keys(world.env, wanted_keys(policy))
    return create_ticket(world.env, policy, keys, TPK, None)


def test_who_is_named_resolves_alone(world: World) -> None:
    """Interpretation 17: octet by octet, and by whoever else has the key not at all."""
    held = made(world, EVE, BOB)
    resolved = resolve_alone(world.env, held.ticket, TPK, BOB)
    assert resolved.keys.mpki.key == held.keys.mpki.key
    shouted = Identity.from_text("sip:BOB@example.com")
    for other in (shouted, TEAM):
        with pytest.raises(Refused, match="not for"):
            resolve_alone(world.env, held.ticket, TPK, other)


def test_a_ticket_that_cannot_be_made_alone(world: World) -> None:
    for flags, words in (("DFGHJLNO", "this one is made here"), ("FJLNO", "G")):
        policy = world.policy(flags, responders=(BOB,))
        with pytest.raises(Refused, match=words):
            create_ticket(world.env, policy, [], TPK, None)
    with pytest.raises(UsageError, match="ticket protection key"):
        create_ticket(world.env, world.policy("FGHJLNO"), [], TPK[:15], None)


def test_who_is_in_a_group_only_the_kms_knows(world: World) -> None:
    with pytest.raises(Refused, match="for a group ask the KMS"):
        resolve_alone(world.env, made(world, TEAM).ticket, TPK, BOB)
    with pytest.raises(Refused, match="nobody"):
        resolve_alone(world.env, made(world).ticket, TPK, BOB)
