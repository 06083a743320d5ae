"""A mixer: members hear it and nobody else, and no key stream is used twice, whatever crashes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pylibsrtp import Policy
from pylibsrtp import Session as LibSrtp

from mikeytool.client.session_files import SessionFile
from mikeytool.client.state import ClientState
from mikeytool.conference import membership, mixer_rows
from mikeytool.conference.mixer import AHEAD, Mixer
from mikeytool.conference.mixer_session import set_up_mixer
from mikeytool.conference.model import MixerStream, Purpose, Topology
from mikeytool.conference.relay import Relay, conference_receivers
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS
from mikeytool.exchange.session import MediaKey, Session
from mikeytool.exchange.update import update_init
from mikeytool.media.session_contexts import receivers_of_session
from mikeytool.media.settings import Settings
from mikeytool.srtp import SUITES, MasterKey, Receiver
from mikeytool.srtp.index import Excluded, Highest, Replayed
from mikeytool.wire.errors import Refused, StateError, UsageError
from mikeytool.wire.identity import Identity
from tests.conference.invariants import check
from tests.conference.room import DAN, FOCUS, Person, Room
from tests.conference.test_relay import sent, with_ssrc
from tests.conference.test_ssrcs import answer_all, libsrtp
from tests.world import ALICE, BOB, CAROL, POLICY

TRIO = (ALICE, BOB, CAROL)
OTHER = Identity.from_text("sip:room-2@conf.example.com")


def conference(room: Room, topology: Topology, *purposes: Purpose) -> Room:
    """A conference in which three people are."""
    room.create(*TRIO, purposes=purposes or (Purpose.AUDIO,), topology=topology)
    for who in TRIO:
        room.person(who).call_in()
    return room


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mixer.session"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[ClientState]:
    with closing(ClientState.create(tmp_path / "client.state")) as made:
        yield made


def set_up(room: Room, file: Path, *, force: bool = False) -> Session:
    set_up_mixer(room.system, None, Purpose.AUDIO, file, force=force)
    return SessionFile.read(file).established


def started(room: Room, file: Path, memory: ClientState) -> Mixer:
    return Mixer(room.state, memory, file, room.env.clock)


def only(mixer: Mixer) -> MixerStream:
    (stream,) = mixer.streams
    return stream


def received(person: Person) -> int | None:
    """The SSRC that somebody receives; None for any."""
    assert person.session is not None
    path = Path("theirs")
    (context,) = (
        one
        for one in receivers_of_session(path, SessionFile(person.session), Settings())
        if one.ssrcs != frozenset({person.sends()[0][0]})
    )
    return None if context.ssrcs is None else next(iter(context.ssrcs))


def opened(person: Person, packet: bytes) -> bytes:
    """A packet as somebody's telephone opens it, which is libsrtp."""
    _, media = person.sends()[0]
    key = media.key + media.salt
    return LibSrtp(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND)).unprotect(packet)


def index_of(packet: bytes) -> tuple[bytes, bytes]:
    """SSRC and sequence number."""
    return packet[8:12], packet[2:4]


def test_members_admit_the_mixer_and_nobody_else(room: Room, file: Path) -> None:
    conference(room, Topology.MIXER)
    session = set_up(room, file)
    mine = [one.ssrc for one in session.crypto_sessions if session.is_local(one)]
    assert len(mine) == 1
    assert {received(room.person(who)) for who in TRIO} == set(mine)
    assert file.stat().st_mode & 0o777 == 0o600


def test_someone_who_is_called_out_admits_the_mixer_alone(room: Room, file: Path) -> None:
    conference(room, Topology.MIXER)
    membership.allow(room.system, None, [DAN])
    room.answer(room.person(DAN).pick_up(room.call_out(DAN), ssrc=0x77777777))
    assert received(room.person(DAN)) == received(room.person(ALICE)) is not None


def test_members_of_a_relay_admit_everybody(room: Room, file: Path) -> None:
    conference(room, Topology.RELAY)
    set_up(room, file)
    assert received(room.person(ALICE)) is None


def test_a_second_stream_to_receive_does_not_open_the_door(room: Room) -> None:
    room.create(ALICE, topology=Topology.MIXER)
    session = room.person(ALICE).call_in(receive=2)
    assert not any(map(session.admits_any, session.crypto_sessions))


