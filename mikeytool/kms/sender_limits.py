"""A limit on messages that cannot be authenticated (RFC 6043 12.3).

The count is kept in memory, because a forged message must never cause the KMS to write. Only a
process that answers many messages, such as a server, can therefore count them.
"""

from __future__ import annotations

from collections import OrderedDict

from mikeytool.exchange.environment import NS
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import ErrorNo

MAX_FAILURES = 60
"""The number of messages from one source that may fail authentication in a minute."""

_MAX_SOURCES = 10_000
_MINUTE = 60 * NS


class Failures:
    """Counts the messages from each source that failed authentication in the current minute.

    A source is the place where messages come from, such as an address. It is never the sender
    named in the message: otherwise anyone could lock a user out.
    """

    def __init__(self, most: int = MAX_FAILURES) -> None:
        self._most = most
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def check(self, source: str, now_ns: int) -> None:
        """Raise Refused (Auth failure) if a source has too many failures."""
        minute, count = self._counts.get(source, (0, 0))
        if count >= self._most and minute == now_ns // _MINUTE:
            raise Refused(
                f"{count} messages from {source} could not be authenticated; try again in a minute",
                ErrorNo.AUTH_FAILURE,
            )

    def failed(self, source: str, now_ns: int) -> None:
        """Count a message that failed authentication."""
        now = now_ns // _MINUTE
        minute, count = self._counts.pop(source, (now, 0))
        self._counts[source] = (now, count + 1 if minute == now else 1)
        if len(self._counts) > _MAX_SOURCES:
            self._counts.popitem(last=False)
