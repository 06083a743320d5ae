"""Refusals that explain: the operator reads what is wrong and what to do, and the caller gets the
number that comes nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mikeytool.conference import calling_in, membership
from mikeytool.conference.model import Purpose
from mikeytool.conference.refusals import not_requested, not_resolved
from mikeytool.exchange.error import ErrorReceived
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.kms.kms_policy import Rule
from mikeytool.srtp.security_policy import policy_for
from mikeytool.srtp.suites import SUITES
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import ERR
from mikeytool.wire.registry import ErrorNo, TicketFlag
from tests.conference.room import FACTORY, FLAGS, FOCUS, Room
from tests.world import ALICE, BOB, CAROL, EVE

OTHER = Identity.from_text("sip:room-2@conf.example.com")
AWAY = Identity.from_text("sip:room@elsewhere.example.com")


def create(room: Room, *to: Identity, flags: str = FLAGS) -> None:
    alice = room.person(ALICE)
    alice.ticket(*to, flags=flags)
    calling_in.create(room.system, alice.call(FACTORY), FOCUS, [Purpose.AUDIO])


def call(room: Room, who: Identity = BOB, to: Identity = FOCUS, flags: str = FLAGS) -> None:
    person = room.person(who)
    person.ticket(to, flags=flags)
    room.call_in(person.call(to))


def rule(room: Room, by: Identity, to: Identity) -> None:
    room.store.add_rule(Rule(False, str(by), str(to)))


def with_policy(room: Room, **changes: object) -> None:
    """Bob gets his ticket, then the KMS changes its rules."""
    bob = room.person(BOB)
    bob.ticket(FOCUS)
    room.store.set_policy(**changes)
    room.call_in(bob.call(FOCUS))


def other_suite(room: Room) -> None:
    bob = room.person(BOB)
    bob.ticket(FOCUS)
    room.call_in(bob.call(policies=[policy_for(SUITES["AES_CM_128_HMAC_SHA1_32"], 0)]))


def another_ticket(room: Room) -> None:
    bob = room.person(BOB)
    bob.ticket(ALICE)
    room.call_in(bob.call(FOCUS))


def disabled(room: Room) -> None:
    bob = room.person(BOB)
    bob.ticket(FOCUS)
    room.store.enable(BOB, False)
    room.call_in(bob.call(FOCUS))


def denied_keys(room: Room) -> None:
    rule(room, FACTORY, FACTORY)
    call(room)


def no_act_as(room: Room) -> None:
    room.create(BOB, focus=AWAY)
    call(room, to=AWAY)


def ended(room: Room) -> None:
    membership.end(room.system, FOCUS)
    call(room)


def often(room: Room) -> None:
    bob = room.person(BOB)
    bob.ticket(FOCUS, rekey=10)
    room.call_in(bob.call(FOCUS))


def twice(room: Room) -> None:
    call(room)
    room.call_in(room.person(BOB).init)


def late(room: Room) -> None:
    bob = room.person(BOB)
    bob.ticket(FOCUS)
    init = bob.call(FOCUS)
    room.clock.now += 1000 * 10**9
    room.call_in(init)


Try = Callable[[Room], object]
REFUSED: list[tuple[str, Try, str, ErrorNo]] = [
    ("no factory", lambda room: create(room, BOB),
     "it names sip:bob@.*, and sip:factory@.* is called: .* --to sip:factory@",
     ErrorNo.INVALID_TPPAR),
    ("create without I", lambda room: create(room, FACTORY, flags="DEFGHJMNO"),
     r"no I flag: .*; request one with --flags=\+I", ErrorNo.INVALID_TPPAR),
    ("call in without I", lambda room: call(room, flags="DEFGHJMNO"),
     r"no I flag: .*; request one with --flags=\+I", ErrorNo.INVALID_TPPAR),
    ("call in without M", lambda room: call(room, flags="DEFGHIJNO"),
     r"no M flag: .*; request one with --flags=\+M", ErrorNo.INVALID_TPPAR),
    ("call in without O", lambda room: call(room, flags="DEFGHIJMN"),
     r"no O flag: .* request one with --flags=\+O", ErrorNo.INVALID_TPPAR),
    ("ticket for somebody else", another_ticket,
     "it names sip:alice@.* requests one with --to sip:room-1@", ErrorNo.INVALID_TPPAR),
    ("not allowed", lambda room: call(room, EVE),
     "eve@.* may not take part in .*; `conference allow` lets them in", ErrorNo.UNSPECIFIED),
    ("unknown focus", lambda room: call(room, to=OTHER),
     "room-2@.* is the focus of no conference; `conference show` lists", ErrorNo.INVALID_ID),
    ("ended", ended, "room-1@.* ended at .*; `conference create` makes", ErrorNo.UNSPECIFIED),
    ("key types", lambda room: with_policy(room, key_types=("tgk",)),
     r"tek\+salt are not given here; the system asked for group keys \(TEK\+SALT\)",
     ErrorNo.UNSPECIFIED),
    ("profiles", lambda room: with_policy(room, profiles=(256,)),
     "does not serve the 128-bit profile; the caller requests .* another --profile",
     ErrorNo.INVALID_PRF),
    ("rule against keys", denied_keys,
     "rule denies .*; see `kms policy list`; the system asked for group keys", ErrorNo.UNSPECIFIED),
    ("disabled", disabled, "sip:bob@.* is disabled", ErrorNo.UNSPECIFIED),
    ("no act-as", no_act_as,
     r"compare the system's key .* whether it may act as sip:room@elsewhere.* \(--act-as\)",
     ErrorNo.AUTH_FAILURE),
    ("suite", other_suite, "offers AES_CM_128_HMAC_SHA1_32; audio of .* goes with .*_80",
     ErrorNo.INVALID_SPPAR),
    ("too often", often, "every 10 s; .* request one with --rekey-every 60s",
     ErrorNo.INVALID_TPPAR),
    ("replay", twice, r"seen before \(replay\); send a new one", ErrorNo.AUTH_FAILURE),
    ("old", late, "1000 s", ErrorNo.INVALID_TS),
    ("focus is taken", lambda room: create(room, FACTORY),
     "is the focus of a conference already; choose another --focus", ErrorNo.UNSPECIFIED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("attempt", "words", "number"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_what_the_operator_reads_and_the_caller_gets(
    room: Room, attempt: Try, words: str, number: ErrorNo
) -> None:
    room.create(BOB, CAROL)
    room.system = replace(room.system, send_errors=True)
    with pytest.raises(Refused, match=words) as refused:
        attempt(room)
    assert refused.value.answer is not None
    (error,) = Message.read(refused.value.answer).all(ERR)
    assert error.error_no == number


def test_a_kms_that_requires_forking_gives_group_keys(room: Room) -> None:
    """They were asked for without the I flag."""
    room.create(BOB, CAROL)
    room.store.set_policy(require_forking=True)
    room.person(BOB).call_in()
    membership.change_keys(room.system, None)
    room.call_out(CAROL)


def test_a_call_out_that_a_rule_denies(room: Room) -> None:
    room.create(BOB)
    rule(room, FOCUS, BOB)
    with pytest.raises(Refused, match=r"rule denies .* asked for a ticket to call sip:bob@"):
        room.call_out(BOB)


def test_a_kms_that_sends_only_a_number_has_a_log() -> None:
    policy = TicketPolicy(0, TicketFlag(0), (FOCUS,))
    error = ErrorReceived("Unspecified error (12)", ErrorNo.UNSPECIFIED, verified=True)
    assert "`kms log show`" in str(not_resolved(error, policy, FOCUS, FACTORY))
    assert "`kms log show`" in str(not_requested(error, policy, FOCUS, FACTORY))


def test_an_answer_that_is_a_call(room: Room) -> None:
    room.create(BOB)
    bob = room.person(BOB)
    bob.ticket(FOCUS)
    with pytest.raises(Refused, match=r"no call-out .* TRANSFER_INIT, which `conference call-in`"):
        room.answer(bob.call(FOCUS))