@pytest.mark.parametrize("topology", [Topology.MIXER, Topology.MIX_MINUS])
@pytest.mark.parametrize(
    "specs", [[CsSpec(send=False)], [CsSpec(send=False, cs_id=2)], []], ids=len
)
def test_who_only_listens_has_an_ssrc_for_rtcp(
    room: Room, topology: Topology, specs: list[CsSpec]
) -> None:
    """One more crypto session to receive, in which nothing is sent: its SSRC is theirs."""
    room.create(ALICE, BOB, topology=topology)
    room.person(ALICE).call_in()
    bob = room.person(BOB)
    bob.init = room.call(
        bob.ticket(FOCUS), specs, [POLICY] if specs else [], caller=BOB, called=FOCUS
    )
    session = bob.take(room.call_in(bob.init))
    assert not any(map(session.admits_any, session.crypto_sessions))
    mixed, own = session.crypto_sessions
    assert {mixed.entry.cs_id, own.entry.cs_id} == {1, 2}
    assert room.ssrcs(BOB) == [own.ssrc]
    assert mixed.ssrc not in (own.ssrc, *room.ssrcs(ALICE))
    report = bytes.fromhex("81c90007") + (own.ssrc or 0).to_bytes(4) + bytes(24)
    packet = libsrtp(own.ssrc or 0, session.media_key(own)).protect_rtcp(report)
    assert Relay(room.state, room.clock).take(packet) == packet
    check(room.state.path)
    answer_all(room, membership.change_keys(room.system, None))
    assert room.ssrcs(BOB) == [own.ssrc]
    check(room.state.path)


def test_a_listener_of_a_mixer_with_several_media(room: Room) -> None:
    """Their updates still are of the media line that they name."""
    both = (Purpose.AUDIO, Purpose.VIDEO)
    room.create(BOB, purposes=both, topology=Topology.MIXER)
    bob = room.person(BOB)
    bob.init = room.call(
        bob.ticket(FOCUS), [CsSpec(send=False, cs_id=2)], [POLICY], caller=BOB, called=FOCUS
    )
    bob.take(room.call_in(bob.init))
    (own,) = room.ssrcs(BOB)
    bob.told(room.call_in(bob.ask(CsSpec(send=True, cs_id=3, ssrc=0x33333333))))
    assert set(room.ssrcs(BOB)) == {own, 0x33333333}
    check(room.state.path)
    bob.told(room.call_in(bob.ask(CsSpec(send=True, cs_id=3, ssrc=0x44444444))))
    assert set(room.ssrcs(BOB)) == {own, 0x44444444}
    check(room.state.path)


def test_an_update_does_not_open_the_door(room: Room) -> None:
    conference(room, Topology.MIXER)
    before = received(room.person(ALICE))
    answer_all(room, membership.change_keys(room.system, None))
    assert received(room.person(ALICE)) == before


def test_packets_in_and_packets_out(room: Room, file: Path, memory: ClientState) -> None:
    """Both ends are libsrtp; the speakers' SSRCs are the CSRCs."""
    conference(room, Topology.MIXER)
    set_up(room, file)
    mixer = started(room, file, memory)
    heard = mixer.take(sent(room.person(ALICE), 7))
    assert heard is not None
    assert (heard.who, heard.sequence, heard.payload) == (str(ALICE), 7, b"hello everyone")
    speakers = [room.person(who).sends()[0][0] for who in (ALICE, BOB)]
    packet = mixer.send(only(mixer), b"mixed", 160, speakers, payload_type=8, marker=True)
    clear = opened(room.person(CAROL), packet)
    assert clear[:2] == b"\x82\x88"
    assert clear[4:8] == (160).to_bytes(4)
    assert clear[12:20] == b"".join(one.to_bytes(4) for one in speakers)
    assert clear[20:] == b"mixed"


