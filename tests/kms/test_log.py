"""The log has every refusal of somebody known and what operators changed, and stays small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from mikeytool.exchange.environment import NS
from mikeytool.exchange.profile import PROFILE_128
from mikeytool.exchange.request import request_init
from mikeytool.kms.group_queries import Forbidden, SharedKey, answer, authorization, target
from mikeytool.kms.kms_policy import Rule
from mikeytool.kms.service import handle
from mikeytool.kms.store import exchanges, log_entries
from mikeytool.kms.store.exchanges import Exchange
from mikeytool.kms.store.records import LogEntry, Peer
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from tests.world import ALICE, BOB, CAROL, KMS, START, World, psk_of

MINUTE, DAY = 60 * NS, 86400 * NS


def add(world: World, *entries: LogEntry) -> None:
    with world.store.exchange() as exchange:
        for entry in entries:
            exchange.log(entry)


def entry(at: int, who: str = "w", reason: str = "r", outcome: str = "refused") -> LogEntry:
    return LogEntry(at, "request", who, "b", outcome, reason)


def counts(world: World) -> list[int]:
    return [one.count for one in world.store.log()]


def counted_writes(monkeypatch: pytest.MonkeyPatch) -> list[Store]:
    """An entry for every transaction from now on that is not undone."""
    writes: list[Store] = []
    honest = Store.exchange

    @contextmanager
    def counted(store: Store) -> Iterator[Exchange]:
        with honest(store) as exchange:
            yield exchange
        writes.append(store)

    monkeypatch.setattr(Store, "exchange", counted)
    return writes


def test_texts_are_cut(world: World) -> None:
    add(world, LogEntry(START, "request", "w" * 9000, "\u00fc" * 9000, "answered", "r" * 1024))
    (found,) = world.store.log()
    for text in (found.user, found.about):
        assert len(text.encode()) <= log_entries.MAX_TEXT
        assert text.endswith(" [...]")
    assert found.reason == "r" * 1024


def test_the_same_refusal_is_counted(world: World) -> None:
    start = START // MINUTE * MINUTE
    add(world, *(entry(start + at) for at in range(50)))
    add(world, entry(start + MINUTE), entry(start, who="x"), entry(start, reason="s"))
    add(world, entry(start, outcome="answered"), entry(start, outcome="answered"))
    assert counts(world) == [50, 1, 1, 1, 1, 1]


def test_refusals_of_one_identity_are_few_rows(world: World) -> None:
    """Whatever they make of the reason."""
    start = START // MINUTE * MINUTE
    add(world, *(entry(start + at, reason=f"reason {at}") for at in range(100)))
    assert len(counts(world)) == log_entries.MAX_REFUSALS
    assert sum(counts(world)) == 100
    assert list(world.store.log())[-1].reason == "further refusals in this minute"


def test_a_user_with_many_refusals(world: World) -> None:
    world.store.add_rule(Rule(False, str(ALICE), "*"))
    world.clock.now = START // MINUTE * MINUTE
    for number in range(30):
        to = Identity.from_text(f"sip:{number}{'x' * 900}@example.com")
        assert handle(world.store, world.env, world.asked(world.policy(responders=(to,)))).refusal
    assert len(counts(world)) <= log_entries.MAX_REFUSALS
    assert sum(counts(world)) == 30


def test_clock_skew_and_replays_of_a_known_user(world: World) -> None:
    message = world.asked(world.policy())
    world.handled(message)
    world.clock.now += MINUTE
    for _ in range(2):
        with pytest.raises(Refused, match="replay"):
            world.handled(message)
    world.clock.now += 10 * MINUTE
    for _ in range(4):
        with pytest.raises(Refused):
            world.handled(message)
    found = list(world.store.log())
    assert [(one.user, one.outcome, one.count) for one in found] == [
        (str(ALICE), "answered", 1),
        (str(ALICE), "refused", 2),
        (str(ALICE), "refused", 4),
    ]
    assert "replay" in found[1].reason
    assert found[2].reason


def test_captured_messages_cost_few_writes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    message = world.asked(world.policy())
    world.handled(message)
    writes = counted_writes(monkeypatch)
    world.clock.now = (START // MINUTE + 2) * MINUTE
    for _ in range(100):
        with pytest.raises(Refused, match="replay"):
            world.handled(message)
    assert len(writes) == 7  # 1, 2, 4, 8, 16, 32, 64
    assert counts(world) == [1, 64]


def test_messages_above_the_rate(world: World) -> None:
    world.store.set_policy(rate=2)
    world.clock.now = START // MINUTE * MINUTE
    for number in range(6):
        assert bool(handle(world.store, world.env, world.asked(world.policy())).refusal) == (
            number >= 2
        )
    assert counts(world)[:2] == [1, 1]
    assert sum(counts(world)[2:]) >= 3


def test_a_key_used_for_another_name(world: World) -> None:
    """The key is Alice's, and so is the entry; nobody else could have made it."""
    message = request_init(
        world.env,
        PROFILE_128,
        world.policy(),
        initiator=BOB,
        kms=KMS,
        psk=psk_of(ALICE),
        psk_id=ALICE,
    ).raw
    with pytest.raises(Refused, match="is not that of"):
        world.handled(message)
    assert [one.outcome for one in world.store.log()] == ["refused"]


