"""A peer speaks for the identities of its patterns and for nobody else: not for our users, not
for those of a third KMS, whichever way a message or a ticket comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from mikeytool.exchange.forwarding import forward_resolve_init
from mikeytool.exchange.profile import PROFILE_256
from mikeytool.exchange.request import HeldTicket
from mikeytool.exchange.resolve import accept_resolve_resp, read_resolve_init, resolve_resp
from mikeytool.exchange.ticket import make_ticket
from mikeytool.kms import foreign_tickets
from mikeytool.kms.authorization import SpeaksForNobody
from mikeytool.kms.grant import make_keys, wanted_keys
from mikeytool.kms.group_queries import SharedKey, answer, authorization, target
from mikeytool.kms.service import handle
from mikeytool.kms.store.records import Handled, Peer
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo
from tests.kms.test_foreign_tickets import Net, asking, call, kms_id, shared
from tests.world import ALICE, BOB, EVE, FORKING, KMS, PLAIN, World, psk_of

MALLORY = Identity.from_text("sip:mallory@evil.example")
CAROL = Identity.from_text("sip:carol@third.example")
EVIL, THIRD = kms_id(1), kms_id(2)
EVILS, THIRDS, OURS = "sip:*@evil.example", "sip:*@third.example", "sip:*@example.com"


@pytest.fixture
def world(file_world: World) -> World:
    """KMSs that ask each other by their files."""
    return file_world


@pytest.fixture
def net(world: World) -> Iterator[Net]:
    """Ours (0), an evil one that claims everybody as its user (1), and a third (2)."""
    made = Net(world, 3, [], dan=1)
    made.introduce(0, 1, EVILS)
    made.introduce(0, 2, THIRDS)
    made.introduce(1, 0, "*")
    made.introduce(1, 2, "*")
    made.introduce(2, 0, OURS)
    made.introduce(2, 1, EVILS)
    made.stores[2].add_user(CAROL, psk_of(CAROL))
    made.stores[1].add_user(MALLORY, psk_of(MALLORY))
    yield made
    for store in made.stores:
        store.close()


def forged(
    net: Net,
    initiator: Identity | None,
    called: Identity,
    flags: str = FORKING,
    names: Identity = EVIL,
) -> bytes:
    """A call with a ticket that the evil KMS makes, in the name of anybody."""
    world, key = net.world, net.stores[1].tpk()
    assert key is not None
    policy = world.policy(flags, responders=(called,), kms=names, initiator=initiator)
    keys = make_keys(world.env, wanted_keys(policy))
    ticket, handed_out = make_ticket(world.env, policy.granted(), keys, key.key, key.name)
    held = HeldTicket(ticket, policy.granted(), handed_out)
    return world.call(held, caller=initiator or ALICE, called=called)


def resolved_by(net: Net, number: int, raw: bytes, by: Identity) -> Handled:
    init = asking(net.world, raw, kms_id(number), by)
    handled = handle(net.stores[number], net.world.env, init)
    if handled.refusal is None:
        accept_resolve_resp(
            net.world.env, read_resolve_init(init), psk_of(by), handled.answer or b""
        )
    return handled


def refused(handled: Handled) -> str:
    assert handled.refusal is not None
    return str(handled.refusal)


@pytest.mark.parametrize("flags", [FORKING, PLAIN])
def test_a_peer_calls_for_its_own_users(net: Net, flags: str) -> None:
    """What the attacks below are refused for, and no other reason."""
    assert resolved_by(net, 0, forged(net, MALLORY, BOB, flags), BOB).refusal is None


@pytest.mark.parametrize("patterns", [(EVILS,), ("*",)])
@pytest.mark.parametrize("flags", [FORKING, PLAIN])
def test_a_peer_does_not_call_for_our_users(
    net: Net, flags: str, patterns: tuple[str, ...]
) -> None:
    net.world.store.set_patterns(EVIL, patterns)
    assert "must ask here" in refused(resolved_by(net, 0, forged(net, ALICE, BOB, flags), BOB))
    entry = list(net.world.store.log())[-1]
    assert (entry.user, entry.outcome) == (str(BOB), "refused")


def test_nor_for_our_groups_acted_names_and_the_kms(net: Net) -> None:
    team, room = map(Identity.from_text, ("sip:team@any.example", "sip:room@any.example"))
    net.world.store.set_patterns(EVIL, ["*"])
    net.world.store.add_members(team, [ALICE])
    net.world.store.add_user(
        Identity.from_text("sip:desk@any.example"), b"d" * 16, act_as=["sip:room@*"]
    )
    for name in (team, room, KMS):
        assert refused(resolved_by(net, 0, forged(net, name, BOB), BOB))


def test_nor_for_those_of_a_third_kms(net: Net) -> None:
    said = refused(resolved_by(net, 0, forged(net, CAROL, BOB), BOB))
    assert "does not speak for sip:carol@third.example" in said
    # The third one is not asked for a ticket that names the evil one.
    assert net.stores[2].count_log() == 0


def test_a_ticket_that_names_no_initiator(net: Net) -> None:
    assert "names no initiator" in refused(resolved_by(net, 0, forged(net, None, BOB, PLAIN), BOB))


def test_a_ticket_that_names_a_kms_nobody_knows_goes_to_who_speaks_for_its_initiator(
    net: Net,
) -> None:
    """The evil one, which has its key, is not asked for a call of Carol's."""
    raw = forged(net, CAROL, BOB, names=kms_id(9))
    before = net.stores[1].count_log()
    assert refused(resolved_by(net, 0, raw, BOB))
    assert net.stores[1].count_log() == before
    assert net.stores[2].count_log() == 1


