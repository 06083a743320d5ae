"""Streams that members change and add in their sessions, by updates of theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from mikeytool.conference import membership, rows, ssrcs
from mikeytool.conference.model import Purpose, Topology, Update
from mikeytool.conference.relay import Relay
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS
from mikeytool.exchange.error import ErrorReceived
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.protection import protect
from mikeytool.exchange.ticket import new_key
from mikeytool.exchange.update_rules import update_keys
from mikeytool.srtp.index import Excluded
from mikeytool.srtp.security_policy import policy_for, suite_of
from mikeytool.srtp.suites import SUITES
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.header import HDR
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import KEMAC, Payload
from mikeytool.wire.registry import ErrorNo, IdRole, KeyType
from tests.conference.invariants import check
from tests.conference.room import DAN, FLAGS, FOCUS, Person, Room
from tests.conference.test_relay import sent
from tests.conference.test_ssrcs import answer_all, every_pair_hears
from tests.world import ALICE, BOB, CAROL, POLICY, identities, rewritten

A, V, E = Purpose.AUDIO, Purpose.VIDEO, Purpose.EVENTS


@pytest.fixture
def full(room: Room) -> Room:
    """Alice and Bob with audio in a conference that has video as well; Carol was called out."""
    room.create(BOB, CAROL, purposes=[A, V, E])
    room.person(ALICE).call_in(0x11111111)
    room.person(BOB).call_in(0x22222222)
    answer_all(room, room.answer(room.person(CAROL).pick_up(room.call_out(CAROL))).updates)
    return room


def updated(person: Person, *specs: CsSpec) -> None:
    """A member's update, its answer, and a look at the file."""
    person.told(person.room.call_in(person.ask(*specs)))
    check(person.room.state.path)


def test_a_new_ssrc_after_a_collision(full: Room) -> None:
    """RFC 3550 8.2: the old one is given up, and stays taken while the key is in use."""
    bob, relay = full.person(BOB), Relay(full.state, full.clock)
    before = sent(bob, 1)
    updated(bob, CsSpec(send=True, cs_id=1, ssrc=0x33333333))
    assert [ssrc for ssrc, _ in bob.sends()] == full.ssrcs(BOB) == [0x33333333]
    relay.take(sent(bob, 1))
    with pytest.raises(Excluded, match="has another SSRC now"):
        relay.take(before)
    alice = full.person(ALICE)
    updated(alice, CsSpec(send=True, cs_id=1, ssrc=0x22222222))
    assert alice.sends()[0][0] not in (0x11111111, 0x22222222)
    every_pair_hears(full, (ALICE, BOB, CAROL))


def test_an_ssrc_that_is_taken_is_replaced(full: Room) -> None:
    """Also by one's own earlier SSRC, under which packets were sent."""
    bob = full.person(BOB)
    for wanted in (0x11111111, full.ssrcs(CAROL)[0], 0x22222222):
        updated(bob, CsSpec(send=True, cs_id=1, ssrc=wanted))
        now = bob.sends()[0][0]
        assert now == full.ssrcs(BOB)[0]
        # Its own is no change, and stays.
        assert (now == wanted) == (wanted == now)
    updated(bob, CsSpec(send=True, cs_id=1, ssrc=0x22222222))
    assert bob.sends()[0][0] != 0x22222222


def test_after_a_change_of_keys_it_is_free_again(full: Room) -> None:
    bob = full.person(BOB)
    updated(bob, CsSpec(send=True, cs_id=1, ssrc=0x33333333))
    answer_all(full, membership.change_keys(full.system, None))
    full.clock.now += 11 * NS
    updated(bob, CsSpec(send=True, cs_id=1, ssrc=0x22222222))
    assert bob.sends()[0][0] == 0x22222222


def test_a_stream_is_added_with_the_key_of_its_purpose(full: Room) -> None:
    bob = full.person(BOB)
    (video,) = [key for key in full.group_keys() if key.purpose == V]
    before = bob.keys()
    assert video.spi not in before
    updated(bob, CsSpec(send=True, cs_id=3, ssrc=0x44444444))
    assert bob.keys()[video.spi] == video.tek
    assert bob.session is not None
    found = {
        one.entry.cs_id: (one.entry.spi == video.spi, bob.session.is_local(one))
        for one in bob.session.crypto_sessions
    }
    # The system adds the direction to receive.
    assert found[3] == (True, True)
    assert found[4] == (True, False)
    assert full.ssrcs(BOB) == [0x22222222, 0x44444444]
    relay = Relay(full.state, full.clock)
    for stream in (0, 1):
        relay.take(sent(bob, 1, stream))
    # The next update brings both keys.
    answer_all(full, membership.change_keys(full.system, None))
    relay.take(sent(bob, 2, 1))


