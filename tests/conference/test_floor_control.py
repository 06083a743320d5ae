"""A floor key for each seat: no member can be the server, or another member."""

from __future__ import annotations

import hashlib
import hmac
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from mikeytool.conference import membership
from mikeytool.conference.floor_control import FloorKey, floor_keys, psk_file
from mikeytool.conference.model import Purpose
from mikeytool.exchange.environment import NS
from mikeytool.exchange.session import MediaKey
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import KeyType, ProtType
from tests.conference.invariants import check
from tests.conference.room import DAN, FOCUS, Person, Room
from tests.conference.test_ssrcs import answer_all
from tests.peers.programs import need
from tests.world import ALICE, BOB, CAROL


@pytest.fixture
def full(room: Room) -> Room:
    """Alice and Carol called in, Bob was called out; there is floor control."""
    room.create(ALICE, BOB, CAROL, purposes=[Purpose.AUDIO, Purpose.FLOOR])
    for who in (ALICE, CAROL):
        room.person(who).call_in()
    room.answer(room.person(BOB).pick_up(room.call_out(BOB)))
    return room


def held(person: Person) -> MediaKey:
    """The floor key that someone has now."""
    assert person.session is not None
    (found,) = [
        one for one in person.session.crypto_sessions if one.entry.protocol == ProtType.TLS_PSK
    ]
    return person.session.media_key(found)


def known(room: Room) -> dict[bytes, FloorKey]:
    """What the floor server gets."""
    return {key.spi: key for key in floor_keys(room.state, room.clock.now, None)}


def test_each_seat_has_a_key_of_its_own_and_the_server_has_all(full: Room) -> None:
    mine = {who: held(full.person(who)) for who in (ALICE, BOB, CAROL)}
    assert len({key.spi for key in mine.values()}) == len({key.key for key in mine.values()}) == 3
    server = known(full)
    assert {key.spi: key.key for key in server.values()} == {
        key.spi: key.key for key in mine.values()
    }
    assert [server[mine[who].spi].identity for who in mine] == list(mine)
    full.person(CAROL).call_in()  # from another device
    assert len(known(full)) == 4
    check(full.state.path)


def test_the_floor_key_of_the_conference_leaves_the_system_for_nobody(full: Room) -> None:
    """Not in a message, and not in what members can make of theirs."""
    (base,) = [key for key in full.group_keys() if key.purpose == Purpose.FLOOR]
    answer_all(full, membership.change_keys(full.system, None))
    (later,) = [
        key for key in full.group_keys() if key.purpose == Purpose.FLOOR and key.until_ns is None
    ]
    for who in (ALICE, BOB, CAROL):
        session = full.person(who).session
        assert session is not None
        assert not {base.tek, later.tek} & {key.key for key in session.keys}
        floor = held(full.person(who))
        assert {key.type for key in session.keys if key.spi == floor.spi} == {KeyType.TEK}


def test_the_derivation(full: Room) -> None:
    """HKDF of RFC 5869 in its own words: extract, then two blocks of expand."""
    (base,) = [key for key in full.group_keys() if key.purpose == Purpose.FLOOR]
    number = full.state.db.execute(
        "SELECT number FROM members WHERE identity = ?", (ALICE.data,)
    ).fetchone()[0]
    info = b"mikeytool floor key" + number.to_bytes(8) + ALICE.data
    prk = hmac.digest(base.salt, base.tek, hashlib.sha256)
    made = hmac.digest(prk, info + b"\1", hashlib.sha256)
    mine = held(full.person(ALICE))
    assert (mine.key, mine.spi) == (made[:16], made[16:24])


def test_a_replaced_key_is_there_for_the_overlap(full: Room) -> None:
    before = held(full.person(ALICE))
    answer_all(full, membership.change_keys(full.system, None))
    after = held(full.person(ALICE))
    assert after.key != before.key
    assert {known(full)[spi].state for spi in (before.spi, after.spi)} == {"overlap", "active"}
    full.clock.now += 9 * NS
    assert before.spi in known(full)
    full.clock.now += 2 * NS
    assert before.spi not in known(full)
    assert known(full)[after.spi].key == after.key


@pytest.mark.parametrize("deny", [False, True])
def test_who_is_put_out_is_gone_at_once(full: Room, deny: bool) -> None:
    """Whatever the overlap, and whether the KMS makes new keys or not."""
    carol = held(full.person(CAROL))
    answer_all(full, membership.dismiss(full.system, None, [CAROL], deny=deny))
    assert carol.spi not in known(full)
    assert CAROL not in {key.identity for key in known(full).values()}
    assert held(full.person(ALICE)).spi in known(full)


