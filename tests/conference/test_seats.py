"""A user has a seat for each device, and nothing is displaced silently."""

from __future__ import annotations

from itertools import permutations

import pytest

from mikeytool.conference import membership, ssrcs
from mikeytool.conference.description import describe_conferences
from mikeytool.conference.model import MAX_SEATS
from mikeytool.exchange.environment import NS
from mikeytool.srtp.index import Excluded
from mikeytool.wire.errors import Refused
from tests.conference.invariants import check
from tests.conference.room import DAN, Person, Room
from tests.conference.test_relay import relay_of
from tests.conference.test_ssrcs import opened, packet, protected
from tests.world import ALICE, BOB, CAROL


@pytest.fixture
def desk(room: Room) -> Room:
    """Alice, Bob and Carol in a conference; Bob's phone is the person of his name."""
    room.create(BOB, CAROL)
    for ssrc, who in enumerate((ALICE, BOB, CAROL), 0x11111111):
        room.person(who).call_in(ssrc)
    return room


@pytest.fixture
def tablet(desk: Room) -> Person:
    """Bob's second device, which is in as well."""
    device = desk.device(BOB)
    device.call_in(0x44444444)
    return device


def csb(person: Person) -> int:
    assert person.session is not None
    return person.session.csb_id


def listed(room: Room) -> list[tuple[str, str, str, list[str]]]:
    """What `show` says of everyone."""
    (one,) = describe_conferences(room.state, room.clock.now)
    return [(m["identity"], m["csb_id"], m["state"], m["ssrcs"]) for m in one["members"]]


def hear_each_other(people: list[Person], sequence: int) -> None:
    """Each device hears every other, libsrtp sends."""
    for sender, reader in permutations(people, 2):
        ssrc, _ = sender.sends()[0]
        assert opened(reader, protected(sender, sequence)) == packet(ssrc, sequence)


def test_each_device_has_a_seat_of_its_own(desk: Room, tablet: Person) -> None:
    phone = desk.person(BOB)
    assert [one for one in listed(desk) if one[0] == str(BOB)] == [
        (str(BOB), f"{csb(phone):#010x}", "joined", ["0x11111112"]),
        (str(BOB), f"{csb(tablet):#010x}", "joined", ["0x44444444"]),
    ]
    everyone = [*map(desk.person, (ALICE, BOB, CAROL)), tablet]
    hear_each_other(everyone, 1)
    relay = relay_of(desk)
    for person in everyone:
        relay.take(protected(person, 1))
    check(desk.state.path)


def test_each_device_gets_an_update_of_its_own(desk: Room, tablet: Person) -> None:
    devices = [*map(desk.person, (ALICE, BOB, CAROL)), tablet]
    for update in membership.change_keys(desk.system, None):
        (device,) = [one for one in devices if one.is_for(update.message)]
        assert update.to == device.who
        desk.answer(device.update(update.message))
    assert not membership.unanswered(desk.system, None)
    hear_each_other(devices, 2)


def test_a_device_that_comes_back_has_its_seat_and_another_ssrc(desk: Room, tablet: Person) -> None:
    """It may begin at any index under the same key, so it cannot have its SSRC again."""
    phone, before = desk.person(BOB), protected(desk.person(BOB), 1)
    old = csb(phone)
    phone.call_in(0x11111112)
    ((ssrc, _),) = phone.sends()
    assert ssrc != 0x11111112
    assert csb(phone) != old
    assert [one[1:] for one in listed(desk) if one[0] == str(BOB)] == [
        (f"{csb(phone):#010x}", "joined", [f"{ssrc:#010x}"]),
        (f"{csb(tablet):#010x}", "joined", ["0x44444444"]),
    ]
    relay = relay_of(desk)
    with pytest.raises(Excluded, match=r"sip:bob@example\.com has another SSRC now"):
        relay.take(before)
    relay.take(protected(phone, 1))
    relay.take(protected(tablet, 1))


def test_a_device_is_known_by_every_ssrc_that_it_had_under_the_key(desk: Room) -> None:
    """A telephone may propose the same one each time."""
    for _ in range(3):
        desk.person(BOB).call_in(0x11111112)
    assert len(listed(desk)) == 3


def test_the_ssrc_of_somebody_else_displaces_nobody(desk: Room) -> None:
    desk.device(BOB).call_in(0x11111111)
    assert [one[0] for one in listed(desk)] == [str(ALICE), str(BOB), str(CAROL), str(BOB)]
    assert desk.ssrcs(ALICE) == [0x11111111]


