"""Ticket protection keys that were rotated out make no new tickets and go by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mikeytool.exchange.environment import NS
from mikeytool.exchange.offline_tickets import create_ticket
from mikeytool.exchange.request import HeldTicket
from mikeytool.exchange.ticket import make_ticket
from mikeytool.kms.grant import make_keys, wanted_keys
from mikeytool.kms.store.store import Tpk
from mikeytool.wire.errors import Refused, StateError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import TicketFlag, TsType
from mikeytool.wire.timestamp import Timestamp
from tests.world import ALICE, BOB, CAROL, World, psk_of

OWN, NEXT, SHARED = map(Identity.key_name, ("tpk-1", "tpk-2", "alices"))
HOUR, DAY = 3600 * NS, 86400 * NS
ALONE = "EFGHIJLNO"
"""The flags of a ticket that its initiator makes, with a key shared with the KMS."""


def rotate(world: World, name: Identity = NEXT, party: Identity | None = None) -> None:
    world.store.add_tpk(Tpk(name, b"n" * 32, party))


def names(world: World) -> list[str]:
    return [str(key.name) for key in world.store.tpks()]


def until(world: World, name: Identity = OWN) -> int:
    key = world.store.tpk(name)
    assert key is not None
    assert key.until_ns is not None
    return key.until_ns


def leaked(world: World, validity: int, flags: str = "DEFGHIJNO", key: Identity = OWN) -> bytes:
    """A call with a ticket that somebody with a key of the KMS makes, valid for a time from now."""
    found, now = world.store.tpk(key), world.clock()
    octets = b"t" * 32 if found is None else found.key
    policy = replace(
        world.policy(flags),
        valid_from=Timestamp.at(now, TsType.NTP_UTC_32),
        valid_to=Timestamp.at(now + validity, TsType.NTP_UTC_32),
    )
    keys = make_keys(world.env, wanted_keys(policy))
    if TicketFlag.D in policy.flags:
        ticket, handed_out = make_ticket(world.env, policy.granted(), keys, octets, key)
        return world.call(HeldTicket(ticket, policy.granted(), handed_out))
    return world.call(create_ticket(world.env, policy.granted(), keys, octets, key))


def resolve(world: World, call: bytes) -> None:
    world.resolved(call)


def test_a_key_goes_with_the_last_of_its_tickets(world: World) -> None:
    call = world.call(world.held())
    assert until(world) >= world.clock.now + HOUR - NS
    rotate(world)
    resolve(world, call)
    assert names(world) == ["tpk-1", "tpk-2"]
    world.clock.now += HOUR + 3 * 60 * NS
    resolve(world, world.call(world.held()))  # the KMS looks for it beside any message
    assert names(world) == ["tpk-2"]


def test_without_tickets_it_goes_at_once(world: World) -> None:
    rotate(world)
    world.clock.now += 60 * NS
    with pytest.raises(Refused, match=r"retired|unknown"):
        resolve(world, leaked(world, HOUR))
    assert names(world) == ["tpk-2"]


def test_a_rotated_key_makes_no_ticket_that_lasts_longer(world: World) -> None:
    world.held()
    rotate(world)
    with pytest.raises(Refused, match="longer than any ticket"):
        resolve(world, leaked(world, 2 * HOUR))
    with pytest.raises(Refused, match="longer than any ticket"):
        resolve(world, leaked(world, DAY, "DEFGHIJNO"))


def test_a_key_is_retired_before_anyone_looks(world: World) -> None:
    """Forgetting needs a write, and waits for one; refusing does not."""
    world.held()
    rotate(world)
    found = world.store.tpk(OWN)
    assert found is not None
    assert not found.is_retired(until(world))
    assert found.is_retired(until(world) + 1)
    assert not replace(found, current=True).is_retired(until(world) + DAY)


def test_a_leaked_key_is_removed_at_once(world: World) -> None:
    call = world.call(world.held())
    with pytest.raises(StateError, match="kms tpk rotate"):
        world.store.remove_tpk(OWN)
    rotate(world)
    world.store.remove_tpk(OWN)
    for raw in (call, leaked(world, 60 * NS)):
        with pytest.raises(Refused, match="unknown"):
            resolve(world, raw)
    with pytest.raises(StateError, match="no key"):
        world.store.remove_tpk(OWN)


def test_a_shared_key_lasts_for_tickets_that_the_kms_does_not_know(world: World) -> None:
    rotate(world, SHARED, ALICE)
    resolve(world, leaked(world, HOUR, ALONE, SHARED))
    rotate(world, NEXT, ALICE)
    resolve(world, leaked(world, HOUR, ALONE, SHARED))
    assert until(world, SHARED) <= world.clock.now + DAY
    world.clock.now += DAY - HOUR
    with pytest.raises(Refused, match="longer than any ticket"):
        resolve(world, leaked(world, 2 * HOUR, ALONE, SHARED))
    world.clock.now += 2 * HOUR
    with pytest.raises(Refused, match="unknown"):
        resolve(world, leaked(world, 60 * NS, ALONE, SHARED))
    assert str(SHARED) not in names(world)


def test_shared_keys_go_with_their_user(world: World) -> None:
    """The next user of that name has nothing of the first."""
    rotate(world, SHARED, ALICE)
    rotate(world, NEXT, ALICE)
    rotate(world, Identity.key_name("carols"), CAROL)
    call = leaked(world, HOUR, ALONE, SHARED)
    world.store.enable(ALICE, False)
    with pytest.raises(Refused, match="disabled"):
        resolve(world, call)
    world.store.enable(ALICE, True)
    resolve(world, call)
    world.store.remove_user(ALICE)
    world.store.add_user(ALICE, psk_of(BOB))
    assert names(world) == ["carols", "tpk-1"]
    with pytest.raises(Refused):
        resolve(world, leaked(world, HOUR, ALONE, SHARED))


def test_rotated_keys_of_an_earlier_version(world: World) -> None:
    """How long their tickets are valid is not known: as long as the policy allows."""
    call = world.call(world.held())
    rotate(world)
    with world.store.transaction() as db:
        db.execute("UPDATE tpks SET until_ns = NULL")
    resolve(world, call)
    world.clock.now += 3600 * NS // 2
    resolve(world, call)
    assert until(world) <= world.clock.now + DAY
    world.clock.now += DAY + HOUR
    world.held()
    assert names(world) == ["tpk-2"]


def test_ends_are_recorded_by_the_minute(world: World) -> None:
    """A busy KMS does not write one row with every ticket."""
    ends = {until(world) for _ in range(20) if world.held()}
    assert len(ends) <= 2
    assert all(end % (60 * NS) == 0 for end in ends)
