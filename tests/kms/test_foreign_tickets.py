"""Several KMSs: tickets are resolved with the help of the one that issued them
(RFC 6043 10, interpretation 38).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mikeytool.exchange.forwarding import forward_resolve_init
from mikeytool.exchange.profile import PROFILE_256
from mikeytool.exchange.resolve import (
    ResolvedTicket,
    accept_resolve_resp,
    read_resolve_init,
    resolve_init,
)
from mikeytool.exchange.responder import verify_transfer_init
from mikeytool.exchange.transfer import TransferInit, read_transfer_init
from mikeytool.kms.foreign_tickets import PeerUnreachable
from mikeytool.kms.kms_policy import Rule
from mikeytool.kms.service import handle
from mikeytool.kms.store.records import Handled, Peer
from mikeytool.kms.store.seal import key_path
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo
from tests.world import ALICE, BOB, FORKING, KMS, PLAIN, World, psk_of

DAN = Identity.from_text("sip:dan@far.example")
"""A user of another KMS, who is called by Alice."""


def kms_id(number: int) -> Identity:
    return KMS if number == 0 else Identity.from_text(f"sip:kms{number}.example.com")


def shared(one: int, other: int) -> bytes:
    return bytes([100 + min(one, other), 100 + max(one, other)]) * 16


def asking(world: World, call: bytes, kms: Identity | None = None, by: Identity = DAN) -> bytes:
    """RESOLVE_INIT for the ticket of a call."""
    init = read_transfer_init(call)
    return resolve_init(
        world.env,
        init.incoming.profile,
        init.ticket,
        responder=by,
        kms=kms or kms_id(1),
        psk=psk_of(by),
    ).raw


@pytest.fixture
def world(file_world: World) -> World:
    """KMSs that ask each other by their files."""
    return file_world


class Net:
    """KMSs in a row, of which 0 is Alice's; `pairs` know each other. Dan is a user of `dan`."""

    def __init__(self, world: World, count: int, pairs: list[tuple[int, int]], dan: int) -> None:
        self.world, self.dan = world, dan
        self.stores = [world.store]
        for number in range(1, count):
            tpk = Tpk(Identity.key_name(f"tpk-of-{number}"), bytes([number]) * 32)
            path = world.folder / f"kms{number}.db"
            self.stores.append(Store.init(path, kms_id(number), PROFILE_256, tpk))
        self.stores[dan].add_user(DAN, psk_of(DAN))
        for one, other in pairs:
            self.introduce(one, other)
            self.introduce(other, one)

    def introduce(self, one: int, to: int, *patterns: str) -> None:
        """KMS `one` learns where `to` is, and for whom it speaks: for everyone by default."""
        place = str(self.stores[to].path)
        peer = Peer(kms_id(to), place, shared(one, to), patterns or ("*",))
        self.stores[one].add_peer(peer)

    def asks(self, call: bytes) -> tuple[bytes, Handled]:
        """Dan asks his KMS for the ticket of a call."""
        init = asking(self.world, call, kms_id(self.dan))
        return init, handle(self.stores[self.dan], self.world.env, init)

    def resolved(self, call: bytes) -> ResolvedTicket:
        init, handled = self.asks(call)
        if handled.refusal is not None:
            raise handled.refusal
        assert handled.answer is not None
        return accept_resolve_resp(
            self.world.env, read_resolve_init(init), psk_of(DAN), handled.answer
        )

    def logs(self) -> list[int]:
        """How many messages each KMS has seen."""
        return [store.count_log() for store in self.stores]


@pytest.fixture
def net(world: World) -> Iterator[Callable[..., Net]]:
    made: list[Net] = []

    def make(*how: Any, **more: Any) -> Net:
        made.append(Net(world, *how, **more))
        return made[-1]

    yield make
    for one in made:
        for store in one.stores:
            store.close()


def call(world: World, flags: str = FORKING) -> bytes:
    return world.call(world.held(flags, responders=(DAN,)), called=DAN)


