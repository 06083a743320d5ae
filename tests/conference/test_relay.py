"""The system takes packets of members who are in, and of nobody else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mikeytool.conference import membership
from mikeytool.conference.model import DEFAULT_OVERLAP, Purpose
from mikeytool.conference.relay import Relay, conference_receivers
from mikeytool.exchange.environment import NS
from mikeytool.exchange.session import KEY_OVERLAP
from mikeytool.media.settings import Settings
from mikeytool.media.whole_captures import decrypt_capture
from mikeytool.srtp import MasterKey, Receiver, Sender
from mikeytool.srtp.index import Excluded, Replayed, Unverified
from mikeytool.wire.errors import Refused, UsageError, WireError
from tests.capture import wires
from tests.conference.room import DAN, Person, Room
from tests.conference.test_ssrcs import SUITE, answer_all, libsrtp, packet
from tests.world import ALICE, BOB, CAROL


@pytest.fixture
def full(room: Room) -> Room:
    """A conference with video as well, in which three people are."""
    room.create(ALICE, BOB, CAROL, purposes=[Purpose.AUDIO, Purpose.VIDEO])
    for person in map(room.person, (ALICE, BOB, CAROL)):
        person.call_in(None, None, receive=2)
    return room


def relay_of(room: Room) -> Relay:
    return Relay(room.system.state, room.env.clock)


def sent(person: Person, sequence: int, stream: int = 0) -> bytes:
    """A packet of one of someone's streams, encrypted by libsrtp."""
    ssrc, media = person.sends()[stream]
    return libsrtp(ssrc, media).protect(packet(ssrc, sequence))


def with_ssrc(person: Person, ssrc: int, sequence: int = 1) -> bytes:
    """A packet that someone encrypts under a group key with any SSRC."""
    _, media = person.sends()[0]
    return libsrtp(ssrc, media).protect(packet(ssrc, sequence))


def test_packets_of_members_pass_as_they_are(full: Room) -> None:
    relay = relay_of(full)
    for who in (ALICE, BOB, CAROL):
        for stream in (0, 1):
            data = sent(full.person(who), 1, stream)
            assert relay.take(data) == data


def test_rtcp_of_a_member_passes(full: Room) -> None:
    ssrc, media = full.person(ALICE).sends()[0]
    report = bytes.fromhex("81c90007") + ssrc.to_bytes(4) + bytes(24)
    data = libsrtp(ssrc, media).protect_rtcp(report)
    relay = relay_of(full)
    assert relay.take(data) == data
    assert relay_of(full).open(data) == report


def test_a_packet_passes_once(full: Room) -> None:
    relay, data = relay_of(full), sent(full.person(ALICE), 1)
    relay.take(data)
    with pytest.raises(Replayed):
        relay.take(data)


def test_an_ssrc_that_nobody_was_given(full: Room) -> None:
    """RFC 6043 does not stop a member from using it; the group key verifies."""
    with pytest.raises(Excluded, match="SSRC 0x0000abcd under the audio key: nobody in sip:room-1"):
        relay_of(full).take(with_ssrc(full.person(BOB), 0xABCD))


def test_the_ssrc_of_somebody_else_is_a_clash(full: Room) -> None:
    """Both packets verify: the second was made by another member with the same SSRC and index."""
    relay = relay_of(full)
    relay.take(sent(full.person(ALICE), 7), "192.0.2.1:4000")
    ssrc, _ = full.person(ALICE).sends()[0]
    _, media = full.person(BOB).sends()[0]
    forged = libsrtp(ssrc, media).protect(packet(ssrc, 7) + b"!")
    with pytest.raises(Refused, match="two different SRTP packets"):
        relay.take(forged, "192.0.2.2:4000")


def test_the_ssrc_of_another_purpose(full: Room) -> None:
    video, _ = full.person(BOB).sends()[1]
    with pytest.raises(Unverified):
        relay_of(full).take(with_ssrc(full.person(BOB), video))