def test_queries_about_groups(world: World) -> None:
    query, now = target("member", BOB), world.clock.now
    header, _ = authorization(SharedKey(ALICE, psk_of(ALICE)), query, now)
    with pytest.raises(Forbidden):
        answer(world.store, header, query, now)
    with pytest.raises(Forbidden, match="clock"):
        answer(world.store, header, query, now + DAY)
    assert [(one.exchange, one.user) for one in world.store.log()] == [("groups", str(ALICE))] * 2


def signed_with(world: World, who: Identity, psk: bytes, kms: Identity = KMS) -> bytes:
    """REQUEST_INIT in somebody's name, under any key."""
    policy = world.policy(initiator=who)
    return request_init(world.env, PROFILE_128, policy, initiator=who, kms=kms, psk=psk).raw


def test_messages_that_do_not_verify_in_the_name_of_a_user(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are logged under that name, and cost few writes however many come."""
    writes = counted_writes(monkeypatch)
    world.clock.now = START // MINUTE * MINUTE
    for _ in range(100):
        with pytest.raises(Refused):
            world.handled(signed_with(world, ALICE, b"x" * 32))
    (found,) = world.store.log()
    assert (found.user, found.outcome, found.count) == (str(ALICE), "refused", 64)
    assert found.reason.endswith("; anyone may have sent it")
    assert len(writes) == 7


def test_whatever_strangers_put_into_messages(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another reason each, in the names of all users: a bounded number of writes and rows."""
    monkeypatch.setattr(log_entries, "_MAX_COUNTED", 15)
    writes = counted_writes(monkeypatch)
    world.clock.now = START // MINUTE * MINUTE
    for number in range(200):
        who = (ALICE, BOB, CAROL)[number % 3]
        refusal = LogEntry(world.clock(), "request", str(who), "", "refused", f"why {number}")
        world.store.log_refused(refusal)
    assert len(writes) <= 15 + 8
    assert len(counts(world)) <= 16
    assert sum(counts(world)) >= 100


def test_unknown_names_and_other_messages(world: World) -> None:
    with pytest.raises(Refused):
        world.handled(signed_with(world, Identity.from_text("sip:nobody@x"), b"x" * 32))
    assert counts(world) == []
    with pytest.raises(Refused, match="a KMS takes"):
        world.handled(world.call(world.held()))
    assert [(one.user, one.exchange) for one in world.store.log()][1:] == [(str(ALICE), "other")]


def test_messages_for_another_kms(world: World) -> None:
    """The sender is known by the key, and is told; nothing counts as seen."""
    other = Identity.from_text("sip:kms.example.net")
    message = signed_with(world, ALICE, psk_of(ALICE), other)
    handled = handle(world.store, world.env, message)
    assert handled.answer is not None
    (found,) = world.store.log()
    assert (found.user, found.outcome) == (str(ALICE), "refused")
    assert found.reason == f"the message is for the KMS {other}; this is {KMS}"


def test_queries_about_groups_that_do_not_verify(world: World) -> None:
    query, now = target("member", BOB), world.clock.now
    for name in (ALICE, Identity.from_text("sip:nobody@x")):
        header, _ = authorization(SharedKey(name, b"x" * 32), query, now)
        with pytest.raises(Refused):
            answer(world.store, header, query, now)
    assert [(one.exchange, one.user) for one in world.store.log()] == [("groups", str(ALICE))]


def test_old_entries_go_in_small_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_entries, "_AT_ONCE", 10)
    add(world, *(entry(START - 100 * DAY + at, outcome="answered") for at in range(25)))
    add(world, entry(START - 80 * DAY))
    left = []
    for _ in range(4):
        world.held()
        left.append(sum(one.at_ns < START - 90 * DAY for one in world.store.log()))
    assert left == [15, 5, 0, 0]
    world.store.set_policy(keep_log=3600)
    world.clock.now += 60 * NS
    world.held()
    assert all(one.at_ns > START - 3600 * NS for one in world.store.log())
    world.store.prune_log(world.clock.now + DAY)
    assert counts(world) == []