@pytest.mark.parametrize("flags", [FORKING, PLAIN])
def test_a_ticket_of_another_kms_is_resolved(
    world: World, net: Callable[..., Net], flags: str
) -> None:
    two = net(2, [(0, 1)], dan=1)
    raw = call(world, flags)
    resolved = two.resolved(raw)
    init: TransferInit = read_transfer_init(raw)
    verified = verify_transfer_init(init, resolved, DAN)
    assert verified.initiator == ALICE
    assert resolved.responder == (DAN if "I" in flags else None)
    assert [entry.user for entry in two.stores[1].log()] == [str(DAN)]
    assert [entry.user for entry in two.stores[0].log()][1:] == [f"{DAN} via {kms_id(1)}"]


@pytest.mark.parametrize("hops", [1, 2, 3, 4])
def test_kmss_in_a_row(world: World, net: Callable[..., Net], hops: int) -> None:
    """At most four hops."""
    row = net(hops + 1, [(at, at + 1) for at in range(hops)], dan=hops)
    row.resolved(call(world))


def test_a_fifth_hop_is_refused(world: World, net: Callable[..., Net]) -> None:
    row = net(6, [(at, at + 1) for at in range(5)], dan=5)
    _, handled = row.asks(call(world))
    assert handled.refusal is not None
    assert handled.refusal.error_no == ErrorNo.INVALID_TICKET
    assert handled.answer is not None
    assert row.logs() == [1, 1, 1, 1, 1, 1]  # the first one's is of Alice's request


def test_each_kms_is_asked_once_in_a_ring(world: World, net: Callable[..., Net]) -> None:
    """Nobody in the ring knows the KMS of the ticket."""
    ring = net(4, [(1, 2), (2, 3), (3, 1)], dan=1)
    _, handled = ring.asks(call(world))
    assert handled.refusal is not None
    assert sum(ring.logs()[1:]) <= 5


def test_a_message_that_comes_back_is_refused(world: World, net: Callable[..., Net]) -> None:
    """Each KMS is named once, whatever another one sends."""
    two = net(3, [(0, 1), (1, 2)], dan=1)
    init, _ = two.asks(call(world))
    looping = forward_resolve_init(
        world.env,
        read_resolve_init(init),
        responder=DAN,
        path=[kms_id(1), kms_id(2)],
        kms=kms_id(1),
        psk=shared(1, 2),
    )
    two.stores[1].remove_user(DAN)
    handled = handle(two.stores[1], world.env, looping.raw)
    assert handled.refusal is not None
    assert "already" in str(handled.refusal)


def test_dead_kmss_are_not_waited_for(world: World, net: Callable[..., Net]) -> None:
    dead = net(2, [(0, 1)], dan=1)
    raw = call(world)
    world.store.close()
    world.store.path.rename(world.folder / "away")
    init, handled = dead.asks(raw)
    assert isinstance(handled.refusal, PeerUnreachable)
    with pytest.raises(Refused, match="Error message"):
        accept_resolve_resp(world.env, read_resolve_init(init), psk_of(DAN), handled.answer or b"")


def test_without_time_nobody_is_asked(world: World, net: Callable[..., Net]) -> None:
    two = net(2, [(0, 1)], dan=1)
    init = asking(world, call(world))
    handled = handle(two.stores[1], world.env, init, deadline=time.monotonic())
    assert isinstance(handled.refusal, PeerUnreachable)
    assert "no time" in str(handled.refusal)


def test_a_ticket_that_names_no_kms_is_asked_for_everywhere(
    world: World, net: Callable[..., Net]
) -> None:
    """RFC 6043 10: the responder does not know which KMS issued it."""
    from dataclasses import replace

    from mikeytool.exchange.offline_tickets import create_ticket
    from mikeytool.kms.grant import make_keys, wanted_keys
    from mikeytool.wire.registry import TicketFlag

    three = net(3, [(1, 2), (0, 2)], dan=2)
    world.store.add_tpk(Tpk(Identity.key_name("alices"), b"a" * 32, ALICE))
    policy = replace(
        world.policy(FORKING, responders=(DAN,)),
        kms=None,
        keys=None,
        flags=TicketFlag.from_letters("EFGHIJLNO"),
    )
    keys = make_keys(world.env, wanted_keys(policy))
    held = create_ticket(world.env, policy, keys, b"a" * 32, Identity.key_name("alices"))
    assert three.resolved(world.call(held, called=DAN)).policy.initiator == ALICE


