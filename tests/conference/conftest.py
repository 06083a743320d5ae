"""A conference system for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conference.room import Room
from tests.world import ALICE, BOB, CAROL


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with closing(Room(tmp_path)) as made:
        yield made


@pytest.fixture
def full(room: Room) -> Room:
    """Alice, Bob and Carol in a conference."""
    room.create(BOB, CAROL)
    for ssrc, who in enumerate((ALICE, BOB, CAROL), 0x11111111):
        room.person(who).call_in(ssrc)
    return room
