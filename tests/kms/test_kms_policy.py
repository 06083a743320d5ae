"""What the KMS grants at most, and whom it lets call whom."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Any

import pytest

from mikeytool.exchange.environment import NS
from mikeytool.exchange.profile import PROFILE_128, PROFILE_256
from mikeytool.exchange.request import HeldTicket
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.kms.kms_policy import KmsPolicy, Rule, Rules
from mikeytool.kms.service import handle
from mikeytool.kms.store.records import Tpk
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, StateError, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import ERR, T, V
from mikeytool.wire.registry import ErrorNo, KeyType, TicketFlag
from tests.world import ALICE, BOB, CAROL, EVE, FORKING, PLAIN, World

TEAM = Identity.from_text("sip:team@example.com")


def setting(world: World, **changes: Any) -> None:
    world.store.set_policy(**changes)


def refusal(world: World, init: bytes) -> Refused:
    handled = handle(world.store, world.env, init)
    assert handled.refusal is not None
    assert handled.answer is not None
    return handled.refusal


def k_is_set(held: HeldTicket) -> bool:
    return TicketFlag.K in held.policy.flags


def test_the_default() -> None:
    assert KmsPolicy(max_validity=86400, max_skew=300, profiles=(128, 256)) == KmsPolicy()
    assert KmsPolicy().key_types == ("tgk", "tgk+salt", "tek", "tek+salt", "gtgk", "gtgk+salt")


def test_a_policy_is_kept(world: World) -> None:
    changed = KmsPolicy(60, 10, True, ("tek",), (256,), True, 7, ("1.2.3",))
    world.store.set_policy(**asdict(changed))
    assert world.store.policy() == changed


@pytest.mark.parametrize(
    "changes",
    [
        {"max_validity": 0},
        {"max_validity": 400 * 86400},
        {"max_skew": 0},
        {"extended_key_usage": ["mail"]},
        {"extended_key_usage": ["emailProtection", ""]},
        {"max_skew": 90_000},
        {"rate": -1},
        {"key_types": ()},
        {"key_types": ("mpk",)},
        {"profiles": (192,)},
        {"profiles": ()},
    ],
)
def test_policies_that_make_no_sense(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        setting(world, **changes)
    assert world.store.policy() == KmsPolicy()


def test_validity_is_cut(world: World) -> None:
    assert not k_is_set(world.held())
    setting(world, max_validity=600)
    held = world.held()
    assert k_is_set(held)
    assert held.policy.seconds is not None
    assert 595 <= held.policy.seconds <= 605
    setting(world, max_validity=2 * 86400)
    assert not k_is_set(world.held())


def test_skew_is_what_the_policy_says(world: World) -> None:
    setting(world, max_skew=10)
    early = world.asked(world.policy())
    world.clock.now += 11 * NS
    assert refusal(world, early).error_no == ErrorNo.INVALID_TS
    setting(world, max_skew=20)
    world.handled(early)


def test_more_skew_lets_no_old_message_in_again(world: World) -> None:
    """What was forgotten under the old skew lies behind the horizon."""
    setting(world, max_skew=10)
    first = world.asked(world.policy())
    world.handled(first)
    world.clock.now += 100 * NS
    world.handled(world.asked(world.policy()))  # the first one is forgotten now
    setting(world, max_skew=600)
    assert refusal(world, first).error_no == ErrorNo.INVALID_TS


def test_forking_is_required(world: World) -> None:
    setting(world, require_forking=True)
    world.store.add_tpk(Tpk(Identity.key_name("bobs"), b"b" * 32, BOB))
    for flags in (PLAIN, "DFGHJNO"):
        held = world.held(flags)
        assert k_is_set(held)
        assert TicketFlag.I | TicketFlag.E | TicketFlag.F in held.policy.flags
        assert held.keys.mpkr is not None
    assert not k_is_set(world.held(FORKING))


def test_key_types(world: World) -> None:
    setting(world, key_types=("tgk", "tek+salt"))
    wanted = [wanted_key(kind, 16, 14) for kind in (KeyType.TGK, KeyType.TEK_SALT, KeyType.GTGK)]
    assert not k_is_set(world.held(keys=tuple(wanted[:2])))
    assert not k_is_set(world.held(keys=()))
    fewer = world.held(keys=tuple(wanted))
    assert k_is_set(fewer)
    assert [key.type for key in fewer.keys.keys] == [KeyType.TGK, KeyType.TEK_SALT]
    none = world.asked(world.policy(keys=(wanted[2],)))
    assert refusal(world, none).error_no == ErrorNo.INVALID_TPPAR


def test_the_key_of_a_policy_that_names_none(world: World) -> None:
    """Interpretation 10: the KMS default, and K stays 0."""
    assert [key.type for key in world.held(keys=None).keys.keys] == [KeyType.TGK]
    setting(world, key_types=("gtgk+salt",))
    held = world.held(keys=None)
    assert [key.type for key in held.keys.keys] == [KeyType.GTGK_SALT]
    assert not k_is_set(held)


@pytest.mark.parametrize(
    ("served", "other"), [(PROFILE_128, PROFILE_256), (PROFILE_256, PROFILE_128)]
)
def test_profiles(world: World, served: Any, other: Any) -> None:
    held = world.held(prf=other.prf)
    setting(world, profiles=(served.bits,))
    world.held(prf=served.prf)
    no = refusal(world, world.asked(world.policy(prf=other.prf)))
    assert no.error_no == ErrorNo.INVALID_PRF
    assert refusal(world, world.resolving(held.ticket)).error_no == ErrorNo.INVALID_PRF


# --- who may call whom ------------------------------------------------------------------------

CASES: list[tuple[list[Rule], set[str]]] = [
    ([], {"ab", "ac", "eb", "ec"}),
    ([Rule(False, "sip:alice@*", "sip:bob@*")], {"ac", "eb", "ec"}),
    ([Rule(True, "sip:alice@*", "*")], {"ab", "ac"}),
    ([Rule(False, "*", "*"), Rule(True, "sip:eve@example.com", "sip:bob@*")], {"eb"}),
    ([Rule(False, "*", "sip:bob@*"), Rule(True, "sip:eve*", "sip:bob@*")], {"ac", "eb", "ec"}),
    ([Rule(True, "*", "*"), Rule(False, "sip:eve*", "*")], {"ab", "ac"}),
    ([Rule(True, "*", "sip:bob@*"), Rule(False, "sip:eve*", "*")], {"ab"}),
]


@pytest.mark.parametrize(("rules", "allowed"), CASES)
def test_the_last_rule_that_matches_counts_else_the_first_one(
    rules: list[Rule], allowed: set[str]
) -> None:
    people = {"a": ALICE, "b": BOB, "c": CAROL, "e": EVE}
    made = Rules(tuple(rules))
    found = {f"{x}{y}" for x in "ae" for y in "bc" if made.allow(people[x], [people[y]])}
    assert found == allowed


def test_a_denied_request_is_refused_and_logged(world: World) -> None:
    world.store.add_rule(Rule(False, "sip:alice@*", "*"))
    no = refusal(world, world.asked(world.policy()))
    assert no.error_no == ErrorNo.UNSPECIFIED
    [entry] = world.store.log()
    assert (entry.outcome, entry.reason) == ("refused", str(no))
    assert "rule" in entry.reason
    world.handled(world.asked(world.policy(initiator=EVE), by=EVE))


def test_one_denied_responder_is_enough(world: World) -> None:
    world.store.add_rule(Rule(False, "*", "sip:carol@*"))
    refusal(world, world.asked(world.policy(responders=(BOB, CAROL))))
    world.handled(world.asked(world.policy()))


def test_tickets_that_are_out_are_no_longer_resolved(world: World) -> None:
    """RFC 6043 4.2.3: the KMS's policy counts when a ticket is resolved, too."""
    call = world.call(world.held(responders=(BOB, CAROL)))
    world.store.add_rule(Rule(False, "*", "sip:bob@*"))
    with pytest.raises(Refused, match="rule denies"):
        world.resolved(call)
    world.resolved(call, CAROL)


