"""Who is disabled or removed: nothing of theirs is granted, made or resolved any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

import pytest

from mikeytool.exchange.environment import NS
from mikeytool.exchange.offline_tickets import create_ticket
from mikeytool.exchange.profile import PROFILE_128
from mikeytool.exchange.request import HeldTicket, accept_request_resp, request_init
from mikeytool.exchange.ticket import BaseTicket
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.kms.grant import make_keys, wanted_keys
from mikeytool.kms.kms_policy import KmsPolicy
from mikeytool.kms.service import handle
from mikeytool.kms.store.records import Tpk
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo, KeyType, TicketFlag, TsType
from mikeytool.wire.timestamp import Timestamp
from tests.world import ALICE, BOB, FORKING, KMS, PLAIN, World, psk_of

DESK = Identity.from_text("sip:desk@example.com")
ROOM = Identity.from_text("sip:room7@conf.example.com")
ALICES = Tpk(Identity.key_name("alices"), b"a" * 32, ALICE)
BOBS = Tpk(Identity.key_name("bobs"), b"b" * 32, BOB)
HALF = "DFGHJNO"

Out = Callable[[Store, Identity], None]


def disable(store: Store, who: Identity) -> None:
    store.enable(who, False)


def remove(store: Store, who: Identity) -> None:
    store.remove_user(who)


OUT = pytest.mark.parametrize("out", [disable, remove])


def made(world: World, flags: str = "EFGHIJLNO", **changes: Any) -> HeldTicket:
    """A ticket that Alice makes with the key that she shares with the KMS (mode 3)."""
    policy = replace(world.policy(), flags=TicketFlag.from_letters(flags), **changes)
    keys = make_keys(world.env, wanted_keys(policy))
    return create_ticket(world.env, policy, keys, ALICES.key, ALICES.name)


def in_another_name(world: World) -> HeldTicket:
    """A ticket that the desk requests as a room, which is no user."""
    world.store.add_user(DESK, psk_of(DESK), Identity.key_name("d"), ["sip:*@conf.example.com"])
    init = request_init(
        world.env,
        PROFILE_128,
        world.policy(initiator=ROOM),
        initiator=ROOM,
        kms=KMS,
        psk=psk_of(DESK),
        psk_id=Identity.key_name("d"),
    )
    return accept_request_resp(world.env, init, psk_of(DESK), world.handled(init.raw)).held


@OUT
def test_tickets_made_with_a_key_of_theirs(world: World, out: Out) -> None:
    world.store.add_tpk(ALICES)
    call = world.call(made(world))
    world.resolved(call)
    out(world.store, ALICE)
    for one in (call, world.call(made(world))):
        with pytest.raises(Refused, match=f"{ALICE}|{ALICES.name}, which is unknown"):
            world.resolved(one)


@OUT
def test_tickets_that_they_requested(world: World, out: Out) -> None:
    call = world.call(world.held())
    world.resolved(call)
    out(world.store, ALICE)
    with pytest.raises(Refused, match="requester of the ticket sip:alice@"):
        world.resolved(call)


@OUT
def test_tickets_that_they_requested_in_another_name(world: World, out: Out) -> None:
    call = world.call(in_another_name(world), caller=ROOM)
    world.resolved(call)
    out(world.store, DESK)
    with pytest.raises(Refused, match="requester of the ticket sip:desk@"):
        world.resolved(call)


@OUT
def test_no_new_ticket_is_protected_with_a_key_of_theirs(world: World, out: Out) -> None:
    world.store.add_tpk(BOBS)
    held = world.held(HALF)
    assert TicketFlag.E not in held.policy.flags
    out(world.store, BOB)
    again = world.held(HALF)
    assert TicketFlag.E in again.policy.flags
    assert BaseTicket.of(again.ticket).tpk_id == world.store.tpk().name  # type: ignore[union-attr]


@OUT
def test_what_is_under_way(world: World, monkeypatch: pytest.MonkeyPatch, out: Out) -> None:
    """A message that was verified before its sender was shut out is not answered after."""
    check_new = Store.check_new

    def overtake(store: Store, *how: Any) -> None:
        out(store, ALICE)
        check_new(store, *how)

    init = world.asked(world.policy())
    monkeypatch.setattr(Store, "check_new", overtake)
    refusal = handle(world.store, world.env, init).refusal
    assert refusal is not None
    assert str(ALICE) in str(refusal)


def test_a_key_that_is_replaced_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the user was removed, and another one has the name now."""

    def rekey(store: Store) -> None:
        store.rekey(ALICE, b"n" * 32)

    def again(store: Store) -> None:
        store.remove_user(ALICE)
        store.add_user(ALICE, b"n" * 32)

    check_new = Store.check_new
    for change in (rekey, again):
        init = world.asked(world.policy())

        def overtake(store: Store, *how: Any, change: Any = change) -> None:
            change(store)
            check_new(store, *how)

        with monkeypatch.context() as patched:
            patched.setattr(Store, "check_new", overtake)
            handled = handle(world.store, world.env, init)
        assert handled.answer is None
        assert handled.refusal is not None
        assert handled.refusal.error_no == ErrorNo.AUTH_FAILURE
        world.store.rekey(ALICE, psk_of(ALICE))