def test_the_ssrc_that_stands_for_everyone_else(full: Room) -> None:
    session = full.person(BOB).session
    assert session is not None
    theirs = next(one for one in session.crypto_sessions if session.admits_any(one))
    assert theirs.ssrc is not None
    with pytest.raises(Excluded, match="nobody sends with it"):
        relay_of(full).take(with_ssrc(full.person(BOB), theirs.ssrc))


@pytest.mark.parametrize("deny", [False, True])
def test_the_expelled_are_out_from_that_moment(full: Room, deny: bool) -> None:
    """Not after the overlap, and whether the others have answered their updates or not."""
    relay, data = relay_of(full), sent(full.person(BOB), 1)
    relay.take(data)
    membership.dismiss(full.system, None, [BOB], deny=deny)
    for taken in (relay, relay_of(full)):
        with pytest.raises(Excluded, match=r"sip:bob@example\.com, who is no longer in"):
            taken.take(sent(full.person(BOB), 2))
    old = sent(full.person(CAROL), 2)
    assert relay.take(old) == old  # under the old key, within the overlap


def test_what_another_process_changes_counts_as_well(full: Room) -> None:
    from mikeytool.conference.database import ConferenceState

    with ConferenceState(full.system.state.path) as other:
        relay = Relay(other, full.env.clock)
        relay.take(sent(full.person(BOB), 1))
        membership.dismiss(full.system, None, [BOB], deny=True)
        with pytest.raises(Excluded):
            relay.take(sent(full.person(BOB), 2))


def test_the_old_key_opens_for_the_overlap_and_no_longer(full: Room) -> None:
    """10 s from T of the update, for the system and for members: one figure."""
    assert DEFAULT_OVERLAP == KEY_OVERLAP == 10
    relay = relay_of(full)
    first, second = sent(full.person(CAROL), 1), sent(full.person(CAROL), 2)
    membership.change_keys(full.system, None)
    full.clock.now += 9 * NS
    assert relay.take(first) == first
    full.clock.now += 2 * NS
    with pytest.raises(Unverified):
        relay.take(second)


def test_the_operator_chooses_the_overlap(full: Room) -> None:
    relay, data = relay_of(full), sent(full.person(CAROL), 1)
    membership.change_keys(full.system, None, overlap=60)
    full.clock.now += 59 * NS
    assert relay.take(data) == data


def test_a_stream_goes_on_under_the_new_key(full: Room) -> None:
    """Its index and its replays are kept over changes of the state."""
    relay, data = relay_of(full), sent(full.person(ALICE), 9)
    relay.take(data)
    membership.allow(full.system, None, [DAN])
    with pytest.raises(Replayed):
        relay.take(data)
    answer_all(full, membership.change_keys(full.system, None))
    fresh = sent(full.person(ALICE), 10)
    assert relay.take(fresh) == fresh


