"""Conferences with other suites than the default, for members of both profiles (RFC 6043 12.1)."""

from __future__ import annotations

import pylibsrtp
import pytest

from mikeytool.conference import membership
from mikeytool.conference.model import Purpose
from mikeytool.conference.purpose_suites import parse_purposes
from mikeytool.conference.relay import Relay
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.error import ErrorReceived
from mikeytool.exchange.profile import PROFILE_128, PROFILE_256, Profile
from mikeytool.srtp import MasterKey, Receiver, Sender
from mikeytool.srtp.security_policy import policy_for, suite_of
from mikeytool.srtp.suites import SUITES, Suite
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.payloads import SP
from mikeytool.wire.registry import ErrorNo, ProtType
from tests.conference.room import DAN, FOCUS, Person, Room
from tests.conference.test_ssrcs import answer_all, packet
from tests.srtp.test_libsrtp_policies import CIPHERS, peer
from tests.world import ALICE, BOB, CAROL

A, V = Purpose.AUDIO, Purpose.VIDEO
CM_128, CM_256 = SUITES["AES_CM_128_HMAC_SHA1_80"], SUITES["AES_256_CM_HMAC_SHA1_80"]
GCM_128, GCM_256 = SUITES["AEAD_AES_128_GCM"], SUITES["AEAD_AES_256_GCM"]
PYLIBSRTP = {
    "AES_CM_128_HMAC_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


def call_in(person: Person, suite: Suite, profile: Profile, streams: int = 1) -> None:
    """Call in with a ticket of a profile, offering a suite."""
    person.ticket(FOCUS, profile=profile)
    init = person.call(FOCUS, [None] * streams, streams, [policy_for(suite, 0)])
    person.take(person.room.call_in(init))


def protected(suite: Suite, person: Person, sequence: int, stream: int = 0) -> bytes:
    """A packet of someone's stream, encrypted by libsrtp if it has the suite."""
    ssrc, media = person.sends()[stream]
    data, master = packet(ssrc, sequence), MasterKey(media.key, media.salt, media.spi)
    if suite.name in PYLIBSRTP:
        policy = pylibsrtp.Policy(
            key=media.key + media.salt,
            ssrc_type=pylibsrtp.Policy.SSRC_SPECIFIC,
            ssrc_value=ssrc,
            srtp_profile=PYLIBSRTP[suite.name],
        )
        return pylibsrtp.Session(policy).protect(data)
    if (suite.cipher, suite.key_length) in CIPHERS:
        return peer(suite, [master], None, [data], protect=True)[0]
    return Sender(suite, master).protect(data)  # libsrtp has neither F8 nor RFC 6188's AES-192


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_members_of_every_profile_that_can_hear_each_other(room: Room, suite: Suite) -> None:
    """Those who called in and one who was called out, before a change of keys and after."""
    long = suite.key_length > 16
    room.create(BOB, CAROL, DAN, suites={A: suite})
    alice, bob, dan = map(room.person, (ALICE, BOB, DAN))
    call_in(alice, suite, PROFILE_256)
    call_in(bob, suite, PROFILE_256 if long else PROFILE_128)
    room.answer(dan.pick_up(room.call_out(DAN)))
    for sequence in (1, 2):
        (key,) = [key for key in room.group_keys() if key.until_ns is None]
        assert (len(key.tek), len(key.salt)) == (suite.key_length, suite.salt_length)
        relay = Relay(room.state, room.clock)
        for person in (alice, bob, dan):
            assert person.sends()[0][1].key == key.tek
            data = protected(suite, person, sequence)
            assert relay.take(data) == data
            ours = Receiver(suite, [MasterKey(key.tek, key.salt, key.spi)])
            assert ours.unprotect(data) == packet(person.sends()[0][0], sequence)
        answer_all(room, membership.change_keys(room.system, None))


@pytest.mark.parametrize(
    ("suite", "offered", "profile", "why"),
    [
        (CM_256, CM_128, PROFILE_128, "offers AES_CM_128_HMAC_SHA1_80; audio of sip:room-1@"),
        (CM_256, CM_128, PROFILE_256, "goes with AES_256_CM_HMAC_SHA1_80"),
        (GCM_128, CM_128, PROFILE_128, "goes with AEAD_AES_128_GCM"),
        (GCM_256, GCM_128, PROFILE_256, "goes with AEAD_AES_256_GCM"),
        (CM_128, SUITES["AES_CM_128_HMAC_SHA1_32"], PROFILE_128, "goes with AES_CM_128"),
    ],
)
def test_who_cannot_do_it_is_told_what_would(
    room: Room, suite: Suite, offered: Suite, profile: Profile, why: str
) -> None:
    """The operator in words, and the caller by an Error message that it can verify."""
    room.create(BOB, suites={A: suite})
    bob = room.person(BOB)
    with pytest.raises(Refused, match=why) as refused:
        call_in(bob, offered, profile)
    assert refused.value.error_no == ErrorNo.INVALID_SPPAR
    with pytest.raises(ErrorReceived) as told:
        bob.take(refused.value.answer or b"")
    assert told.value.verified
    assert [suite_of(policy) for policy in told.value.supported] == [suite]
    assert room.states() == {}


def test_a_ticket_of_the_short_profile_gets_no_long_key(room: Room) -> None:
    """Its holder may leave the suite to the system, which has none for them."""
    room.create(BOB, suites={A: GCM_256})
    bob = room.person(BOB)
    bob.ticket(FOCUS)
    with pytest.raises(Refused, match="256 bits; that needs a ticket requested with --profile 256"):
        room.call_in(bob.call(policies=[]))
    bob.ticket(FOCUS, profile=PROFILE_256)
    session = bob.take(room.call_in(bob.call(policies=[])))
    found = {one.policy and suite_of(one.policy) for one in session.crypto_sessions}
    assert found == {GCM_256}


@pytest.mark.parametrize("events", [False, True], ids=["nothing", "events"])
def test_the_length_of_the_key_is_said_to_who_leaves_streams_to_the_system(
    room: Room, events: bool
) -> None:
    room.create(BOB, purposes=[A, Purpose.EVENTS], suites={A: GCM_256})
    bob = room.person(BOB)
    cms = ProtType.CMS.value
    specs = [CsSpec(send=False, protocol=cms)] * events
    policies = [SP(policy_no=0, protocol=cms, policy_param=[])] * events
    init = room.call(bob.ticket(FOCUS), specs, policies, caller=BOB, called=FOCUS)
    with pytest.raises(Refused, match="256 bits; that needs a ticket requested with") as refused:
        room.call_in(init)
    assert refused.value.error_no == ErrorNo.INVALID_SPPAR
    assert refused.value.answer is not None


def test_a_suite_for_each_purpose(room: Room) -> None:
    """Who has the short profile takes part in the audio, and gets the key of that alone."""
    suites = {A: CM_128, V: GCM_256}
    room.create(BOB, CAROL, DAN, purposes=[A, V, Purpose.EVENTS], suites=suites)
    call_in(room.person(BOB), CM_128, PROFILE_128)
    short = room.person(BOB).keys()
    assert {key.spi for key in room.group_keys() if key.purpose != V} == set(short)
    with pytest.raises(Refused, match="video of sip:room-1"):
        call_in(room.person(CAROL), CM_128, PROFILE_256, streams=2)
    carol = room.person(CAROL)
    carol.ticket(FOCUS, profile=PROFILE_256)
    both = [policy_for(CM_128, 0), policy_for(GCM_256, 1)]
    session = carol.take(room.call_in(carol.call(FOCUS, [None, None], 2, both)))
    found = {
        one.entry.cs_id: one.policy and suite_of(one.policy) for one in session.crypto_sessions
    }
    assert found == {1: CM_128, 2: CM_128, 3: GCM_256, 4: GCM_256, 5: None}
    room.answer(room.person(DAN).pick_up(room.call_out(DAN)))
    relay = Relay(room.state, room.clock)
    for who in (CAROL, DAN):
        for stream, suite in enumerate(suites.values()):
            relay.take(protected(suite, room.person(who), 1, stream))
    # After a change of keys Bob still has no key of the video.
    answer_all(room, membership.change_keys(room.system, None))
    video = {key.spi for key in room.group_keys() if key.purpose == V}
    assert not video & set(room.person(BOB).keys())


class OtherPolicy:
    """Answers with a policy that was offered for another crypto session."""

    def fits(self, entry: GenericIdEntry, policy: SP) -> bool:
        return True

    def arrange(self, entry: GenericIdEntry, by_initiator: bool) -> GenericIdEntry:
        return entry.copy(policies=[1 - entry.policies[0]])


def test_an_answer_with_the_suite_of_another_purpose(room: Room) -> None:
    """Keys of both suites are as long, so nothing else would tell."""
    room.create(DAN, purposes=[A, V], suites={V: SUITES["AES_CM_128_HMAC_SHA1_32"]})
    answer, _ = room.answered(room.call_out(DAN), DAN, arrangement=OtherPolicy())
    answered = room.answer(answer)
    assert "has not the suite of its purpose" in str(answered.refusal)
    assert room.states()[DAN] == "left"


def test_purposes_in_words() -> None:
    assert parse_purposes(["audio"], None) == ([A], {})
    assert parse_purposes(["video,audio", "events"], "AEAD_AES_128_GCM") == (
        [V, A, Purpose.EVENTS],
        {V: GCM_128, A: GCM_128},
    )
    assert parse_purposes(["audio", "video=AEAD_AES_256_GCM"], "AEAD_AES_128_GCM") == (
        [A, V],
        {A: GCM_128, V: GCM_256},
    )


@pytest.mark.parametrize(
    ("texts", "suite", "why"),
    [
        (["audio,music"], None, "'music': it takes audio, video, floor and events"),
        ([""], None, "it takes audio"),
        (["audio="], None, "unknown suite ''"),
        (["audio,audio"], None, "audio is there twice"),
        (["audio", "audio=AEAD_AES_128_GCM"], None, "audio is there twice"),
        (["events=AEAD_AES_128_GCM"], None, "events is not SRTP"),
        (["audio=AES_512"], None, "unknown suite 'AES_512'"),
        (["audio"], "AES_512", "unknown suite 'AES_512'"),
        (["events"], "AEAD_AES_128_GCM", "no purpose takes it"),
        (["audio=AEAD_AES_256_GCM"], "AEAD_AES_128_GCM", "no purpose takes it"),
    ],
)
def test_purposes_that_are_none(texts: list[str], suite: str | None, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_purposes(texts, suite)