def test_rules_for_groups(world: World) -> None:
    world.store.add_members(TEAM, [BOB, CAROL])
    world.store.add_rule(Rule(True, "sip:alice@*", str(TEAM)))
    call = world.call(world.held(responders=(TEAM,)), called=TEAM)
    world.resolved(call)
    refusal(world, world.asked(world.policy()))  # Bob himself is not named
    world.store.add_rule(Rule(False, "*", "sip:carol@*"))
    world.resolved(call)
    with pytest.raises(Refused, match="rule denies"):
        world.resolved(call, CAROL)


def test_rules_are_changed_and_removed(world: World) -> None:
    world.store.add_rule(Rule(False, "*", "sip:bob@*"))
    world.store.add_rule(Rule(True, "*", "sip:carol@*"))
    world.store.add_rule(Rule(True, "*", "sip:bob@*"))
    assert [rule.responder for rule in world.store.rules().rules] == ["sip:carol@*", "sip:bob@*"]
    world.store.remove_rule("*", "sip:carol@*")
    assert world.store.rules().rules == (Rule(True, "*", "sip:bob@*"),)
    with pytest.raises(StateError, match="no rule"):
        world.store.remove_rule("*", "sip:carol@*")


def test_the_requester_learns_no_more_than_the_number(world: World) -> None:
    world.store.add_rule(Rule(False, "*", "*"))
    handled = handle(world.store, world.env, world.asked(world.policy()))
    assert handled.answer is not None
    assert [type(payload) for payload in Message.parse(handled.answer).payloads] == [T, ERR, V]


def test_who_may_be_called_by_a_later_rule_can_resolve(world: World) -> None:
    """Of a member's names, its own and the group's, none comes before a later rule."""
    world.store.add_members(TEAM, [BOB])
    world.store.add_rule(Rule(False, "*", "*"))
    world.store.add_rule(Rule(True, "sip:alice@*", str(TEAM)))
    world.resolved(world.call(world.held(responders=(TEAM,)), called=TEAM))


def test_what_another_changed_meanwhile_stays(world: World) -> None:
    with closing(Store(world.where)) as other:
        other.policy()
        world.store.set_policy(max_skew=10)
        other.set_policy(rate=7)
    assert world.store.policy() == KmsPolicy(max_skew=10, rate=7)
    with world.store.transaction() as db:
        names = {name for (name,) in db.execute("SELECT name FROM settings")}
    assert names == {"max_skew", "rate"}