def test_a_stream_to_receive_alone_brings_the_key_as_well(full: Room) -> None:
    bob = full.person(BOB)
    updated(bob, CsSpec(send=False, cs_id=4))
    assert {key.spi for key in full.group_keys()} == set(bob.keys())


def test_one_who_was_called_out_updates_too(full: Room) -> None:
    """The system is the initiator of that session."""
    carol = full.person(CAROL)
    updated(carol, CsSpec(send=True, cs_id=2, ssrc=0x55555555))
    assert 0x55555555 in full.ssrcs(CAROL)
    assert len(full.ssrcs(CAROL)) == 2


def test_every_change_counts_from_the_next_packet_and_is_on_disk(full: Room) -> None:
    """The answer is not there before the state is; a crash leaves the one or the other."""
    bob = full.person(BOB)
    before, asked = full.dump(), bob.ask(CsSpec(send=True, cs_id=1, ssrc=0x33333333))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "release_some", die)  # the last that is written
        with pytest.raises(KeyboardInterrupt):
            full.call_in(asked)
    assert full.dump() == before
    check(full.state.path)


def die(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_update_counts_once(full: Room) -> None:
    bob = full.person(BOB)
    asked = bob.ask(CsSpec(send=True, cs_id=1, ssrc=0x33333333))
    bob.told(full.call_in(asked))
    before = full.dump()
    with pytest.raises(Refused, match="seen already") as refused:
        full.call_in(asked)
    assert refused.value.answer is not None
    assert full.dump() == before


def test_what_is_refused_now_is_not_done_later(full: Room) -> None:
    bob = full.person(BOB)
    updates = membership.change_keys(full.system, None)
    asked = bob.ask(CsSpec(send=True, cs_id=1, ssrc=0x33333333))
    with pytest.raises(Refused, match="has an update to answer first"):
        full.call_in(asked)
    answer_all(full, updates)
    with pytest.raises(Refused, match="seen before"):
        full.call_in(asked)
    updated(bob, CsSpec(send=True, cs_id=1, ssrc=0x33333333))
    assert bob.sends()[0][0] == 0x33333333


REFUSED: dict[str, tuple[Callable[[Person], bytes], str, ErrorNo]] = {
    "the system's SSRC": (
        lambda bob: changed(bob, 2, session_data=b"\0\0\0\7"), "system chooses", ErrorNo.INVALID_SP
    ),
    "ROC of the system's stream": (
        lambda bob: changed(bob, 2, s=1, session_data=data_of(bob, 2) + bytes(6)),
        "system chooses", ErrorNo.INVALID_SP,
    ),
    "another key": (
        lambda bob: bob.ask(CsSpec(send=True, cs_id=1, spi=events(bob))),
        "only the system gives it another", ErrorNo.INVALID_SP,
    ),
    "no media line": (
        lambda bob: bob.ask(CsSpec(send=True, cs_id=9)), "not of a media line", ErrorNo.INVALID_SP
    ),
    "a second stream in one direction": (
        lambda bob: changed(bob, 1, more=(3, 4)), "both send video", ErrorNo.INVALID_SP
    ),
    "another suite": (
        lambda bob: bob.ask(
            CsSpec(send=True, cs_id=3, policies=(5,)),
            policies=[policy_for(SUITES["AES_CM_128_HMAC_SHA1_32"], 5)],
        ),
        "offers AES_CM_128_HMAC_SHA1_32; video of", ErrorNo.INVALID_SPPAR,
    ),
    "no answer": (
        lambda bob: changed(bob, 1, v=0), "has the V flag", ErrorNo.UNSPECIFIED
    ),
}  # fmt: skip


def data_of(bob: Person, cs_id: int) -> bytes:
    assert bob.session is not None
    found = next(one for one in bob.session.crypto_sessions if one.entry.cs_id == cs_id)
    return bytes(found.entry.session_data[:4])


def events(bob: Person) -> bytes:
    (key,) = [key for key in bob.room.group_keys() if key.purpose == E]
    return key.spi


def changed(
    bob: Person, cs_id: int, v: int = 1, more: Sequence[int] = (), **fields: object
) -> bytes:
    """An update that only someone who knows the keys, and lies, makes; its MAC is right."""
    assert bob.session is not None
    entries = bob.session.crypto_sessions
    chosen = next(one for one in entries if one.entry.cs_id == cs_id).entry
    entry = chosen.copy(session_data_length=None, **{"s": 0, **fields})
    others = [chosen.copy(cs_id=one) for one in more]
    raw = bob.ask(CsSpec(send=True, cs_id=1))

    def change(header: HDR, _payloads: list[Payload]) -> None:
        header.v, header.cs_id_map = v, [entry, *others]

    header, payloads = rewritten(raw, change)
    behind = identities(payloads, IdRole.INITIATOR, IdRole.RESPONDER)
    keys = update_keys(bob.session)
    return protect(header, payloads, profile_of(header.prf), keys, behind).raw


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_told_and_changes_nothing(full: Room, name: str) -> None:
    asking, why, number = REFUSED[name]
    bob, before = full.person(BOB), full.dump()
    asked = asking(bob)
    with pytest.raises(Refused, match=why) as refused:
        full.call_in(asked)
    assert refused.value.error_no == number
    bob.init = asked
    with pytest.raises(ErrorReceived) as told:
        bob.told(refused.value.answer or b"")
    assert told.value.verified
    if number == ErrorNo.INVALID_SPPAR:
        assert suite_of(told.value.supported[0]) == suite_of(POLICY)
    assert full.dump() == before


def test_a_member_makes_no_group_key(room: Room) -> None:
    room.create(BOB)
    bob = room.person(BOB)
    bob.ticket(FOCUS, flags=FLAGS + "L")
    bob.take(room.call_in(bob.call()))
    key = new_key(KeyType.TEK_SALT, bytes(16), bytes(14), b"\1\2\3\4")
    asked = bob.ask(kemac_keys=[key])
    assert Message.parse(asked).find(KEMAC) is not None
    with pytest.raises(Refused, match="are the system's to make"):
        room.call_in(asked)


def test_who_is_out_updates_nothing(full: Room) -> None:
    bob = full.person(BOB)
    asked = bob.ask(CsSpec(send=True, cs_id=1, ssrc=0x33333333))
    answer_all(full, membership.dismiss(full.system, None, [BOB], deny=False))
    with pytest.raises(Refused, match="has to call in"):
        full.call_in(asked)


def test_a_forged_update_and_one_of_nobody(full: Room) -> None:
    bob, before = full.person(BOB), full.dump()
    asked = bytearray(bob.ask(CsSpec(send=True, cs_id=1, ssrc=0x33333333)))
    asked[-1] ^= 1
    with pytest.raises(Refused, match="its MAC fails"):
        full.call_in(bytes(asked))
    asked[4:8] = bytes(4)
    with pytest.raises((Refused, WireError)):
        full.call_in(bytes(asked))
    assert full.dump() == before


def test_the_systems_own_update_sent_back_is_not_a_members(full: Room) -> None:
    """It has the MAC of one, and would bring back an SSRC that the member gave up."""
    updates = {one.to: one.message for one in membership.change_keys(full.system, None)}
    for why, name in (("the system's to make", BOB), ("one's own", CAROL)):
        if name == CAROL:
            answer_all(full, [Update(CAROL, updates[CAROL])])
        before = full.dump()
        with pytest.raises(Refused, match=why):
            full.call_in(updates[name])
        assert full.dump() == before


def test_ssrcs_are_bounded(full: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssrcs, "MOST_SSRCS", 3)
    bob = full.person(BOB)
    for ssrc in (1, 2):
        updated(bob, CsSpec(send=True, cs_id=1, ssrc=ssrc))
    with pytest.raises(Refused, match="after a change of keys"):
        full.call_in(bob.ask(CsSpec(send=True, cs_id=1, ssrc=3)))
    answer_all(full, membership.change_keys(full.system, None))
    full.clock.now += 11 * NS
    updated(bob, CsSpec(send=True, cs_id=1, ssrc=3))


def test_with_a_mixer_the_members_stream_changes_and_the_mixers_stays(room: Room) -> None:
    room.create(DAN, BOB, topology=Topology.MIX_MINUS)
    bob = room.person(BOB)
    bob.call_in(0x22222222)
    assert bob.session is not None
    (mixed,) = [one for one in bob.session.crypto_sessions if not bob.session.is_local(one)]
    updated(bob, CsSpec(send=True, cs_id=1, ssrc=0x33333333))
    (after,) = [one for one in bob.session.crypto_sessions if not bob.session.is_local(one)]
    assert after == replace(mixed)
    assert room.ssrcs(BOB) == [0x33333333]