def test_who_requested_is_forgotten_when_the_ticket_expires(world: World) -> None:
    def requested() -> dict[bytes, bytes]:
        with world.store.snapshot() as db:
            return dict(db.execute("SELECT ticket, who FROM requested").fetchall())

    def noted(held: HeldTicket) -> bytes | None:
        return requested().get(sha256(held.ticket.ticket_data).digest())

    first = world.held()
    assert noted(first) == ALICE.data
    world.clock.now += 3601 * NS
    second = world.held()
    assert noted(first) is None
    assert noted(second) == ALICE.data


def test_who_comes_back_is_not_in_the_groups_of_before(world: World) -> None:
    team = Identity.from_text("sip:team@example.com")
    world.store.add_members(team, [ALICE, BOB])
    world.store.remove_user(BOB)
    world.store.add_user(BOB, psk_of(BOB))
    assert world.store.groups() == {team: [ALICE]}


# --- tickets that users make are held to the policy, too ---------------------------------------


def test_a_ticket_that_would_not_have_been_granted(world: World) -> None:
    world.store.add_tpk(ALICES)
    call = world.call(made(world))
    plain = world.call(made(world, "EFGHJLNO"))
    group_key = world.call(made(world, keys=(wanted_key(KeyType.GTGK, 16, 0),)))
    cases: tuple[tuple[dict[str, Any], bytes, str], ...] = (
        ({"max_validity": 3599}, call, "3599 s"),
        ({"require_forking": True}, plain, "forking"),
        ({"key_types": ("tgk",)}, group_key, "gtgk"),
    )
    for changes, refused, words in cases:
        before = KmsPolicy(max_validity=3600)
        world.store.set_policy(**asdict(before))
        world.resolved(refused)
        world.store.set_policy(**asdict(replace(before, **changes)))
        with pytest.raises(Refused, match=words):
            world.resolved(refused)


def test_a_ticket_without_beginning_or_end(world: World) -> None:
    world.store.add_tpk(ALICES)
    later = Timestamp.at(world.clock() + 2 * 86400 * NS, TsType.NTP_UTC_32)
    for changes in ({"valid_to": None}, {"valid_from": None, "valid_to": later}):
        with pytest.raises(Refused, match="longer"):
            world.resolved(world.call(made(world, **changes)))
    world.resolved(world.call(made(world, valid_from=None)))


def test_what_the_kms_granted_stays_good(world: World) -> None:
    """Its own tickets were held to the policy when they were made."""
    calls = [world.call(world.held(flags)) for flags in (FORKING, PLAIN)]
    world.store.set_policy(max_validity=60, require_forking=True, key_types=("gtgk",))
    for call in calls:
        world.resolved(call)
