"""Whatever happens in whatever order, the promises of a conference hold."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.client.state import ClientState
from mikeytool.conference.model import Topology
from tests.conference.histories import STEPS, History
from tests.conference.room import Room
from tests.series import Series


@pytest.mark.parametrize("topology", [Topology.RELAY, Topology.MIXER])
def test_random_histories(memory: Path, series: Series, topology: Topology) -> None:
    """No SSRC twice under a key; nobody outside holds a live key; every seat that stays decrypts;
    every packet of a seat that is out is refused.
    """
    with (
        closing(Room(memory)) as room,
        closing(ClientState.create(memory / "client.state")) as state,
    ):
        history = History(room, series.chance(), topology, state)
        for _ in range(series.length(2000, 60)):
            history.step()
        history.end()
    if series.whole:
        assert set(history.done) == set(STEPS)
