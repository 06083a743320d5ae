"""Which of the messages in an input is meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mikeytool.wire.errors import Refused, UsageError, WireError

if TYPE_CHECKING:
    from mikeytool.capture.strict_text import FoundMessage


def choose(
    found: Sequence[FoundMessage | WireError], index: int | None = None, *, what: str = "MESSAGE"
) -> FoundMessage:
    """Return the message with a number, from 1, or the only one.

    Raises UsageError if there is no such message, or several without a number; `what` is the
    argument that holds them. Raises the WireError that stands in place of the message.
    """
    good = [item for item in found if not isinstance(item, WireError)]
    if not good and isinstance(found[0], WireError):
        raise found[0]
    if index is None and len(found) > 1:
        how = "choose with --index N" if what == "MESSAGE" else "give it alone"
        raise UsageError(f"{what} holds {len(found)} messages and one is taken; {how}")
    chosen = found[position(index, len(found))]
    if isinstance(chosen, WireError):
        raise chosen
    return chosen


def choose_offered(
    found: Sequence[FoundMessage | WireError],
    index: int | None = None,
    is_wanted: Callable[[bytes], bool] = lambda _message: False,
) -> FoundMessage:
    """Return the message of an offer or answer, as `choose` does.

    Of several messages, such as the updates of a conference for its members, the only one that
    `is_wanted` is taken. Raises Refused if the session description around it names other protocols
    than the message (RFC 4567 4.1.4).
    """
    if index is None and len(found) > 1:
        good = (one for one in found if not isinstance(one, WireError))
        wanted = [one for one in good if is_wanted(one.message)]
        found = wanted if len(wanted) == 1 else found
    chosen = choose(found, index)
    if (fault := chosen.list_fault) is not None:
        raise Refused(f"bidding-down: {fault} (RFC 4567 4.1.4)")
    return chosen


def position(index: int | None, count: int) -> int:
    """Return the position, from 0, of a number from 1; raises UsageError."""
    if index is None:
        return 0
    if not 1 <= index <= count:
        here = "is one message" if count == 1 else f"are {count} messages"
        raise UsageError(f"--index {index}: there {here}, counted from 1")
    return index - 1
