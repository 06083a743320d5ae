"""A limit on messages that cannot be authenticated (RFC 6043 12.3).

They are counted in memory, because a forged message must never make the KMS write; so only a
process that answers many messages, a server, can count them.
"""

from __future__ import annotations

from collections import OrderedDict

from mikeytool.exchange.environment import NS
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import ErrorNo

MAX_FAILURES = 60
"""How many messages of one source may fail authentication in a minute."""

_MAX_SOURCES = 10_000
_MINUTE = 60 * NS


class Failures:
    """Counts, for each source, the messages of this minute that were not authenticated.

    A source is where messages come from, such as an address, and never the sender that they
    claim, or anybody could lock a user out.
    """

    def __init__(self, most: int = MAX_FAILURES) -> None:
        self._most = most
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def check(self, source: str, now_ns: int) -> None:
        """Raise Refused (Auth failure) for a source with too many failures."""
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