def test_a_peer_does_not_answer_for_those_of_a_third_kms(net: Net) -> None:
    """Alice calls Carol; the evil KMS has a Carol, too."""
    raw = net.world.call(net.world.held(responders=(CAROL,)), called=CAROL)
    net.stores[1].add_user(CAROL, psk_of(CAROL))
    assert refused(resolved_by(net, 1, raw, CAROL))
    said = list(net.world.store.log())[-1]
    assert said.reason.startswith(f"the KMS {EVIL} does not speak for {CAROL}")
    assert resolved_by(net, 2, raw, CAROL).refusal is None


def test_every_hop_counts(net: Net) -> None:
    """The third KMS may speak for all, but not with what it has of the evil one."""
    net.world.store.set_patterns(THIRD, ["*"])
    raw = net.world.call(net.world.held(responders=(CAROL,)), called=CAROL)

    def sent(path: list[Identity]) -> Handled:
        init = read_resolve_init(asking(net.world, raw, EVIL, CAROL))
        handed = forward_resolve_init(
            net.world.env, init, responder=CAROL, path=path, kms=KMS, psk=shared(0, 2)
        )
        return handle(net.world.store, net.world.env, handed.raw)

    assert f"{EVIL} does not speak for {CAROL}" in refused(sent([EVIL, THIRD]))
    assert sent([THIRD]).refusal is None


@pytest.mark.parametrize("path", [[EVIL] * 40, [kms_id(n) for n in range(20, 29)], ["long"]])
def test_a_path_of_many_kmss_or_of_a_long_name(net: Net, path: list[Identity | str]) -> None:
    net.world.store.set_patterns(THIRD, ["*"])
    raw = net.world.call(net.world.held(responders=(CAROL,)), called=CAROL)
    passed = [Identity(b"sip:" + b"x" * 1021) if one == "long" else one for one in path]
    init = read_resolve_init(asking(net.world, raw, EVIL, CAROL))
    handed = forward_resolve_init(
        net.world.env,
        init,
        responder=CAROL,
        path=[*passed, THIRD],  # type: ignore[list-item]
        kms=KMS,
        psk=shared(0, 2),
    )
    assert re.search(
        "more than 4 KMSs|1025 octets", refused(handle(net.world.store, net.world.env, handed.raw))
    )
    assert list(net.world.store.log())[-1].outcome == "refused"


def test_a_peer_does_not_act_as_itself_for_another_name(net: Net) -> None:
    """A ticket for the KMS of Mallory is none for Mallory."""
    raw = net.world.call(net.world.held(responders=(EVIL,)), called=EVIL)
    assert refused(resolved_by(net, 1, raw, MALLORY))
    assert "may not resolve" in list(net.world.store.log())[-1].reason


