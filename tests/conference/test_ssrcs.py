"""No two streams under one key have one SSRC, however many members there are."""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import permutations

import pylibsrtp
import pytest

from mikeytool.conference import member_rows, membership, rows
from mikeytool.conference.model import Member, MemberState, Purpose, Update
from mikeytool.conference.ssrcs import claim
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.error import error_message
from mikeytool.exchange.session import KEY_OVERLAP, MediaKey
from mikeytool.srtp import MasterKey, Receiver, Sender
from mikeytool.srtp.suites import SUITES
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.registry import ErrorNo
from tests.conference.invariants import check
from tests.conference.room import DAN, FOCUS, Person, Room
from tests.world import ALICE, BOB, CAROL, EVE, psk_of

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
    """They propose one of two, and what the system draws instead is taken more often than not."""
    people = [Identity.from_text(f"sip:guest-{at}@example.com") for at in range(40)]
    for who in people:
        room.store.add_user(who, psk_of(who))
    room.create(*people)
    chance = random.Random(7)
    chance.shuffle(people)
    draws = colliding(chance, 80)

    def drawn(length: int) -> bytes:
        return next(draws).to_bytes(4) if length == 4 else os.urandom(length)

    room.system = replace(room.system, env=Environment(room.clock, drawn))
    streams: set[tuple[bytes, int]] = set()
    for at, who in enumerate(people):
        guest = room.person(who)
        ssrc = chance.choice([0x11111111, 0x22222222])
        if at % 4:
            guest.ticket(FOCUS)
            guest.take(room.call_in(guest.call(ssrcs=[ssrc, ssrc + 1])))
        else:
            updates = room.answer(guest.pick_up(room.call_out(who), ssrc=ssrc)).updates
            answer_all(room, updates)
        mine = {(media.key, ssrc) for ssrc, media in guest.sends()}
        assert not mine & streams
        streams |= mine
    check(room.state.path)


def packet(ssrc: int, sequence: int) -> bytes:
    return b"\x80\x00" + sequence.to_bytes(2) + bytes(4) + ssrc.to_bytes(4) + b"hello everyone"


def libsrtp(ssrc: int, media: MediaKey) -> pylibsrtp.Session:
    """A stream in the hands of another implementation."""
    return pylibsrtp.Session(
        pylibsrtp.Policy(
            key=media.key + media.salt,
            ssrc_type=pylibsrtp.Policy.SSRC_SPECIFIC,
            ssrc_value=ssrc,
            srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
        )
    )


def protected(person: Person, sequence: int) -> bytes:
    """A packet of someone's own stream, encrypted by libsrtp."""
    ssrc, media = person.sends()[0]
    return libsrtp(ssrc, media).protect(packet(ssrc, sequence))


def opened(person: Person, data: bytes) -> bytes:
    """What a member's keys for everyone else's streams make of a packet, now."""
    session = person.session
    assert session is not None
    theirs = next(one for one in session.crypto_sessions if session.admits_any(one))
    spis = [*session.still_valid(theirs, person.room.clock.now), theirs.entry.spi]
    media = [session.media_key(theirs, spi) for spi in spis]
    receiver = Receiver(SUITE, [MasterKey(one.key, one.salt, one.spi) for one in media])
    return receiver.unprotect(data)


def every_pair_hears(room: Room, people: Sequence[Identity]) -> None:
    """Each one's packets open at every other, libsrtp at either end."""
    for sender, reader in permutations(map(room.person, people), 2):
        ssrc, media = sender.sends()[0]
        assert opened(reader, protected(sender, 1)) == packet(ssrc, 1)
        mine = Sender(SUITE, MasterKey(media.key, media.salt, media.spi))
        # What the reader has for everyone else's streams, in libsrtp.
        assert reader.session is not None
        theirs = next(
            one for one in reader.session.crypto_sessions if reader.session.admits_any(one)
        )
        other = libsrtp(ssrc, reader.session.media_key(theirs))
        assert other.unprotect(mine.protect(packet(ssrc, 2))) == packet(ssrc, 2)


def answer_all(room: Room, updates: Collection[Update]) -> None:
    for update in updates:
        room.answer(room.person(update.to).update(update.message))


def test_media_of_every_member_opens_at_every_other(full: Room) -> None:
    """Of those who called in and those who were called out, before a change of keys and after."""
    membership.allow(full.system, None, [DAN, EVE])
    for who in (DAN, EVE):
        full.answer(full.person(who).pick_up(full.call_out(who)))
    everyone = (ALICE, BOB, CAROL, DAN, EVE)
    every_pair_hears(full, everyone)
    answer_all(full, membership.change_keys(full.system, None))
    every_pair_hears(full, everyone)


def test_who_has_not_got_the_new_key_hears_nothing_under_it(full: Room) -> None:
    updates = membership.change_keys(full.system, None)
    answer_all(full, [update for update in updates if update.to != BOB])
    data = protected(full.person(CAROL), 2)
    assert opened(full.person(ALICE), data)
    with pytest.raises(Refused, match="tag"):
        opened(full.person(BOB), data)
    answer_all(full, membership.unanswered(full.system, None))
    assert opened(full.person(BOB), data)


def test_who_has_left_cannot_read_what_follows(full: Room) -> None:
    answer_all(full, membership.dismiss(full.system, None, [BOB], deny=False))
    data = protected(full.person(CAROL), 2)
    assert opened(full.person(ALICE), data)
    with pytest.raises(Refused, match="tag"):
        opened(full.person(BOB), data)


def test_packets_in_flight_open_during_the_overlap(full: Room) -> None:
    data = protected(full.person(CAROL), 3)
    answer_all(full, membership.change_keys(full.system, None))
    assert opened(full.person(ALICE), data)
    full.clock.now += KEY_OVERLAP * NS
    with pytest.raises(Refused, match="tag"):
        opened(full.person(ALICE), data)


def test_who_refused_cannot_read_what_follows(full: Room) -> None:
    """They have the key that they were called with, and it was changed."""
    membership.allow(full.system, None, [DAN])
    init = full.call_out(DAN)
    dan = full.person(DAN)
    dan.pick_up(init)
    verified = full.verified(init, DAN)
    keys = verified.init.keys(verified.resolved.keys.mpki.key, response=False)
    header = Message.parse(init).header
    assert opened(dan, protected(full.person(CAROL), 4))
    refused = full.answer(error_message(full.env, header, ErrorNo.UNSPECIFIED, keys))
    answer_all(full, refused.updates)
    with pytest.raises(Refused, match="tag"):
        opened(dan, protected(full.person(CAROL), 5))


def test_who_was_called_out_and_never_answered_cannot_read_what_follows(full: Room) -> None:
    membership.dismiss(full.system, None, [BOB], deny=False)
    bob = full.person(BOB)
    bob.pick_up(full.call_out(BOB, timeout=5))
    full.clock.now += 6_000_000_000
    answer_all(full, membership.unanswered(full.system, None))
    with pytest.raises(Refused, match="tag"):
        opened(bob, protected(full.person(CAROL), 4))