def test_a_call_in_with_the_ssrcs_of_two_seats_replaces_both(desk: Room, tablet: Person) -> None:
    tablet.call_in(0x11111112, 0x44444444)
    assert [one[2] for one in listed(desk) if one[0] == str(BOB)] == ["joined", "left"]
    with pytest.raises(Excluded):
        relay_of(desk).take(protected(desk.person(BOB), 1))


def test_one_seat_is_removed_and_the_other_stays(desk: Room, tablet: Person) -> None:
    phone, relay = desk.person(BOB), relay_of(desk)
    devices = [desk.person(ALICE), desk.person(CAROL), tablet]
    updates = membership.dismiss_seat(desk.system, None, csb(phone))
    for update in updates:
        (device,) = [one for one in devices if one.is_for(update.message)]
        desk.answer(device.update(update.message))
    assert len(updates) == 3
    with pytest.raises(Excluded, match="is no longer in the conference"):
        relay.take(protected(phone, 1))
    relay.take(protected(tablet, 1))
    hear_each_other(devices, 1)
    with pytest.raises(Refused, match="tag"):
        opened(phone, protected(tablet, 2))


@pytest.mark.parametrize("deny", [True, False])
def test_a_user_is_put_out_with_all_seats(desk: Room, tablet: Person, deny: bool) -> None:
    updates = membership.dismiss(desk.system, None, [BOB], deny=deny)
    assert [one.to for one in updates] == [ALICE, CAROL]
    for device in (desk.person(BOB), tablet):
        with pytest.raises(Excluded, match="no longer in"):
            relay_of(desk).take(protected(device, 1))
    assert {one[2] for one in listed(desk) if one[0] == str(BOB)} == {"left"}


def test_seats_that_were_left_are_taken_again(desk: Room) -> None:
    for _ in range(3):
        membership.dismiss(desk.system, None, [BOB], deny=False)
        desk.person(BOB).call_in()
    assert len(listed(desk)) == 3


def test_a_seat_that_is_not_there_is_not_removed(desk: Room, tablet: Person) -> None:
    before = desk.dump()
    with pytest.raises(Refused, match="has no seat 0x00000001; conference show lists them"):
        membership.dismiss_seat(desk.system, None, 1)
    with pytest.raises(Refused, match=r"has no seat 0x\w+ of sip:alice@example\.com"):
        membership.dismiss_seat(desk.system, None, csb(tablet), ALICE)
    assert desk.dump() == before


def test_two_users_with_one_csb_id(desk: Room, tablet: Person) -> None:
    """Whoever calls chooses it."""
    with desk.state.transaction() as db:
        db.execute("UPDATE members SET csb_id = 7 WHERE number < 3")
    with pytest.raises(Refused, match=r"alice@example\.com and sip:bob@example\.com have a seat"):
        membership.dismiss_seat(desk.system, None, 7)
    membership.dismiss_seat(desk.system, None, 7, BOB)
    assert desk.states()[ALICE] == "joined"


def test_a_user_has_no_end_of_seats(desk: Room) -> None:
    for _ in range(MAX_SEATS - 1):
        desk.device(BOB).call_in()
    before = desk.dump()
    with pytest.raises(Refused, match=f"has {MAX_SEATS} seats in .* --seat takes one"):
        desk.device(BOB).call_in()
    assert desk.dump() == before
    desk.person(BOB).call_in(0x11111112)  # coming back is no further seat


def test_who_calls_in_while_they_are_called_has_two_seats(desk: Room) -> None:
    """On two devices; each may be the first."""
    membership.allow(desk.system, None, [DAN])
    init = desk.call_out(DAN)
    phone, laptop = desk.person(DAN), desk.device(DAN)
    laptop.call_in()
    desk.answer(phone.pick_up(init))
    hear_each_other([laptop, phone, desk.person(ALICE)], 1)
    assert [one[2] for one in listed(desk) if one[0] == str(DAN)] == ["joined", "joined"]


def test_refusals_name_the_seat_of_a_user_with_several(desk: Room, tablet: Person) -> None:
    from mikeytool.conference.relay import seat_names

    names = seat_names(desk.state.path)
    assert names[0x11111111] == "sip:alice@example.com audio"
    assert names[0x44444444] == f"sip:bob@example.com (seat {csb(tablet):#010x}) audio"


def test_a_seat_has_no_end_of_ssrcs(desk: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it comes back: what it had stays taken under the key."""
    monkeypatch.setattr(ssrcs, "MOST_SSRCS", 3)
    bob = desk.person(BOB)
    for _ in range(2):
        bob.come_back()
    before = desk.dump()
    with pytest.raises(Refused, match="conference rekey"):
        bob.come_back()
    assert desk.dump() == before
    membership.change_keys(desk.system, None)
    desk.clock.now += 11 * NS
    bob.come_back()
