"""Tickets without the J flag are good for one TRANSFER_INIT (RFC 6043 5.3, interpretation 22)."""

from __future__ import annotations

import pytest

from mikeytool.exchange.environment import NS
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo
from tests.world import ALICE, BOB, CAROL, FORKING, PLAIN, World

SINGLE = FORKING.replace("J", "")
SINGLE_PLAIN = PLAIN.replace("J", "")


def refused(world: World, init: bytes, by: Identity = BOB) -> None:
    with pytest.raises(Refused, match="J flag") as caught:
        world.resolved(init, by)
    assert caught.value.error_no == ErrorNo.INVALID_TICKET


def test_a_second_call_with_the_same_ticket_is_not_resolved(world: World) -> None:
    """Interpretation 22: with forking the Initiator Data tells one call from another."""
    held = world.held(SINGLE)
    first, second = world.call(held), world.call(held)
    world.resolved(first)
    refused(world, second)
    world.resolved(first)


def test_several_responders_of_one_call_resolve(world: World) -> None:
    """Interpretations 22 and 28: a forked call may get several answers."""
    held = world.held(SINGLE, responders=(BOB, CAROL))
    call, another = world.call(held), world.call(held, called=CAROL)
    assert world.resolved(call).keys.mpkr != world.resolved(call, CAROL).keys.mpkr
    refused(world, another, CAROL)
    refused(world, another)


def test_another_responder_of_another_call_does_not_resolve(world: World) -> None:
    """Interpretation 22: one TRANSFER_INIT for all who may resolve the ticket together."""
    held = world.held(SINGLE, responders=(BOB, CAROL))
    world.resolved(world.call(held))
    refused(world, world.call(held, called=CAROL), CAROL)


def test_without_forking_each_responder_resolves_once(world: World) -> None:
    """Interpretation 22: nothing tells the KMS one call from another."""
    held = world.held(SINGLE_PLAIN, responders=(BOB, CAROL))
    world.resolved(world.call(held))
    refused(world, world.call(held))
    world.resolved(world.call(held), CAROL)
    refused(world, world.call(held), CAROL)


@pytest.mark.parametrize("flags", [FORKING, PLAIN])
def test_with_the_j_flag_a_ticket_is_resolved_again(world: World, flags: str) -> None:
    held = world.held(flags)
    for _ in range(3):
        world.resolved(world.call(held))


def test_who_may_not_resolve_uses_nothing_up(world: World) -> None:
    """Authorization comes first: a stranger must not spend other people's tickets."""
    call = world.call(world.held(SINGLE_PLAIN))
    for stranger in (ALICE, CAROL):
        with pytest.raises(Refused, match="may not resolve"):
            world.resolved(call, stranger)
    world.resolved(call)


def remembered(world: World) -> int:
    with world.store.transaction() as db:
        count: int = db.execute("SELECT count(*) FROM single_use").fetchone()[0]
    return count


@pytest.mark.parametrize("flags", [SINGLE, SINGLE_PLAIN])
def test_tickets_are_forgotten_when_they_have_expired(world: World, flags: str) -> None:
    """The cache stays small, and a clock that jumps back does not open it again."""
    used = world.held(flags)
    world.clock.now += 3500 * NS
    world.resolved(world.call(used))
    again = world.call(used)
    world.clock.now += 200 * NS
    world.resolved(world.call(world.held(flags)))
    assert remembered(world) == 1
    world.clock.now -= 150 * NS
    with pytest.raises(Refused, match="expired before") as caught:
        world.resolved(again)
    assert caught.value.error_no == ErrorNo.INVALID_TICKET
