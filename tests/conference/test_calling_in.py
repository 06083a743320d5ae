"""Calling in: who gets the group keys, and under which SSRC (TR 33.828 5.3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mikeytool.conference import calling_in, membership
from mikeytool.conference.description import describe_conferences
from mikeytool.conference.model import Purpose
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.error import ErrorReceived
from mikeytool.exchange.initiator import finish_transfer
from mikeytool.exchange.responder import transfer_resp
from mikeytool.exchange.ticket import TicketKeys
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.srtp.security_policy import policy_for
from mikeytool.srtp.suites import SUITES
from mikeytool.wire.errors import MikeyError, Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import ERR, KEMAC, SP
from mikeytool.wire.registry import ErrorNo, KeyType, ProtType
from tests.conference.room import FACTORY, FLAGS, FOCUS, Room
from tests.world import ALICE, BOB, CAROL, EVE, accept_all


def test_callers_share_the_group_key(room: Room) -> None:
    room.create(BOB, CAROL)
    bob, carol = room.person(BOB), room.person(CAROL)
    bob.call_in()
    carol.call_in()
    (key,) = room.group_keys()
    assert bob.sends()[0][1] == carol.sends()[0][1]
    assert bob.sends()[0][1].key == key.tek
    assert bob.sends()[0][1].salt == key.salt
    assert room.states() == {BOB: "joined", CAROL: "joined"}


def test_the_group_key_is_a_tek_with_salt_from_the_kms(room: Room) -> None:
    """Interpretation 13."""
    room.create(BOB)
    bob = room.person(BOB)
    bob.call_in()
    assert bob.session is not None
    assert {key.type for key in bob.session.keys} == {KeyType.TEK_SALT}
    asked = [entry.exchange for entry in room.store.log() if entry.user == str(FACTORY)]
    assert any("request" in exchange for exchange in asked)


def test_an_ssrc_that_is_taken_is_replaced_in_the_answer(room: Room) -> None:
    room.create(BOB, CAROL)
    room.person(BOB).call_in(0x11111111)
    session = room.person(CAROL).call_in(0x11111111)
    ssrc = room.person(CAROL).sends()[0][0]
    assert ssrc != 0x11111111
    assert room.ssrcs(CAROL) == [ssrc]
    assert room.ssrcs(BOB) == [0x11111111]
    assert session.crypto_sessions[0].ssrc == ssrc


def test_a_stream_to_receive_stands_for_everyone_else(room: Room) -> None:
    room.create(BOB)
    session = room.person(BOB).call_in()
    mine, theirs = session.crypto_sessions
    assert session.admits_any(theirs)
    assert not session.admits_any(mine)


def test_an_intruder_is_turned_away_before_a_group_key_is_in_reach(room: Room) -> None:
    room.create(BOB)
    eve = room.person(EVE)
    eve.ticket(FOCUS)
    with pytest.raises(Refused, match="may not take part") as refused:
        room.call_in(eve.call())
    assert refused.value.error_no == ErrorNo.UNSPECIFIED
    with pytest.raises(ErrorReceived) as received:
        eve.take(refused.value.answer or b"")
    assert received.value.verified
    assert room.group_keys() == []
    asked = [entry.exchange for entry in room.store.log() if entry.user == str(FACTORY)]
    assert not any("request" in exchange for exchange in asked)


def test_an_intruders_message_is_not_good_later(room: Room) -> None:
    """Else someone who heard it could take the seat when the intruder is allowed."""
    room.create(BOB)
    eve = room.person(EVE)
    eve.ticket(FOCUS)
    with pytest.raises(Refused, match="may not take part"):
        room.call_in(eve.call())
    membership.allow(room.system, None, [EVE])
    with pytest.raises(Refused, match="seen before"):
        room.call_in(eve.init)


@pytest.mark.parametrize(
    ("flags", "flag"), [(FLAGS.replace("I", ""), "I"), (FLAGS.replace("M", ""), "M")]
)
def test_tickets_that_cannot_do_are_refused(room: Room, flags: str, flag: str) -> None:
    room.create(BOB)
    bob = room.person(BOB)
    bob.ticket(FOCUS, flags=flags)
    with pytest.raises(Refused, match=f"no {flag} flag") as refused:
        room.call_in(bob.call())
    assert refused.value.error_no == ErrorNo.INVALID_TPPAR


def test_the_creator_calls_in_with_the_ticket_of_the_creation(room: Room) -> None:
    """The modifier, and IDRr with it, stay what they were (5.3)."""
    creator = room.create(BOB)
    first = creator.session
    session = creator.take(room.call_in(creator.call(FOCUS)))
    assert first is not None
    assert session.remote == FACTORY
    assert session.mpk == first.mpk
    assert room.states() == {ALICE: "joined"}


def test_a_ticket_for_two_foci_has_a_modifier_at_each(room: Room) -> None:
    other = Identity.from_text("sip:room-2@conf.example.com")
    room.create(BOB)
    room.create(BOB, focus=other)
    bob = room.person(BOB)
    bob.ticket(FOCUS, other)
    found = [bob.take(room.call_in(bob.call(focus))) for focus in (FOCUS, other, FOCUS, other)]
    assert [session.remote for session in found] == [FOCUS, other, FOCUS, other]
    # At each it stays what it was.
    mpks = [session.mpk for session in found]
    assert mpks[:2] == mpks[2:]
    assert mpks[0] != mpks[1]


def test_the_creator_calls_in_with_a_new_ticket(room: Room) -> None:
    creator = room.create(BOB)
    session = creator.call_in()
    assert session.remote == FOCUS


def test_an_impostor_with_the_creators_ticket_is_turned_away(room: Room) -> None:
    """Bob, who may resolve it, knows MPKi but not the MPKr that the Initiator Data needs."""
    creator = room.create(BOB)
    assert creator.held is not None
    resolved = room.resolved(creator.call(FOCUS), BOB)
    impostor = room.person(BOB)
    impostor.who = ALICE
    impostor.held = replace(creator.held, keys=resolved.keys)
    with pytest.raises(Refused, match="Initiator Data"):
        room.call_in(impostor.call())
    assert room.states() == {}


def test_an_eavesdropper_does_not_get_the_group_key(room: Room) -> None:
    """Carol may resolve Alice's ticket too; the answer is under a key that is forked for the
    system.
    """
    creator = room.create(BOB, CAROL)
    init = creator.call(FOCUS)
    answer = room.call_in(init)
    stolen = room.resolved(init, CAROL)
    assert creator.held is not None
    with pytest.raises(MikeyError):
        finish_transfer(
            room.env,
            replace(creator.held, keys=stolen.keys),
            read_transfer_init(init),
            answer,
            accept_all,
        )
    only_mpki = TicketKeys(stolen.keys.mpki, stolen.keys.mpki, stolen.keys.keys)
    with pytest.raises(MikeyError):
        finish_transfer(
            room.env,
            replace(creator.held, keys=only_mpki),
            read_transfer_init(init),
            answer,
            accept_all,
        )
    assert creator.take(answer).keys


def test_a_repeated_call_gets_a_replay_error_and_no_second_seat(room: Room) -> None:
    room.create(BOB)
    bob = room.person(BOB)
    bob.call_in(0x11111111)
    before = room.dump()
    with pytest.raises(Refused, match="seen before"):
        room.call_in(bob.init)
    assert room.dump() == before


def test_who_calls_again_gets_another_ssrc(room: Room) -> None:
    """Under one key the old SSRC has packets already."""
    room.create(BOB)
    bob = room.person(BOB)
    bob.call_in(0x11111111)
    bob.call_in(0x11111111)
    assert len(room.members()) == 1
    assert bob.sends()[0][0] != 0x11111111
    assert room.ssrcs(BOB) == [bob.sends()[0][0]]


def test_a_call_to_no_conference(room: Room) -> None:
    room.create(BOB)
    bob = room.person(BOB)
    elsewhere = Identity.from_text("sip:elsewhere@conf.example.com")
    bob.ticket(elsewhere)
    with pytest.raises(Refused, match="no conference") as refused:
        room.call_in(bob.call(elsewhere))
    assert refused.value.error_no == ErrorNo.INVALID_ID


def test_another_suite_is_refused_with_the_one_that_is_used(room: Room) -> None:
    room.create(BOB)
    bob = room.person(BOB)
    bob.ticket(FOCUS)
    gcm = policy_for(SUITES["AEAD_AES_128_GCM"], 0)
    system = replace(room.system, send_errors=True)
    object.__setattr__(room, "system", system)
    with pytest.raises(Refused) as refused:
        room.call_in(bob.call(policies=[gcm]))
    assert refused.value.error_no == ErrorNo.INVALID_SPPAR
    error = Message.parse(refused.value.answer or b"")
    assert [p.error_no for p in error.all(ERR)] == [ErrorNo.INVALID_SPPAR]
    assert len(error.all(SP)) == 1


def test_each_purpose_has_a_crypto_session_and_a_key_of_its_own(room: Room) -> None:
    room.create(BOB, purposes=list(Purpose))
    bob = room.person(BOB)
    bob.ticket(FOCUS)
    answer = room.call_in(bob.call(ssrcs=(None, None), receive=1))
    session = bob.take(answer)
    keys = {key.spi: key.purpose for key in room.group_keys()}
    seen = [
        (keys.get(one.entry.spi, Purpose.FLOOR), one.entry.protocol, session.is_local(one))
        for one in session.crypto_sessions
    ]
    assert seen == [
        (Purpose.AUDIO, ProtType.SRTP, True),
        (Purpose.VIDEO, ProtType.SRTP, True),
        (Purpose.AUDIO, ProtType.SRTP, False),
        (Purpose.VIDEO, ProtType.SRTP, False),
        (Purpose.FLOOR, ProtType.TLS_PSK, False),
        (Purpose.EVENTS, ProtType.CMS, False),
    ]
    assert len({key.tek for key in room.group_keys()}) == 4
    assert Message.parse(answer).find(KEMAC) is not None


def test_two_forked_answers_are_not_possible(room: Room) -> None:
    """Only the system may resolve a ticket for the focus."""
    room.create(BOB, CAROL)
    bob = room.person(BOB)
    bob.ticket(FOCUS)
    with pytest.raises(Refused, match="may not resolve"):
        transfer_resp(room.env, room.verified(bob.call(), CAROL), accept_all, local=CAROL)


def test_a_conference_that_is_gone_when_the_kms_has_answered(room: Room) -> None:
    room.create(BOB)
    bob = room.person(BOB)
    bob.ticket(FOCUS)
    init = bob.call()
    number = room.conference().number

    class Ending:
        """The conference ends while the KMS takes its time."""

        identity = room.system.kms.identity

        def answer(self, env: Environment, message: bytes) -> bytes:
            with room.state.transaction() as db:
                for table in ("allowed", "members", "group_keys", "ssrcs"):
                    db.execute(f"DELETE FROM {table} WHERE conference = ?", (number,))
                db.execute("DELETE FROM conferences")
            return room.system.kms.answer(env, message)

        def groups_of(self, identity: Identity) -> Sequence[Identity]:
            return room.system.kms.groups_of(identity)

        def is_group(self, identity: Identity) -> bool:
            return room.system.kms.is_group(identity)

    with pytest.raises(Refused, match="focus of no conference"):
        calling_in.call_in(replace(room.system, kms=Ending()), init)


def test_a_call_out_that_nobody_answered_counts_as_left(room: Room) -> None:
    room.create(BOB)
    room.call_out(BOB, 60)
    now = room.clock.now
    for later, state in ((0, "invited"), (59, "invited"), (60, "left"), (61, "left")):
        (shown,) = describe_conferences(room.state, now + later * NS, show_keys=False)
        assert [one["state"] for one in shown["members"]] == [state]