def test_another_kms_does_not_speak_for_our_users(world: World, net: Callable[..., Net]) -> None:
    """Or it could have the keys of every call."""
    two = net(2, [(0, 1)], dan=1)
    two.stores[1].add_user(BOB, psk_of(BOB))
    init = asking(world, world.call(world.held()), by=BOB)
    handled = handle(two.stores[1], world.env, init)
    assert handled.refusal is not None
    assert handled.refusal.error_no == ErrorNo.UNSPECIFIED
    assert [entry.reason for entry in world.store.log()][1:] == [
        "sip:bob@example.com is a user here, and must ask here"
    ]


def test_who_is_not_named_gets_nothing_over_another_kms(
    world: World, net: Callable[..., Net]
) -> None:
    two = net(2, [(0, 1)], dan=1)
    with pytest.raises(Refused) as caught:
        two.resolved(world.call(world.held()))  # it is for Bob
    assert caught.value.error_no == ErrorNo.UNSPECIFIED
    assert "may not resolve" in [entry.reason for entry in world.store.log()][-1]


def test_rules_of_either_kms_count(world: World, net: Callable[..., Net]) -> None:
    two = net(2, [(0, 1)], dan=1)
    raw = call(world)
    two.stores[1].add_rule(Rule(False, str(ALICE), "*"))
    with pytest.raises(Refused, match="rule denies"):
        two.resolved(raw)
    two.stores[1].remove_rule(str(ALICE), "*")
    two.resolved(raw)
    world.store.add_rule(Rule(False, "*", str(DAN)))
    with pytest.raises(Refused):
        two.resolved(raw)


def test_a_kms_that_does_not_know_the_other(world: World, net: Callable[..., Net]) -> None:
    one_sided = net(2, [], dan=1)
    raw = call(world)
    with pytest.raises(Refused, match="kms peer add"):
        one_sided.resolved(raw)
    one_sided.introduce(1, 0)
    with pytest.raises(Refused, match="same key"):
        one_sided.resolved(raw)
    assert one_sided.logs()[0] == 1


def test_a_message_of_another_kms_is_answered_once(world: World, net: Callable[..., Net]) -> None:
    two = net(2, [(0, 1)], dan=1)
    init, _ = two.asks(call(world))
    handed_on = forward_resolve_init(
        world.env,
        read_resolve_init(init),
        responder=DAN,
        path=[kms_id(1)],
        kms=KMS,
        psk=shared(0, 1),
    )
    world.handled(handed_on.raw)
    with pytest.raises(Refused, match="replay"):
        world.handled(handed_on.raw)


@pytest.mark.parametrize("ours", ["group", "acted as"])
def test_another_kms_does_not_speak_for_groups_and_for_whom_our_users_act_as(
    world: World, net: Callable[..., Net], ours: str
) -> None:
    two = net(2, [(0, 1)], dan=1)
    if ours == "group":
        world.store.add_members(DAN, [BOB])
    else:
        world.store.add_user(Identity.from_text("sip:desk@x"), b"d" * 16, act_as=["sip:*@far.*"])
    with pytest.raises(Refused):
        two.resolved(call(world))
    assert "here" in [entry.reason for entry in world.store.log()][-1]


def test_a_kms_that_is_removed_meanwhile_gets_nothing(
    world: World, net: Callable[..., Net], monkeypatch: pytest.MonkeyPatch
) -> None:
    two = net(2, [(0, 1)], dan=1)
    raw = call(world)
    check_new = Store.check_new

    def remove(store: Store, *how: Any) -> None:
        if store.identity == KMS:
            store.remove_peer(kms_id(1))
        check_new(store, *how)

    monkeypatch.setattr(Store, "check_new", remove)
    with pytest.raises(Refused):
        two.resolved(raw)
    # As if its message had come later: nobody knows who sent it.
    assert [entry.outcome for entry in world.store.log()] == ["answered"]


def test_the_environment_names_the_key_of_one_store_alone(
    world: World, net: Callable[..., Net], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer's store is opened with what it says itself."""
    two = net(2, [(0, 1)], dan=1)
    raw = call(world)
    moved = world.folder / "moved"
    key_path(two.stores[1].path).rename(moved)
    monkeypatch.setenv("MIKEYTOOL_SEAL", f"file:{moved}")
    two.stores[1].close()
    two.stores[1] = Store(two.stores[1].path)
    assert two.resolved(raw).policy.initiator == ALICE
