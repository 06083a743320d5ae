"""Whether a description of a conference shows its keys."""

from __future__ import annotations

from mikeytool.conference.description import describe_conferences
from mikeytool.wire.json_field import with_length
from tests.conference.room import Room
from tests.world import BOB


def test_keys_are_shown_only_to_who_asks(room: Room) -> None:
    room.create(BOB)
    room.person(BOB).call_in()
    now = room.clock()
    masked = describe_conferences(room.state, now)
    shown = describe_conferences(room.state, now, show_keys=True)
    assert len(masked[0]["keys"]) == len(shown[0]["keys"]) == 1
    for hidden, plain in zip(masked[0]["keys"], shown[0]["keys"], strict=True):
        assert hidden["tek"].startswith("sha256:")
        assert with_length(hidden["tek"]) == f"{hidden['tek']} ({len(plain['tek']) // 2} octets)"
        assert len(bytes.fromhex(plain["tek"])) >= 16
