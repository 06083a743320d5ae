"""No two streams under one key have one SSRC, however many members there are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pylibsrtp
import pytest

from mikeytool.conference import member_rows, membership, rows
from mikeytool.conference.model import Member, MemberState, Purpose
from mikeytool.conference.streams import Seating, claim
from mikeytool.exchange.environment import Environment
from mikeytool.srtp import MasterKey, Receiver
from mikeytool.srtp.suites import SUITES
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ProtType
from tests.conference.room import FOCUS, Person, Room
from tests.world import ALICE, BOB, CAROL, psk_of

SUITE = SUITES["AES_CM_128_HMAC_SHA1_80"]


def colliding(chance: random.Random, values: int) -> Iterator[int]:
    while True:
        yield chance.randrange(values)


def test_ten_thousand_members_in_random_order_never_share_an_ssrc(room: Room) -> None:
    """Every one proposes one of 4,000 SSRCs, and every second draw is taken as well."""
    room.create(BOB)
    conference = room.conference()
    chance = random.Random(20)
    draws = colliding(chance, 40_000)
    env = Environment(room.env.clock, lambda _: next(draws).to_bytes(4))
    in_force: dict[int, int] = {}
    order = list(range(10_000))
    chance.shuffle(order)
    with room.state.transaction() as db:
        for at in order:
            who = Identity.from_text(f"sip:user-{at}@example.com")
            number = member_rows.put_member(
                db, Member(0, conference.number, who, MemberState.JOINED, at, 1)
            )
            ssrc = claim(db, env, conference, number, Purpose.AUDIO, chance.randrange(4_000))
            assert ssrc not in in_force
            in_force[ssrc] = number
            if chance.random() < 0.2:
                # The SSRC of a leaver stays taken while the key is good.
                rows.release_ssrcs(db, number, 1)
    assert len(in_force) == 10_000


def test_callers_with_one_ssrc_through_the_whole_exchange(room: Room) -> None:
    people = [Identity.from_text(f"sip:guest-{at}@example.com") for at in range(20)]
    for who in people:
        room.store.add_user(who, psk_of(who))
    room.create(*people)
    chance = random.Random(7)
    chance.shuffle(people)
    seen = set()
    for who in people:
        guest = room.person(who)
        guest.call_in(chance.choice([0x11111111, 0x22222222]))
        seen.add(guest.sends()[0][0])
    assert len(seen) == len(people)


@pytest.fixture
def full(room: Room) -> Room:
    """Three members."""
    room.create(BOB, CAROL)
    for who in (ALICE, BOB, CAROL):
        room.person(who).call_in()
    return room


def packet(ssrc: int, sequence: int) -> bytes:
    return b"\x80\x00" + sequence.to_bytes(2) + bytes(4) + ssrc.to_bytes(4) + b"hello everyone"


def protected(person: Person, sequence: int) -> bytes:
    """A packet of someone's own stream, encrypted by libsrtp."""
    ssrc, media = person.sends()[0]
    policy = pylibsrtp.Policy(
        key=media.key + media.salt,
        ssrc_type=pylibsrtp.Policy.SSRC_SPECIFIC,
        ssrc_value=ssrc,
        srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    )
    return pylibsrtp.Session(policy).protect(packet(ssrc, sequence))


def opened(person: Person, data: bytes) -> bytes:
    """What a member's keys for everyone else's streams make of a packet."""
    session = person.session
    assert session is not None
    theirs = next(one for one in session.crypto_sessions if session.admits_any(one))
    spis = [*reversed(theirs.previous), theirs.entry.spi]
    media = [session.media_key(theirs, spi) for spi in spis]
    receiver = Receiver(SUITE, [MasterKey(one.key, one.salt, one.spi) for one in media])
    return receiver.unprotect(data)


def test_media_of_every_member_opens_at_every_other(full: Room) -> None:
    for sender in (ALICE, BOB, CAROL):
        data = protected(full.person(sender), 1)
        ssrc = full.person(sender).sends()[0][0]
        for reader in {ALICE, BOB, CAROL} - {sender}:
            assert opened(full.person(reader), data) == packet(ssrc, 1)


def test_who_has_left_cannot_read_what_follows(full: Room) -> None:
    for update in membership.dismiss(full.desk, None, [BOB], deny=False):
        full.answer(full.person(update.to).update(update.message))
    data = protected(full.person(CAROL), 2)
    assert opened(full.person(ALICE), data)
    with pytest.raises(Refused, match="tag"):
        opened(full.person(BOB), data)


def test_packets_in_flight_open_during_the_overlap(full: Room) -> None:
    data = protected(full.person(CAROL), 3)
    for update in membership.change_keys(full.desk, None):
        full.answer(full.person(update.to).update(update.message))
    assert opened(full.person(ALICE), data)


def test_who_was_called_out_and_never_answered_cannot_read_what_follows(full: Room) -> None:
    membership.dismiss(full.desk, None, [BOB], deny=False)
    bob = full.person(BOB)
    bob.pick_up(full.call_out(BOB, timeout=5))
    full.clock.now += 6_000_000_000
    for update in membership.unanswered(full.desk, None):
        full.answer(full.person(update.to).update(update.message))
    with pytest.raises(Refused, match="tag"):
        opened(bob, protected(full.person(CAROL), 4))


def test_purposes_are_laid_to_crypto_sessions_in_order(room: Room) -> None:
    room.create(BOB)
    three = replace(room.conference(), purposes=(Purpose.VIDEO, Purpose.AUDIO, Purpose.FLOOR))
    seating = Seating(three)
    found = [seating.purpose(ProtType.SRTP, by_member=True) for _ in range(3)]
    assert found == [Purpose.VIDEO, Purpose.AUDIO, Purpose.AUDIO]
    assert seating.purpose(ProtType.SRTP, by_member=False) == Purpose.VIDEO
    assert seating.missing() == [Purpose.AUDIO, Purpose.FLOOR]
    with pytest.raises(Refused, match=f"{FOCUS} has nothing for"):
        seating.purpose(ProtType.CMS, by_member=True)
