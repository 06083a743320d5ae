"""The messages of one input of `decode` and `lint`: a file of any length, text, or a capture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BufferedReader
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mikeytool.capture.capture_files import HEAD, is_capture
from mikeytool.cli.exit_codes import while_waiting
from mikeytool.cli.message_io import exists, open_input, stream_of
from mikeytool.cli.options.common import say
from mikeytool.cli.render.progress import progress
from mikeytool.wire.errors import MikeyError, UsageError, WireError
from mikeytool.wire.protocol_list import Carried

if TYPE_CHECKING:
    from mikeytool.capture.captured_messages import CapturedMessage
    from mikeytool.media.signalling_steps import SignallingSteps

T = TypeVar("T")

_SHORT = 20
"""Characters of a message that are shown as its name: at most its header, and no key."""


class Item(NamedTuple):
    """A message or why there is none, where it was, and its places in a capture and in SDP.

    `source` is the input, and `line` the first line of the message there.
    """

    content: bytes | MikeyError
    where: str
    captured: CapturedMessage | None = None
    carried: Carried | None = None
    source: str = ""
    line: int | None = None

    def has_place(self, many: bool | None) -> bool:
        """Tell whether its place is shown, as `for_each` says whether there are others.

        Raises the error of an only item, but not that in a message of a capture.
        """
        if many is False and isinstance(self.content, MikeyError) and self.captured is None:
            raise self.content
        unknown = self.captured is not None or isinstance(self.content, MikeyError)
        return unknown if many is None else many


def items_of(
    inputs: tuple[str, ...], init: str | None, *, lines: bool, steps: SignallingSteps | None = None
) -> Iterator[Item]:
    """Read the messages of all inputs; raises UsageError for more than one standard input.

    `steps` takes the signalling of captures.
    """
    inputs = inputs or ("-",)
    if (*inputs, init).count("-") > 1:
        raise UsageError("only one argument can be standard input")
    many = len(inputs) > 1
    return chain.from_iterable(_items_of(one, steps, lines=lines, many=many) for one in inputs)


def for_each(items: Iterator[T], take: Callable[[int, T, bool | None], None]) -> None:
    """Have every item taken, with its place, from 0, and whether others are there.

    That is not known, None, of a first item behind which the command waits for input.
    """
    first = list(islice(items, 1))

    def begin(many: bool | None) -> None:
        while first:
            take(0, first.pop(), many)

    while_waiting(lambda: begin(None))
    for at, item in enumerate(items, 1):
        begin(True)
        take(at, item, True)
    begin(False)


def name_of(argument: str) -> str:
    """Give the name of an input, or the beginning of one that is the message itself."""
    is_name = len(argument) <= _SHORT or exists(Path(argument))
    return argument if is_name else f"{argument[:_SHORT]}..."


def _items_of(
    argument: str, steps: SignallingSteps | None, *, lines: bool, many: bool
) -> Iterator[Item]:
    """Read the messages of one input; an input that cannot be read is one bad item."""
    name = f"{name_of(argument)}: " if many else ""
    try:
        with open_input(argument) as source, progress(source) as tick:
            if is_capture(source.peek(HEAD)):
                yield from _captured(source, tick, argument, name, steps)
                return
            for item in stream_of(source, argument, lines=lines, early=True):
                tick()
                if isinstance(item, WireError):
                    yield Item(item, name.removesuffix(": "), source=argument)
                else:
                    where = name + item.where
                    yield Item(item.message, where, None, item.carried, argument, item.line)
    except MikeyError as error:
        where = "" if argument in str(error) else name.removesuffix(": ")
        yield Item(error, where, source=argument)


def _captured(
    source: BufferedReader,
    tick: Callable[[], None],
    argument: str,
    name: str,
    steps: SignallingSteps | None,
) -> Iterator[Item]:
    # Imported here: most inputs are no captures.
    from mikeytool.capture.captured_messages import find_captured_messages
    from mikeytool.capture.live_input import idleness

    options: dict[str, Any] = {} if steps is None else {"watch": steps.begin()}
    options["waits"] = idleness(source)
    for one in find_captured_messages(source, lambda text: say(f"note: {text}"), tick, **options):
        yield Item(one.content, name + one.where, one, one.carried, argument)