def test_reports_in_and_out(room: Room, file: Path, memory: ClientState) -> None:
    conference(room, Topology.MIXER)
    set_up(room, file)
    mixer, (ssrc, media) = started(room, file, memory), room.person(ALICE).sends()[0]
    report = bytes.fromhex("81c90007") + ssrc.to_bytes(4) + bytes(24)
    assert mixer.take(telephone(media).protect_rtcp(report)) is None
    stream = only(mixer)
    own = bytes.fromhex("80c90001") + stream.ssrc.to_bytes(4)
    assert telephone(media).unprotect_rtcp(mixer.report(stream, own)) == own
    with pytest.raises(UsageError):
        mixer.report(stream, report)


def telephone(media: MediaKey) -> LibSrtp:
    key = media.key + media.salt
    return LibSrtp(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND))


def test_each_hears_the_other_two(room: Room, file: Path, memory: ClientState) -> None:
    conference(room, Topology.MIX_MINUS)
    set_up(room, file)
    mixer = started(room, file, memory)
    heard = [mixer.take(sent(room.person(who), 1)) for who in TRIO]
    assert len({stream.ssrc for stream in mixer.streams}) == 3
    for who in TRIO:
        person = room.person(who)
        (stream,) = (one for one in mixer.streams if one.ssrc == received(person))
        assert stream.receiver == who
        others = [one.ssrc for one in heard if one and one.ssrc not in stream.without]
        clear = opened(person, mixer.send(stream, b"", 0, others))
        assert clear[12:] == b"".join(one.to_bytes(4) for one in others)
        assert person.sends()[0][0] not in others
        assert len(others) == 2