def test_tickets_that_ended_go_in_small_steps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a whole day may end in one minute."""
    monkeypatch.setattr(exchanges, "_AT_ONCE", 10)
    world.held()
    world.clock.now += 3 * DAY
    with world.store.transaction() as db:
        db.executemany(
            "INSERT INTO requested VALUES (?, ?, ?)",
            [(bytes([at]), ALICE.data, START + at) for at in range(24)],
        )
    left = []
    for _ in range(4):
        world.held()
        query = "SELECT count(*) FROM requested WHERE until_ns < ?"
        with world.store.snapshot() as db:
            left.append(db.execute(query, (world.clock.now,)).fetchone()[0])
    assert left == [15, 5, 0, 0]


def test_what_operators_change(world: World) -> None:
    team, far = Identity.from_text("sip:team@example.com"), Identity.from_text("sip:kms.far")
    dan = Identity.from_text("sip:dan@example.com")
    with closing(Store(world.where, world.clock, operated=True)) as store:
        store.add_user(dan, b"d" * 16, act_as=["sip:*@conf"])
        store.enable(dan, False)
        store.rekey(dan, b"e" * 16)
        store.add_members(team, [dan])
        store.remove_members(team, [dan])
        store.set_policy(rate=7)
        store.add_rule(Rule(False, "a", "b"))
        store.remove_rule("a", "b")
        store.add_peer(Peer(far, "x", b"p" * 16, ("*@far",)))
        store.set_patterns(far, ["*"])
        store.remove_peer(far)
        store.add_tpk(Tpk(Identity.key_name("dans"), b"k" * 16, dan))
        store.remove_tpk(Identity.key_name("dans"))
        store.remove_user(dan)
        store.prune_log(START - DAY)
        with pytest.raises(Exception, match="exists already"):
            store.add_user(ALICE, b"k" * 16)
        found = list(store.log())
    assert {(one.exchange, one.user, one.outcome) for one in found} == {
        ("change", "operator", "done")
    }
    assert [one.about for one in found][:10] == [
        f"user add {dan} acting as sip:*@conf",
        f"user disable {dan}",
        f"user rekey {dan}",
        f"group add {team}: {dan}",
        f"group remove {team}: {dan}",
        "policy set rate = 7",
        "policy deny a to b",
        "policy remove a to b",
        f"peer add {far} for *@far",
        f"peer set {far} for *",
    ]
    assert len(found) == 15
    assert all(secret not in json.dumps([one.about for one in found]) for secret in ("dddd", "kkk"))