def test_the_roc_goes_on_under_the_new_key(full: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """No packet under either key has to be found by trying other ROCs, which takes longer."""
    ssrc, media = full.person(ALICE).sends()[0]
    old = Sender(SUITE, MasterKey(media.key, media.salt))
    relay = relay_of(full)
    for sequence in (65535, 0):
        relay.take(old.protect(packet(ssrc, sequence)))
    answer_all(full, membership.change_keys(full.system, None))
    _, media = full.person(ALICE).sends()[0]
    new = Sender(SUITE, MasterKey(media.key, media.salt), roc={ssrc: 1})
    monkeypatch.setattr(Receiver, "_find", None)
    for protected in (new.protect(packet(ssrc, 2)), old.protect(packet(ssrc, 1))):
        assert relay.take(protected) == protected


def test_a_lost_roc_is_found_among_forgeries(full: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every packet is searched for then, and no sender can foresee which one is."""
    monkeypatch.setattr("mikeytool.conference.relay.hash", lambda each: each[3], raising=False)
    ssrc, media = full.person(ALICE).sends()[0]
    sender = Sender(SUITE, MasterKey(media.key, media.salt), roc={ssrc: 3})
    relay, genuine = relay_of(full), [sender.protect(packet(ssrc, at)) for at in range(1, 17)]
    searched: list[int] = []
    monkeypatch.setattr(Receiver, "_find", counted(searched, Receiver._find))
    for at in range(100, 164):
        with pytest.raises(Unverified):
            relay.take(packet(ssrc, at) + bytes(10))
    assert len(searched) == 8 + 56 // 8
    passed = []
    for each in genuine:
        with suppress(Unverified):
            passed.append(relay.take(each))
    assert passed == genuine[7:]


def counted(calls: list[int], function: Callable[..., Any]) -> Callable[..., Any]:
    def noting(*arguments: Any) -> Any:
        calls.append(len(calls))
        return function(*arguments)

    return noting


def test_an_ssrc_that_was_given_up_by_calling_in_again(full: Room) -> None:
    relay, before = relay_of(full), sent(full.person(BOB), 1)
    full.person(BOB).come_back()
    with pytest.raises(Excluded, match=r"sip:bob@example\.com has another SSRC now"):
        relay.take(before)
    now = sent(full.person(BOB), 1)
    assert relay.take(now) == now


def test_the_invited_are_not_in_yet(full: Room) -> None:
    membership.allow(full.system, None, [DAN])
    full.person(DAN).pick_up(full.call_out(DAN), ssrc=0x77777777)
    with pytest.raises(Excluded):
        relay_of(full).take(sent(full.person(DAN), 1))


@pytest.mark.parametrize("data", [b"", b"\x80", bytes(40), b"\x80\xc9\x00\x07"])
def test_what_is_no_packet(full: Room, data: bytes) -> None:
    with pytest.raises((WireError, Refused)):
        relay_of(full).take(data)


def test_a_conference_without_media(room: Room) -> None:
    room.create(ALICE, BOB, purposes=[Purpose.EVENTS])
    with pytest.raises(UsageError, match="no media"):
        relay_of(room)


# --- Captures -----------------------------------------------------------------------------


def frames(*packets: tuple[int, bytes]) -> bytes:
    """A capture: the last octet of the source's address, and the packet."""
    made = []
    for source, payload in packets:
        pair = (f"192.0.2.{source}", wires.DESTINATION)
        made.append(
            wires.ethernet(
                wires.ipv4(wires.udp(payload, wires.packed(*pair), (5004, 5006)), addresses=pair),
                0x0800,
            )
        )
    return wires.pcap(made)


def test_a_capture_of_a_conference(full: Room, tmp_path: Path) -> None:
    capture, clear = tmp_path / "in.pcap", tmp_path / "out.pcap"
    stranger = with_ssrc(full.person(BOB), 0xABCD)
    expelled = sent(full.person(CAROL), 1)
    membership.dismiss(full.system, None, [CAROL], deny=False)
    capture.write_bytes(
        frames((1, sent(full.person(ALICE), 1)), (2, stranger), (3, expelled), (4, b"other"))
    )
    settings = Settings(now_ns=full.env.clock())
    keys = conference_receivers(full.system.state.path, settings)
    report = decrypt_capture(capture, clear, keys, settings=settings)
    assert [(one.done, one.failed) for one in report.streams] == [(1, 0), (0, 1), (0, 1)]
    assert any("nobody in sip:room-1" in text for text in report.failures)
    assert any("is no longer in the conference" in text for text in report.failures)
    assert b"hello everyone" in clear.read_bytes()


def test_an_independent_stream_under_a_key_of_another_conference(full: Room) -> None:
    sender = Sender(SUITE, MasterKey(bytes(16), bytes(14)))
    ssrc, _ = full.person(ALICE).sends()[0]
    with pytest.raises(Unverified):
        relay_of(full).take(sender.protect(packet(ssrc, 1)))