def test_keys_forked_for_another_responder(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or Bob would answer in the name of whomever the evil KMS likes."""
    honest: Any = resolve_resp
    monkeypatch.setattr(
        "mikeytool.kms.received.resolve_resp", lambda *given: honest(*given[:-1], CAROL)
    )
    raw = forged(net, MALLORY, BOB)
    assert "forked the keys for sip:carol" in refused(resolved_by(net, 0, raw, BOB))


def test_a_peer_without_patterns_is_refused_until_it_has_some(net: Net) -> None:
    """As in a store of an earlier version."""
    with net.world.store.transaction() as db:
        db.execute("DELETE FROM speaks_for")
    raw = forged(net, MALLORY, BOB)
    handled = resolved_by(net, 0, raw, BOB)
    assert isinstance(handled.refusal, SpeaksForNobody)
    assert f"kms peer set {net.world.store.where} {EVIL} --for" in str(handled.refusal)
    ours = net.world.call(net.world.held(responders=(MALLORY,)), called=MALLORY)
    assert refused(resolved_by(net, 1, ours, MALLORY))
    assert "peer set" in list(net.world.store.log())[-1].reason
    net.world.store.set_patterns(EVIL, [EVILS])
    for number, message, who in ((0, raw, BOB), (1, ours, MALLORY)):
        assert resolved_by(net, number, message, who).refusal is None


def test_peers_ask_nothing_about_groups(net: Net) -> None:
    net.world.store.add_members(Identity.from_text("sip:team@example.com"), [ALICE, MALLORY])
    what = target("member", ALICE)
    for name in (EVIL, MALLORY):
        header, _ = authorization(SharedKey(name, shared(0, 1)), what, net.world.clock.now)
        with pytest.raises(Refused, match="not known"):
            answer(net.world.store, header, what, net.world.clock.now)


def test_members_of_our_groups_who_are_users_elsewhere(net: Net) -> None:
    """They are members as their own KMS knows them, not as another claims."""
    team = Identity.from_text("sip:team@example.com")
    net.world.store.add_members(team, [CAROL])
    raw = net.world.call(net.world.held(responders=(team,)), called=team)
    net.stores[1].add_user(CAROL, psk_of(CAROL))
    assert refused(resolved_by(net, 1, raw, CAROL))
    assert resolved_by(net, 2, raw, CAROL).refusal is None


def test_what_a_peer_must_speak_for(net: Net) -> None:
    for patterns in ((), ("sip: *",), ("",), ("x" * 1025,)):
        with pytest.raises(UsageError):
            net.world.store.set_patterns(EVIL, patterns)
        with pytest.raises(UsageError):
            net.world.store.add_peer(Peer(kms_id(7), "x", b"p" * 16, patterns))
    assert net.world.store.peers()[0].patterns == (EVILS,)


def test_the_closest_pattern_goes_first(net: Net) -> None:
    peer = Peer(EVIL, "x", b"p" * 16, ("sip:*", "sip:*@evil.example", "sip:m*"))
    assert [peer.closeness(who) for who in (MALLORY, EVE, KMS)] == [18, 5, 5]
    assert peer.closeness(Identity.from_text("tel:+1")) == 0


def test_seven_kmss_that_know_one_another(world: World) -> None:
    """A ticket of none of them costs a bounded number of messages, however many they are."""
    pairs = [(one, other) for one in range(1, 8) for other in range(one + 1, 8)]
    net = Net(world, 8, pairs, dan=1)
    raw = call(world)  # of KMS 0, which nobody knows
    seen = 0
    honest = foreign_tickets.Forwarder._sent

    def counted(self: foreign_tickets.Forwarder, peer: Peer, init: bytes) -> bytes:
        nonlocal seen
        seen += 1
        return honest(self, peer, init)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foreign_tickets.Forwarder, "_sent", counted)
        _, handled = net.asks(raw)
    assert handled.refusal is not None
    assert handled.refusal.error_no == ErrorNo.INVALID_TICKET
    assert 0 < seen <= foreign_tickets.MAX_ASKED * 4
    assert sum(net.logs()[1:]) == seen + 1
    for store in net.stores:
        store.close()


def test_names_of_users_groups_and_kmss_are_apart(net: Net) -> None:
    store = net.world.store
    group = Identity.from_text("sip:team@example.com")
    store.add_members(group, [ALICE])
    for taken in (ALICE, EVIL, KMS):
        with pytest.raises(Exception, match="name"):
            store.add_members(taken, [BOB])
    for taken in (group, EVIL, KMS):
        with pytest.raises(Exception, match="name"):
            store.add_user(taken, b"k" * 16)
    for taken in (group, ALICE, KMS):
        with pytest.raises(Exception, match=r"named|not another"):
            store.add_peer(Peer(taken, "x", b"p" * 16, ("*",)))
    assert store.groups() == {group: [ALICE]}


BAD = [
    "sip: bad",
    "sip:b\nad",
    "sip:b\u202ead",
    "",
    "x" * 1025,
    b"sip:\xff".decode(errors="surrogateescape"),
]


@pytest.mark.parametrize("text", BAD)
def test_names_that_are_none(net: Net, text: str) -> None:
    store, bad = net.world.store, Identity.from_text(text)
    with pytest.raises(UsageError):
        store.add_user(bad, b"k" * 16)
    with pytest.raises(UsageError):
        store.add_user(Identity.from_text("sip:new@x"), b"k" * 16, act_as=[text])
    for group, member in ((bad, BOB), (Identity.from_text("sip:team@x"), bad)):
        with pytest.raises(UsageError):
            store.add_members(group, [member])
    with pytest.raises(UsageError):
        store.add_peer(Peer(bad, "x", b"p" * 16, ("*",)))
    with pytest.raises(UsageError):
        Store.init(net.world.path(), bad, PROFILE_256, Tpk(Identity.key_name("t"), b"t" * 32))
