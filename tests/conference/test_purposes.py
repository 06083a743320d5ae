"""The CS ID of a stream says which purpose it has, and no stream gets the key of another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mikeytool.conference import calling_in, calling_out, membership, rows
from mikeytool.conference.description import describe_conferences
from mikeytool.conference.model import Conference, Purpose
from mikeytool.conference.purposes import cs_ids, lined_up, purpose_of, purposes_of
from mikeytool.conference.relay import Relay
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS
from mikeytool.exchange.session import Session
from mikeytool.media.media_lines import LineUp, MediaLine
from mikeytool.media.media_text import parse_cs
from mikeytool.srtp.index import Excluded
from mikeytool.wire.errors import Refused
from mikeytool.wire.payloads import SP
from mikeytool.wire.registry import ErrorNo, ProtType
from tests.conference.invariants import check
from tests.conference.room import FOCUS, Person, Room
from tests.conference.test_ssrcs import answer_all, libsrtp
from tests.world import ALICE, BOB, CAROL, POLICY

A, V, F, E = Purpose.AUDIO, Purpose.VIDEO, Purpose.FLOOR, Purpose.EVENTS
BOTH = (A, V)


def conference(*purposes: Purpose) -> Conference:
    return Conference(1, FOCUS, BOB, purposes, 1)


@pytest.mark.parametrize(
    ("purposes", "cs_id", "protocol", "purpose"),
    [
        (BOTH, 1, ProtType.SRTP, A),
        (BOTH, 2, ProtType.SRTP, A),
        (BOTH, 3, ProtType.SRTP, V),
        (BOTH, 4, ProtType.SRTP, V),
        ((V, A), 1, ProtType.SRTP, V),
        ((V, A), 4, ProtType.SRTP, A),
        ((E, A, F, V), 3, ProtType.SRTP, A),
        ((E, A, F, V), 8, ProtType.SRTP, V),
        # One purpose with the protocol leaves no doubt.
        ((A, E), 7, ProtType.SRTP, A),
        ((E, A), 1, ProtType.SRTP, A),
        ((V,), 200, ProtType.SRTP, V),
        ((A, V, F), 1, ProtType.TLS_PSK, F),
        ((A, V, E), 0, ProtType.CMS, E),
    ],
)
def test_the_cs_id_says_which_purpose(
    purposes: tuple[Purpose, ...], cs_id: int, protocol: ProtType, purpose: Purpose
) -> None:
    assert purpose_of(conference(*purposes), cs_id, protocol) == purpose


@pytest.mark.parametrize(
    ("purposes", "cs_id"), [(BOTH, 0), (BOTH, 5), (BOTH, 255), ((A, F, V), 3), ((E, A, V), 2)]
)
def test_what_is_of_no_media_line_is_not_guessed(purposes: tuple[Purpose, ...], cs_id: int) -> None:
    with pytest.raises(Refused, match=rf"crypto session {cs_id} is .*audio has .*video has") as no:
        purpose_of(conference(*purposes), cs_id, ProtType.SRTP)
    assert no.value.error_no == ErrorNo.INVALID_SP


def test_the_lines_of_a_conference() -> None:
    four = conference(A, V, F, E)
    assert [cs_ids(four, one) for one in four.purposes] == [(1, 2), (3, 4), (5, 6), (7, 8)]


def joined(person: Person, *specs: CsSpec) -> Session:
    """Call in with these crypto sessions."""
    room = person.room
    person.init = room.call(person.ticket(FOCUS), specs, [POLICY], caller=person.who, called=FOCUS)
    return person.take(room.call_in(person.init))


def found(room: Room, session: Session) -> list[tuple[int, Purpose, bool]]:
    """CS ID, purpose of the key and direction of each crypto session."""
    keys = {key.spi: key.purpose for key in room.group_keys()}
    return [
        (one.entry.cs_id, keys[one.entry.spi], session.is_local(one))
        for one in session.crypto_sessions
    ]


def test_a_member_with_video_alone_gets_its_key_alone(room: Room) -> None:
    room.create(BOB, purposes=[A, V, E])
    bob = room.person(BOB)
    session = joined(bob, CsSpec(send=True, cs_id=3), CsSpec(send=False, cs_id=4))
    assert found(room, session) == [(3, V, True), (4, V, False), (5, E, False)]
    assert {key.spi for key in room.group_keys() if key.purpose in (V, E)} == set(bob.keys())


@pytest.mark.parametrize(
    ("specs", "there"),
    [
        ([CsSpec(send=True)], [(1, A, True), (2, A, False)]),
        ([CsSpec(send=False)], [(1, A, False)]),
        ([CsSpec(send=True, cs_id=4)], [(4, V, True), (3, V, False)]),
        ([], [(2, A, False), (4, V, False)]),
        ([CsSpec(send=False, cs_id=9, protocol=ProtType.CMS)], None),
    ],
)
def test_the_system_adds_what_a_member_left_out_of_their_lines(
    room: Room, specs: list[CsSpec], there: list[tuple[int, Purpose, bool]] | None
) -> None:
    """Who leaves everything to the system gets everything."""
    room.create(BOB, purposes=[A, V, E])
    policies = [POLICY] if specs else []
    bob = room.person(BOB)
    bob.init = room.call(bob.ticket(FOCUS), specs, policies, caller=BOB, called=FOCUS)
    session = bob.take(room.call_in(bob.init))
    media = [one for one in found(room, session) if one[1] != E]
    assert media == (there or [])
    assert sum(one[1] == E for one in found(room, session)) == 1


def test_two_streams_in_one_direction_of_a_line_are_not_guessed(room: Room) -> None:
    """A caller who numbers crypto sessions in another way would send video under the audio key."""
    room.create(BOB, purposes=BOTH)
    specs = [CsSpec(send=True), CsSpec(send=True), CsSpec(send=False), CsSpec(send=False)]
    with pytest.raises(Refused, match="crypto sessions 1 and 2 both send audio") as refused:
        joined(room.person(BOB), *specs)
    assert refused.value.error_no == ErrorNo.INVALID_SP
    assert refused.value.answer is not None
    assert room.states() == {}


def test_several_streams_where_there_is_one_purpose(room: Room) -> None:
    room.create(BOB)
    specs = [CsSpec(send=True), CsSpec(send=True), CsSpec(send=True), CsSpec(send=False)]
    session = joined(room.person(BOB), *specs)
    assert {purpose for _, purpose, _ in found(room, session)} == {A}
    assert len(room.ssrcs(BOB)) == 3


def test_a_call_out_offers_every_line_in_order(room: Room) -> None:
    room.create(BOB, purposes=[E, V, A])
    bob = room.person(BOB)
    room.answer(bob.pick_up(room.call_out(BOB)))
    assert bob.session is not None
    assert found(room, bob.session)[1:] == [
        (3, V, False), (4, V, True), (5, A, False), (6, A, True)
    ]  # fmt: skip
    assert found(room, bob.session)[0][:2] == (1, E)


def test_members_of_an_earlier_version_keep_their_purposes(room: Room) -> None:
    """Their crypto sessions were counted, whatever their CS IDs; the key says which is which."""
    room.create(BOB, purposes=BOTH)
    session = joined(room.person(BOB), CsSpec(send=True, cs_id=1), CsSpec(send=True, cs_id=3))
    one, other, *_ = session.crypto_sessions
    old = replace(session, crypto_sessions=(one, replace(other, entry=other.entry.copy(cs_id=2))))
    assert [v for _, v in purposes_of(room.conference(), old, room.group_keys())] == [A, V]
    assert [v for _, v in purposes_of(room.conference(), old)] == [A, A]


@pytest.mark.parametrize(
    "specs", [[CsSpec(send=False)], [CsSpec(send=False, cs_id=2)], []], ids=["1", "2", "none"]
)
def test_who_only_listens_has_an_ssrc_for_rtcp(room: Room, specs: list[CsSpec]) -> None:
    """In the ledger, and for nobody else; the member learns it in the answer."""
    room.create(ALICE, BOB, CAROL)
    listeners = []
    for who in (BOB, CAROL):
        person = room.person(who)
        person.init = room.call(
            person.ticket(FOCUS), specs, [POLICY] if specs else [], caller=who, called=FOCUS
        )
        session = person.take(room.call_in(person.init))
        (one,) = session.crypto_sessions
        assert session.admits_any(one)
        assert room.ssrcs(who) == [one.ssrc]
        media = session.media_key(one)
        report = bytes.fromhex("81c90007") + (one.ssrc or 0).to_bytes(4) + bytes(24)
        listeners.append(libsrtp(one.ssrc or 0, media).protect_rtcp(report))
    room.person(ALICE).call_in()
    check(room.state.path)
    relay = Relay(room.state, room.clock)
    for packet in listeners:
        assert relay.take(packet) == packet
    membership.dismiss(room.system, None, [BOB], deny=True)
    with pytest.raises(Excluded, match="who is no longer in"):
        Relay(room.state, room.clock).take(listeners[0])


def test_a_listener_who_begins_to_send_keeps_the_ssrc_for_rtcp(room: Room) -> None:
    room.create(BOB, purposes=BOTH)
    bob = room.person(BOB)
    joined(bob, CsSpec(send=False, cs_id=2))
    (before,) = room.ssrcs(BOB)
    bob.told(room.call_in(bob.ask(CsSpec(send=True, cs_id=3, ssrc=0x44444444))))
    assert set(room.ssrcs(BOB)) == {before, 0x44444444}
    bob.told(room.call_in(bob.ask(CsSpec(send=True, cs_id=1, ssrc=0x55555555))))
    assert set(room.ssrcs(BOB)) == {before, 0x44444444, 0x55555555}
    check(room.state.path)


def named(cs: str, line_up: LineUp | None = None) -> list[CsSpec]:
    return parse_cs(cs, line_up or LineUp())


@pytest.mark.parametrize(
    "purposes", [(A, V), (V, A), (E, A, V), (V, E, A), (F, V, A)], ids=lambda all_: "-".join(all_)
)
def test_a_stream_that_is_named_has_that_purpose_in_any_order(
    room: Room, purposes: tuple[Purpose, ...]
) -> None:
    """Interpretation 52: whatever its CS ID, and in everything that follows."""
    room.create(BOB, CAROL, purposes=purposes)
    bob = room.person(BOB)
    joined(bob, *named("purpose=video,ssrc=0x11111111"))
    by_spi = {key.spi: key.purpose for key in room.group_keys()}
    assert {by_spi[media.spi] for _, media in bob.sends()} == {V}
    held = bob.keys()
    assert A not in {by_spi.get(spi) for spi in held}
    answer_all(room, membership.change_keys(room.system, None))
    # What has no name is what it was; what is added has its own.
    bob.told(room.call_in(bob.ask(CsSpec(send=True, cs_id=3, ssrc=0x22222222))))
    bob.told(room.call_in(bob.ask(*named("purpose=audio,ssrc=0x33333333"))))
    by_spi = {key.spi: key.purpose for key in room.group_keys()}
    found = {ssrc: by_spi[media.spi] for ssrc, media in bob.sends()}
    assert found == {0x22222222: V, 0x33333333: A}
    seats = {seat.ssrc: seat.purpose for seat in rows.seats(room.state.db, 1)}
    assert (seats[0x22222222], seats[0x33333333]) == (V, A)
    check(room.state.path)


def test_a_name_that_the_conference_does_not_have(room: Room) -> None:
    room.create(BOB, purposes=[A, E])
    with pytest.raises(Refused, match="has no video: it has audio, events") as refused:
        joined(room.person(BOB), *named("purpose=video"))
    assert refused.value.error_no == ErrorNo.INVALID_SP


def lines(*kinds: Purpose | None, declined: int = 0) -> list[MediaLine]:
    """The media lines of a description; the one with a number is declined."""
    return [MediaLine(at, kind, is_declined=at == declined) for at, kind in enumerate(kinds, 1)]


def described(room: Room, around: list[MediaLine], *specs: CsSpec) -> dict[int, Purpose]:
    """The purpose of each crypto session of Bob, who calls in with such a description."""
    bob = room.person(BOB)
    bob.init = room.call(bob.ticket(FOCUS), specs, [POLICY], caller=BOB, called=FOCUS)
    session = bob.take(calling_in.call_in(room.system, bob.init, around))
    return {cs_id: purpose for cs_id, purpose, _ in found(room, session)}


TWO_LINES = [CsSpec(send=at % 2 == 1, cs_id=at) for at in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("purposes", "around", "specs", "expected"),
    [
        (BOTH, (A, V), TWO_LINES, {1: A, 2: A, 3: V, 4: V}),
        (BOTH, (V, A), TWO_LINES, {1: V, 2: V, 3: A, 4: A}),
        (BOTH, (V,), TWO_LINES[:2], {1: V, 2: V}),
        (BOTH, (None, V), TWO_LINES[2:], {3: V, 4: V}),
        (BOTH, (F, V, A), [*TWO_LINES[2:], CsSpec(send=True, cs_id=5)], {3: V, 4: V, 5: A, 6: A}),
        (BOTH, (), TWO_LINES[:2], {1: A, 2: A}),
        ((A,), (A, A), TWO_LINES, {1: A, 2: A, 3: A, 4: A}),
    ],
)
def test_the_types_of_media_lines_say_the_purpose(
    room: Room,
    purposes: tuple[Purpose, ...],
    around: tuple[Purpose | None, ...],
    specs: list[CsSpec],
    expected: dict[int, Purpose],
) -> None:
    """Streams that have no name are of the media line in the description, whatever its place."""
    room.create(BOB, purposes=purposes)
    assert described(room, lines(*around), *specs) == expected
    check(room.state.path)


def test_the_section_of_a_message_says_the_purpose_of_all_its_streams(room: Room) -> None:
    """Other software numbers crypto sessions from 1 in each media section."""
    room.create(BOB, purposes=BOTH)
    assert described(room, [MediaLine(2, V)], *TWO_LINES[:2]) == {1: V, 2: V}


@pytest.mark.parametrize(
    ("purposes", "around", "specs", "why"),
    [
        ((A,), (V,), TWO_LINES[:2], "has no video: it has audio"),
        (BOTH, (A, A), TWO_LINES, "two media lines have one name"),
        (BOTH, (V, A), [CsSpec(send=True, cs_id=1, name="audio")], "is named audio, and its media"),
    ],
)
def test_media_lines_that_do_not_fit_are_refused(
    room: Room,
    purposes: tuple[Purpose, ...],
    around: tuple[Purpose, ...],
    specs: list[CsSpec],
    why: str,
) -> None:
    room.create(BOB, purposes=purposes)
    with pytest.raises(Refused, match=why) as refused:
        described(room, lines(*around), *specs)
    assert refused.value.error_no == ErrorNo.INVALID_SP


def test_a_media_line_that_is_declined_says_nothing(room: Room) -> None:
    room.create(BOB)
    assert described(room, lines(A, V, declined=2), *TWO_LINES) == dict.fromkeys((1, 2, 3, 4), A)


def test_an_update_in_a_description(room: Room) -> None:
    room.create(BOB, purposes=BOTH)
    bob = room.person(BOB)
    assert described(room, lines(V, A), *TWO_LINES[:2]) == {1: V, 2: V}
    with pytest.raises(Refused, match="crypto session 1 is video, and the update names it audio"):
        calling_in.call_in(room.system, bob.ask(CsSpec(send=True, cs_id=1, ssrc=8)), lines(A, V))
    asked = bob.ask(CsSpec(send=True, cs_id=3, ssrc=7))
    bob.told(calling_in.call_in(room.system, asked, lines(V, A)))
    by_spi = {key.spi: key.purpose for key in room.group_keys()}
    assert by_spi[dict(bob.sends())[7].spi] == A


def test_a_call_out_has_the_media_lines_of_the_conference(room: Room) -> None:
    room.create(BOB, purposes=BOTH)
    with pytest.raises(Refused, match="media line 1 of the session description is video"):
        calling_out.call_out(room.system, FOCUS, BOB, 60, lines=lines(V, A))
    assert room.states() == {}
    assert calling_out.call_out(room.system, FOCUS, BOB, 60, lines=lines(A, V))


def test_names_that_contradict_each_other(room: Room) -> None:
    room.create(BOB, purposes=BOTH)
    bob = room.person(BOB)
    audio = CsSpec(send=True, cs_id=1, name="audio")
    with pytest.raises(Refused, match="two media lines have one name"):
        joined(bob, audio, CsSpec(send=False, cs_id=4, name="audio"))
    with pytest.raises(Refused, match="crypto session 2 is named video"):
        joined(bob, audio, CsSpec(send=False, cs_id=2, name="video"))
    joined(bob, audio)
    asked = bob.ask(CsSpec(send=True, cs_id=1, ssrc=7, name="video"))
    with pytest.raises(Refused, match="crypto session 1 is audio, and the update names it video"):
        room.call_in(asked)


def test_a_member_who_missed_many_changes_of_keys_keeps_the_purposes(room: Room) -> None:
    room.create(BOB, purposes=[V, A])
    bob = room.person(BOB)
    joined(bob, *named("purpose=audio"))
    for _ in range(6):
        membership.change_keys(room.system, None)
        room.clock.now += 11 * NS
    answer_all(room, membership.unanswered(room.system, None))
    by_spi = {key.spi: key.purpose for key in room.group_keys()}
    assert {by_spi[media.spi] for _, media in bob.sends()} == {A}
    (shown,) = describe_conferences(room.state, room.clock.now)
    assert len(shown["keys"]) == 6
    membership.change_keys(room.system, None)
    room.clock.now += 11 * NS
    answer_all(room, membership.unanswered(room.system, None))
    membership.change_keys(room.system, None)
    room.clock.now += 11 * NS
    membership.unanswered(room.system, None)
    assert len(room.group_keys()) == 6


@pytest.mark.parametrize("cs_id", [0, 255])
def test_a_name_for_what_is_of_no_media_line(room: Room, cs_id: int) -> None:
    """CS IDs have 8 bits, so 255 has no second one; a name in a message may have any number."""
    room.create(BOB, purposes=[A, V])
    before = room.dump()
    with pytest.raises(Refused, match=f"crypto session {cs_id} is of no media line") as no:
        joined(room.person(BOB), CsSpec(send=True, cs_id=cs_id, ssrc=7, name="video"))
    assert no.value.error_no == ErrorNo.INVALID_SP
    assert room.dump() == before
    for number in (255, 256, 999):
        with pytest.raises(Refused, match="of no media line"):
            lined_up(conference(A, V), {number: "audio"})
    assert cs_ids(lined_up(conference(A, V), {254: "audio"}), A) == (253, 254)


@pytest.mark.parametrize(("cs_id", "name"), [(1, "events"), (3, "events"), (5, "video")])
def test_a_name_of_another_protocol(room: Room, cs_id: int, name: str) -> None:
    """SRTP that is named for events would otherwise get the key of the media line in its place."""
    room.create(BOB, purposes=[A, V, E])
    protocol = ProtType.CMS if name == "video" else ProtType.SRTP
    ssrc = 7 if protocol == ProtType.SRTP else None
    spec = CsSpec(send=True, cs_id=cs_id, ssrc=ssrc, protocol=protocol.value, name=name)
    media = [POLICY, SP(policy_no=1, protocol=ProtType.CMS.value, policy_param=[])]
    bob = room.person(BOB)
    init = room.call(bob.ticket(FOCUS), [spec], media, caller=BOB, called=FOCUS)
    with pytest.raises(Refused, match=f"crypto session {cs_id} is .* and is named {name}") as no:
        room.call_in(init)
    assert no.value.error_no == ErrorNo.INVALID_SP