def test_padding_is_no_sound(room: Room, file: Path, memory: ClientState) -> None:
    conference(room, Topology.MIXER)
    set_up(room, file)
    ssrc, media = room.person(ALICE).sends()[0]
    packet = b"\xa0\x00" + (1).to_bytes(2) + bytes(4) + ssrc.to_bytes(4) + b"sound\x00\x00\x03"
    made = LibSrtp(Policy(key=media.key + media.salt, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    heard = started(room, file, memory).take(made.protect(packet))
    assert heard is not None
    assert heard.payload == b"sound"


@pytest.mark.parametrize("name", ["AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80"])
def test_a_mixer_with_another_suite(room: Room, file: Path, memory: ClientState, name: str) -> None:
    chosen = SUITES[name]
    room.create(*TRIO, suites={Purpose.AUDIO: chosen}, topology=Topology.MIXER)
    set_up(room, file)
    mixer = started(room, file, memory)
    (key,) = room.group_keys()
    packet = mixer.send(only(mixer), b"mixed", 0)
    receiver = Receiver(chosen, [MasterKey(key.tek, key.salt)])
    assert receiver.unprotect(packet)[12:] == b"mixed"


def test_video_is_no_sound(room: Room, file: Path, memory: ClientState) -> None:
    room.create(*TRIO, purposes=(Purpose.AUDIO, Purpose.VIDEO), topology=Topology.MIXER)
    room.person(ALICE).call_in(None, None, receive=2)
    set_up(room, file)
    with pytest.raises(Refused, match="sends video, no audio"):
        started(room, file, memory).take(sent(room.person(ALICE), 1, 1))


def test_a_mixer_that_was_killed_uses_no_index_again(
    room: Room, file: Path, memory: ClientState
) -> None:
    conference(room, Topology.MIXER)
    set_up(room, file)
    seen = set[tuple[bytes, bytes]]()
    for _ in range(3):
        mixer = started(room, file, memory)
        for at in range(5):
            seen.add(index_of(mixer.send(only(mixer), b"", at)))
    assert len(seen) == 15
    started(room, file, memory).save()
    numbers = []
    for _ in range(2):
        mixer = started(room, file, memory)
        numbers.append(int.from_bytes(index_of(mixer.send(only(mixer), b"", 0))[1]))
    assert numbers[1] - numbers[0] == AHEAD


def test_a_mixer_that_ended_goes_on_with_the_next_index(
    room: Room, file: Path, memory: ClientState
) -> None:
    conference(room, Topology.MIXER)
    set_up(room, file)
    numbers = []
    for _ in range(3):
        mixer = started(room, file, memory)
        numbers.append(int.from_bytes(index_of(mixer.send(only(mixer), b"", 0))[1]))
        mixer.save()
        set_up(room, file)
    assert numbers == [0, 1, 2]


def test_two_mixers_from_one_file(room: Room, file: Path, memory: ClientState) -> None:
    conference(room, Topology.MIXER)
    set_up(room, file)
    first, second = started(room, file, memory), started(room, file, memory)
    first.send(only(first), b"", 0)
    with pytest.raises(Refused):
        second.send(only(second), b"", 0)


def test_a_copy_of_the_file_on_another_machine(
    room: Room, file: Path, memory: ClientState, tmp_path: Path
) -> None:
    """Its client has another memory, but the ledger is one."""
    conference(room, Topology.MIXER)
    set_up(room, file)
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    with closing(ClientState.create(tmp_path / "other.state")) as other:
        here, there = started(room, file, memory), started(room, copy, other)
        here.send(only(here), b"", 0)
        with pytest.raises(Refused, match="another mixer sends"):
            there.send(only(here), b"", 0)
        later = started(room, copy, other)
        assert later.send(only(later), b"", 0)[2:4] == AHEAD.to_bytes(2)
        membership.change_keys(room.system, None)
        with pytest.raises(Refused, match="another mixer sends"):
            here.send(only(later), b"", 0)


def test_reports_of_a_copy_of_the_file(
    room: Room, file: Path, memory: ClientState, tmp_path: Path
) -> None:
    """SRTCP has a key stream as well, even of a mixer that has not sent a packet."""
    conference(room, Topology.MIXER)
    set_up(room, file)
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    here = started(room, file, memory)
    report = b"\x80\xc9\0\x01" + only(here).ssrc.to_bytes(4)
    first = here.report(only(here), report)
    here.save()
    with closing(ClientState.create(tmp_path / "other.state")) as other:
        there = started(room, copy, other)
        second = there.report(only(there), report)
        assert [int.from_bytes(one[8:12]) & 0x7FFFFFFF for one in (first, second)] == [0, 1]
        with pytest.raises(Refused, match="another mixer sends"):
            here.save()


def test_who_is_only_invited_gets_no_stream(room: Room, file: Path, memory: ClientState) -> None:
    conference(room, Topology.MIX_MINUS)
    set_up(room, file)
    mixer = started(room, file, memory)
    membership.allow(room.system, None, [DAN])
    answer = room.person(DAN).pick_up(room.call_out(DAN), ssrc=0x77777777)
    assert DAN not in {stream.receiver for stream in mixer.streams}
    room.answer(answer)
    assert DAN in {stream.receiver for stream in mixer.streams}


def test_a_copy_of_the_file(room: Room, file: Path, memory: ClientState) -> None:
    conference(room, Topology.MIXER)
    set_up(room, file)
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    mixer = started(room, file, memory)
    mixer.send(only(mixer), b"", 0)
    with pytest.raises(Refused, match="behind"):
        started(room, copy, memory)


def test_what_was_received_before_a_restart_is_a_replay(
    room: Room, file: Path, memory: ClientState
) -> None:
    conference(room, Topology.MIXER)
    set_up(room, file)
    mixer, packets = started(room, file, memory), [sent(room.person(ALICE), at) for at in (1, 2)]
    mixer.take(packets[0])
    mixer.save()
    again = started(room, file, memory)
    with pytest.raises(Replayed):
        again.take(packets[0])
    assert again.take(packets[1]) is not None


def test_the_mixer_follows_a_change_of_keys(room: Room, file: Path, memory: ClientState) -> None:
    """What it sends is for those who stay, at once; its indices go on."""
    conference(room, Topology.MIX_MINUS)
    set_up(room, file)
    mixer = started(room, file, memory)
    streams = {stream.receiver: stream for stream in mixer.streams}
    mixer.send(streams[ALICE], b"", 0)
    late, old = sent(room.person(CAROL), 1), room.person(BOB)
    answer_all(room, membership.dismiss(room.system, None, [BOB], deny=False))
    packet = mixer.send(streams[ALICE], b"after", 0)
    assert opened(room.person(ALICE), packet)[12:] == b"after"
    assert packet[2:4] == (1).to_bytes(2)
    with pytest.raises(Exception, match="authentication failure"):
        opened(old, packet)
    with pytest.raises(Excluded):
        mixer.take(sent(old, 1))
    with pytest.raises(Refused, match="no longer a stream"):
        mixer.send(streams[BOB], b"", 0)
    assert mixer.take(late) is not None  # under the old key, within the overlap
    mixer.save()
    assert started(room, file, memory).send(streams[ALICE], b"", 0)[2:4] == (2).to_bytes(2)


def test_somebody_who_comes_gets_a_stream(room: Room, file: Path, memory: ClientState) -> None:
    conference(room, Topology.MIX_MINUS)
    set_up(room, file)
    mixer = started(room, file, memory)
    membership.allow(room.system, None, [DAN])
    room.person(DAN).call_in()
    (stream,) = (one for one in mixer.streams if one.receiver == DAN)
    assert opened(room.person(DAN), mixer.send(stream, b"hello", 0))[12:] == b"hello"
    assert stream.ssrc == received(room.person(DAN))


def test_the_session_file_follows_when_it_is_made_again(room: Room, file: Path) -> None:
    conference(room, Topology.MIXER)
    first = set_up(room, file)
    membership.change_keys(room.system, None)
    second = set_up(room, file)
    assert second.csb_id == first.csb_id
    assert second.keys[0] != first.keys[0] == second.keys[1]
    assert {one.previous for one in second.crypto_sessions} == {(first.keys[0].spi,)}


def test_the_session_file_admits_who_is_in(room: Room, file: Path) -> None:
    """Those put out are refused with it at once, though the old key is valid still."""
    conference(room, Topology.MIX_MINUS)
    expelled = room.person(BOB).sends()[0][0]

    def admitted() -> set[int]:
        session = set_up(room, file)
        assert not any(map(session.admits_any, session.crypto_sessions))
        return {one.ssrc or 0 for one in session.crypto_sessions if not session.is_local(one)}

    everyone = {room.person(who).sends()[0][0] for who in TRIO}
    assert admitted() == everyone
    membership.dismiss(room.system, None, [BOB], deny=False)
    assert admitted() == everyone - {expelled}


def test_a_session_file_has_an_end(room: Room, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conference(room, Topology.MIXER)
    monkeypatch.setattr("mikeytool.conference.mixer_session._CS_IDS", range(1, 3))
    made = set_up_mixer(room.system, None, Purpose.AUDIO, file)
    assert (len(made.streams), made.left_out) == (1, 2)
    room.create(*TRIO, topology=Topology.MIX_MINUS, focus=OTHER)
    for who in TRIO:
        person = room.person(who)
        person.ticket(OTHER)
        person.take(room.call_in(person.call(OTHER)))
    with pytest.raises(Refused, match="room for 2 streams"):
        set_up_mixer(room.system, OTHER, Purpose.AUDIO, file.with_name("other"))


def test_a_mixer_takes_no_updates(room: Room, file: Path) -> None:
    conference(room, Topology.MIXER)
    with pytest.raises(Refused, match="conference mixer"):
        update_init(room.env, set_up(room, file), crypto_sessions=[CsSpec(send=True)])


def test_another_file_for_the_same_mixer(room: Room, file: Path, memory: ClientState) -> None:
    """Nobody knows what was sent under the old keys, so they change, and the old file is out."""
    conference(room, Topology.MIXER)
    first = set_up(room, file)
    mixer, other = started(room, file, memory), file.with_name("other.session")
    with pytest.raises(Refused, match=f"{first.csb_id:#010x}.*--force"):
        set_up(room, other)
    second = set_up(room, other, force=True)
    assert second.keys[0] != first.keys[0]
    with pytest.raises(Refused, match="another session file is this mixer now"):
        mixer.send(only(mixer), b"", 0)
    with pytest.raises(UsageError, match="not the session of a mixer"):
        started(room, file, memory)
    with pytest.raises(StateError, match="choose another name"):
        set_up(room, file)


def test_a_lost_file_goes_on_where_the_ledger_says(
    room: Room, file: Path, memory: ClientState
) -> None:
    """Otherwise receivers would miss a rollover."""
    conference(room, Topology.MIXER)
    set_up(room, file)
    mixer = started(room, file, memory)
    mixer.send(only(mixer), b"", 0)
    file.unlink()
    set_up(room, file, force=True)
    mixer = started(room, file, memory)
    assert mixer.send(only(mixer), b"", 0)[2:4] == AHEAD.to_bytes(2)


def test_those_who_come_late_are_told_the_roc(room: Room) -> None:
    conference(room, Topology.MIXER)
    room.system.step(
        lambda step: mixer_rows.put_indices(
            step.db, 1, {received(room.person(BOB)) or 0: Highest(70_000)}
        )
    )
    session = room.person(ALICE).call_in()
    (stream,) = (one for one in session.crypto_sessions if not session.is_local(one))
    assert (stream.roc, stream.seq) == (1, 70_001 & 0xFFFF)


def test_the_ledger_learns_what_the_session_file_has_sent(room: Room, file: Path) -> None:
    """`srtp encrypt` does not know the ledger; the next `conference mixer` tells it."""
    conference(room, Topology.MIXER)
    one = next(one for one in set_up(room, file).crypto_sessions if one.by_initiator)
    name = f"{one.entry.cs_id} {one.entry.spi.hex()} {one.ssrc:08x}"
    replace(SessionFile.read(file), sent={name: [150_000, -1]}).write(file, force=True)
    set_up(room, file)
    came = room.person(ALICE).call_in().crypto_sessions
    theirs = next(cs for cs in came if cs.ssrc == one.ssrc)
    assert (theirs.roc, theirs.seq) == divmod(150_001, 65_536)


def test_nobody_else_sends_as_the_mixer(room: Room, file: Path, memory: ClientState) -> None:
    """A live relay or mixer refuses it; in a capture it is the mixer's stream."""
    conference(room, Topology.MIXER)
    set_up(room, file)
    mixer = started(room, file, memory)
    forged = with_ssrc(room.person(BOB), only(mixer).ssrc)
    for take in (mixer.take, Relay(room.state, room.env.clock).take):
        with pytest.raises(Excluded, match="the mixer's own"):
            take(forged)
    (context,) = conference_receivers(room.state.path, Settings(now_ns=room.env.clock()))
    assert context.receiver.unprotect(mixer.send(only(mixer), b"mixed", 0))[12:] == b"mixed"


def test_what_cannot_be_mixed(room: Room, file: Path) -> None:
    room.create(ALICE, purposes=(Purpose.AUDIO, Purpose.EVENTS))
    for purpose in (Purpose.EVENTS, Purpose.VIDEO):
        with pytest.raises(UsageError, match=f"no {purpose} to mix"):
            set_up_mixer(room.system, None, purpose, file)
    assert not file.exists()


def test_a_mixer_goes_through_anything(room: Room, file: Path, memory: ClientState) -> None:
    """People come and go, keys change, it is killed: no index twice, and who is in hears it."""
    chance = random.Random(45)
    people = {who: room.person(who) for who in (*TRIO, DAN)}
    room.create(*people, topology=Topology.MIX_MINUS)
    set_up(room, file)
    mixer, inside = started(room, file, memory), set[Identity]()
    used, numbers = set[tuple[bytes, bytes]](), dict.fromkeys(people, 0)
    for _ in range(60):
        who = chance.choice(list(people))
        event = chance.choice(["in", "out", "keys", "kill", "end", "again", "late"])
        if event == "in" and who not in inside:
            people[who].call_in()
            inside.add(who)
        elif event == "out" and who in inside:
            answer_all(room, membership.dismiss(room.system, None, [who], deny=False))
            inside.remove(who)
            with pytest.raises(Excluded):
                mixer.take(sent(people[who], 1000))
        elif event == "keys" and inside:
            answer_all(room, membership.change_keys(room.system, None))
        elif event == "late":
            room.clock.now += 5 * NS
        elif event in ("kill", "end"):
            if event == "end":
                mixer.save()
            mixer = started(room, file, memory)
        elif event == "again":
            set_up(room, file)
        for who in inside:
            numbers[who] += 1
            heard = mixer.take(sent(people[who], numbers[who]))
            assert heard is not None
            assert heard.who == str(who)
            (stream,) = (one for one in mixer.streams if one.ssrc == received(people[who]))
            packet = mixer.send(stream, b"mixed", 0)
            assert opened(people[who], packet).endswith(b"mixed")
            name = people[who].sends()[0][1].spi, b"".join(index_of(packet))
            assert name not in used
            used.add(name)
        check(room.state.path)