def test_who_was_called_and_has_not_answered_is_not_in(full: Room) -> None:
    membership.allow(full.system, None, [DAN])
    full.person(DAN).pick_up(full.call_out(DAN))
    assert held(full.person(DAN)).spi not in known(full)


def test_conferences_of_a_system(full: Room) -> None:
    """A server of all floors finds each key by its SPI alone."""
    other = Identity.from_text("sip:room-2@conf.example.com")
    full.create(ALICE, purposes=[Purpose.FLOOR], focus=other)
    dan = full.person(ALICE)
    dan.ticket(other)
    dan.take(full.call_in(dan.call(other, [], 0, [])))
    assert len(known(full)) == 4
    now = full.clock.now
    assert [key.focus for key in floor_keys(full.state, now, other)] == [other]
    assert len(floor_keys(full.state, now, FOCUS)) == 3


def test_without_floor_control(room: Room) -> None:
    room.create(ALICE)
    with pytest.raises(UsageError, match="there is no floor control"):
        floor_keys(room.state, 0, None)


def test_when_all_conferences_with_floor_control_have_ended(full: Room) -> None:
    """No list, not even an empty one, when none goes on."""
    other = Identity.from_text("sip:room-2@conf.example.com")
    full.create(ALICE, purposes=[Purpose.FLOOR], focus=other)
    membership.end(full.system, FOCUS)
    assert known(full) == {}  # nobody is in the other one
    membership.end(full.system, other)
    for focus in (None, other):
        with pytest.raises(Refused, match=r"the conference sip:room-2@conf\.example\.com ended at"):
            floor_keys(full.state, full.clock.now, focus)


# --- openssl as floor server and as members ------------------------------------------------


@contextmanager
def server(identity: str, key: str) -> Iterator[int]:
    """A floor server that expects a member, in a process of openssl; gives its port."""
    need("openssl")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["openssl", "s_server", "-accept", str(port), "-nocert", "-rev", "-quiet"]
    process = subprocess.Popen(
        [*command, "-psk_identity", identity, "-psk", key],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def heard(port: int, identity: str, key: str, *options: str) -> bool:
    """Whether a member connects to the server and is answered."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet", *options]
    with subprocess.Popen(
        [*command, "-psk_identity", identity, "-psk", key],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as client:  # fmt: skip
        assert client.stdin is not None
        assert client.stdout is not None
        with suppress(BrokenPipeError):
            client.stdin.write(b"floor request\n")
            client.stdin.flush()
        said = client.stdout.readline()  # the end of it, when there is no connection
        client.kill()
        with suppress(BrokenPipeError):
            client.stdin.close()
    return said == b"tseuqer roolf\n"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_carol_can_neither_be_alice_nor_the_server(full: Room, version: str) -> None:
    lines = psk_file(list(known(full).values())).decode().split()
    file = dict(line.split(":") for line in lines)
    alice, carol = held(full.person(ALICE)), held(full.person(CAROL))
    mine, hers = (alice.spi.hex(), alice.key.hex()), (carol.spi.hex(), carol.key.hex())
    with server(mine[0], file[mine[0]]) as port:
        assert heard(port, *mine, version)
        assert not heard(port, mine[0], hers[1], version)
        assert not heard(port, *hers, version)
    with server(mine[0], hers[1]) as port:  # Carol, who knows Alice's PSK identity
        assert not heard(port, *mine, version)


def test_the_next_in_a_seat_does_not_bring_back_the_key_of_the_last(full: Room) -> None:
    """A lost telephone is put out; its user's next one comes within the overlap."""
    lost = held(full.person(CAROL))
    answer_all(full, membership.dismiss(full.system, None, [CAROL], deny=False))
    assert lost.spi not in known(full)
    full.device(CAROL).call_in()
    assert lost.spi not in known(full)
    assert len(known(full)) == 3 + 2  # Alice and Bob have an old one each


def test_the_answer_to_a_call_whose_keys_have_expired(full: Room) -> None:
    dan = full.person(DAN)
    membership.allow(full.system, None, [DAN])
    answer = dan.pick_up(full.call_out(DAN))
    for _ in range(4):
        answer_all(full, membership.change_keys(full.system, None))
        full.clock.now += 11 * NS
    answer_all(full, full.answer(answer).updates)
    assert known(full)[held(dan).spi].key == held(dan).key
