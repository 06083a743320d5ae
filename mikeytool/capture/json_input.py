"""The values in an input of JSON or JSON Lines, such as the descriptions of messages."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Any

from mikeytool.wire.errors import WireError

_EMPTY = (
    "the input is empty; the command before it in the pipe may have failed, look at its messages"
)
MAX_WHOLE = 1 << 24
"""The most octets of a line, and of an input that is not one value per line."""
_MOST_FAULTS = 100
"""Values that are no JSON, among those of several lines: each costs a look at all before it."""
_NO_SPACE = re.compile(r"\S|\Z")


def json_values(source: BufferedIOBase) -> Iterator[Any]:
    """Read the values in an input: one per line, one after the other, or in a list.

    If each line is a value, as `decode --json` prints them, one line is held at a time. From the
    first line that is not a value, the rest is read at once. Invalid JSON gives a WireError in its
    place; reading continues at the next line that begins with an object. Raises WireError for an
    empty input.
    """
    is_blank, is_lost = True, False
    number = 0
    while line := source.readline(MAX_WHOLE):
        number += 1
        if not line.strip() or (is_lost and not line.startswith(b"{")):
            continue
        is_blank = is_lost = False
        try:
            value = json.loads(line.removeprefix(BOM_UTF8).decode(), **_STRICT)
        except (ValueError, RecursionError) as error:
            if not _is_broken(error):
                rest = source.read(MAX_WHOLE)
                if len(line) + len(rest) > MAX_WHOLE:
                    raise WireError(
                        f"the input is longer than {MAX_WHOLE >> 20} MB and not one object a line"
                    ) from None
                yield from _values(line + rest, number)
                return
            is_lost, value = True, WireError(f"line {number}: {_no_json(error)}")
        yield from value if isinstance(value, list) else [value]
    if is_blank:
        raise WireError(_EMPTY)


class _NoJsonError(ValueError):
    """What Python's reader would take, and change or lose."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)
        self.msg = msg


def _no_number(_name: str) -> None:
    """Refuse what some programs write for a number, and JSON does not have (RFC 8259 6)."""
    raise _NoJsonError("NaN and Infinity are no numbers there; give a number")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that is there twice, as only one of its values would be used."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise _NoJsonError(f"{names.most_common(1)[0][0][:40]!a} is there twice; give it once")
    return found


_STRICT: dict[str, Any] = {"parse_constant": _no_number, "object_pairs_hook": _each_once}


def _is_broken(error: Exception) -> bool:
    """Tell whether no line after the one that gave this error can make it right."""
    if isinstance(error, _NoJsonError):
        return True
    if not isinstance(error, json.JSONDecodeError) or error.msg == "Extra data":
        return False
    return error.pos < len(error.doc.rstrip())


def _no_json(error: Exception) -> str:
    reason = getattr(error, "msg", "nested too deep, or a number too long")
    return f"this is no JSON: {reason}"


def _values(data: bytes, line: int) -> Iterator[Any]:
    """Read the values of a JSON text that begins in that line."""
    try:
        text = data.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        yield WireError(f"line {line}: this is no JSON: octets that are no UTF-8")
        return
    decoder = json.JSONDecoder(**_STRICT)
    pos = counted = faults = 0
    while True:
        pos = _NO_SPACE.search(text, pos).start()  # type: ignore[union-attr]
        if pos == len(text):
            return
        try:
            value, pos = decoder.raw_decode(text, pos)
        except (ValueError, RecursionError) as error:
            at = getattr(error, "pos", pos)
            line += text.count("\n", counted, at)
            counted = at
            yield WireError(f"line {line}: {_no_json(error)}")
            pos = (text.find("\n{", pos) + 1) or len(text)
            faults += 1
            if faults == _MOST_FAULTS and pos < len(text):
                yield WireError(f"line {line}: too much is no JSON; what is behind is not read")
                return
            continue
        if isinstance(value, list):
            yield from value
        else:
            yield value
