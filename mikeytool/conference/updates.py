"""Updates on their way to members. They are stored with the change that they belong to, and read a
few at a time when they are sent, so that a conference of any size takes the same memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from mikeytool.conference import member_rows
from mikeytool.conference.database import ConferenceState
from mikeytool.conference.model import Update

_AT_ONCE = 500
"""How many updates are read at a time; no transaction is open while they are sent."""


class Updates(Collection[Update]):
    """The updates that a change made, one for each member.

    `len` is how many were made. The state file has to be open while they are read; what has been
    answered or replaced since the change is left out, as nobody needs it any more.
    """

    def __init__(
        self,
        state: ConferenceState,
        spans: Iterable[range] = (),
        farewells: Iterable[Update] = (),
    ) -> None:
        """Take the numbers of stored updates, and those that end replaced sessions."""
        self._state = state
        self._spans = [span for span in spans if span]
        self._farewells = list(farewells)

    @classmethod
    def joined(cls, state: ConferenceState, several: Iterable[Updates]) -> Updates:
        """Return the updates of several changes."""
        every = list(several)
        spans = [span for one in every for span in one._spans]
        return cls(state, spans, [update for one in every for update in one._farewells])

    def __len__(self) -> int:
        """Return how many updates were made."""
        return sum(map(len, self._spans)) + len(self._farewells)

    def __contains__(self, item: object) -> bool:
        """Return whether an update is among those that still wait for an answer."""
        return any(update == item for update in self)

    def __iter__(self) -> Iterator[Update]:
        """Yield the updates in the order of the members."""
        for span in self._spans:
            for at in range(span.start, span.stop, _AT_ONCE):
                with self._state.snapshot() as db:
                    found = member_rows.updates_between(db, at, min(at + _AT_ONCE, span.stop))
                yield from found
        yield from self._farewells

    def __repr__(self) -> str:
        """How many there are; a message may be long."""
        return f"<{len(self)} updates>"
