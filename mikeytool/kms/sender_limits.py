"""Senders who cannot be authenticated, kept from costing the KMS much (RFC 6043 12.3).

What is counted here is in memory: a forged message never makes the KMS write. So it is for a
process that answers many messages; one that answers a single message has nothing to count.
"""

from __future__ import annotations

from collections import OrderedDict

from mikeytool.exchange.environment import NS
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import ErrorNo

MAX_FAILURES = 60
"""How many messages of one source may fail to be authenticated in a minute."""

_MAX_SOURCES = 10_000
_MINUTE = 60 * NS


class Failures:
    """Counts, for each source, the messages of this minute that were not authenticated.

    A source is where messages come from, such as an address; never who they claim to be
    from, or anybody could lock a user out.
    """

    def __init__(self, most: int = MAX_FAILURES) -> None:
        self._most = most
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def check(self, source: str, now_ns: int) -> None:
        """Raise Refused (Auth failure) for a source that has failed too often."""
        minute, count = self._counts.get(source, (0, 0))
        if count >= self._most and minute == now_ns // _MINUTE:
            raise Refused(
                f"{count} messages from {source} could not be authenticated; try again in a minute",
                ErrorNo.AUTH_FAILURE,
            )

    def failed(self, source: str, now_ns: int) -> None:
        """Count a message that was not authenticated."""
        now = now_ns // _MINUTE
        minute, count = self._counts.pop(source, (now, 0))
        self._counts[source] = (now, count + 1 if minute == now else 1)
        if len(self._counts) > _MAX_SOURCES:
            self._counts.popitem(last=False)
