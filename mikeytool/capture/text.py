"""MIKEY messages in input of any form: binary, hex, base64, SDP, SIP, RTSP, any text around them.

The form is recognized. Octets that do not occur in text make it binary. Text is first read
strictly, as a batch with a message a line, or as signalling in which other lines are skipped; in a
batch a bad line gives an error in its place, so that the lines around it are not lost. What cannot
be read strictly is searched for messages (see `extract`); they take the place of the errors.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mikeytool.capture.encoding import (
    begins_like_message,
    decode_text,
    is_whole,
    of_mixed_text,
)
from mikeytool.capture.keymgmt import attribute
from mikeytool.capture.other_kinds import refuse_other_kind
from mikeytool.capture.strict_text import FoundMessage, ReadItem, StrictReader
from mikeytool.wire.errors import WireError
from mikeytool.wire.protocol_list import MIKEY

if TYPE_CHECKING:
    from mikeytool.capture.sdp_message import SdpPlace

Format = Literal["b64", "hex", "raw", "sdp"]

_HEADER_OCTETS = 10
"""The least octets of the common header (RFC 3830 6.1)."""
_CONTROL = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B])")
"""What moves the cursor of a terminal, or changes its colour or title."""
_LOST = "\ufffd".encode()
"""What programs write in place of octets that are no text."""
_TEXT_CONTROLS = b"\t\n\v\f\r"


def find_messages(data: bytes, *, lines: bool = False) -> list[FoundMessage | WireError]:
    """Find every MIKEY message in `data`, in order, with an error for each bad line of a batch.

    The form of the input is recognized (see the top of this file). Lines of base64 or hex that are
    one wrapped message are joined, as are folded headers (RFC 4567 3.1, 3.2). With `lines` every
    line is read separately, and one without a message is an error.

    Raises WireError when there is nothing to return: the input is empty, something else than a
    message or a text, or a text that carries no MIKEY.
    """
    text = decode_text(data)
    if text is not None:
        data = text.encode()
    refuse_other_kind(data)
    if b"\x1b" in data and not _is_binary(shown := _CONTROL.sub(b"", data)):
        data = shown
    if _is_binary(data):
        return [FoundMessage(_binary(data), "binary input")]
    if not data.strip():
        raise WireError(
            "the input is empty; the command before it in the pipe may have failed, look at"
            " its messages"
        )
    reader = StrictReader(data, lines=lines)
    read = reader.read()
    if lines or (read and not reader.passed_over and all(map(_stands, read))):
        if not read:
            raise reader.nothing()
        return [one.item for one in read]
    # Imported here because most inputs need no search.
    from mikeytool.capture.text_search import search

    found = search(data, read, passed_over=reader.passed_over)
    if not found:
        raise reader.nothing()
    return found


def _stands(one: ReadItem) -> bool:
    """Tell whether what was read strictly is what is there."""
    if isinstance(one.item, WireError):
        return False
    return begins_like_message(one.item.message) and (one.is_sure or is_whole(one.item.message))


@dataclass(frozen=True, slots=True)
class Form:
    """How a message of Ticket Transfer is written: in an encoding, or in a session description."""

    fmt: Format
    place: SdpPlace | None = None

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocol list that goes into the message (RFC 4567 4.1.4, interpretation 50)."""
        if self.place is not None:
            return self.place.protocols
        return (MIKEY,) if self.fmt == "sdp" else ()


def format_message(message: bytes, fmt: Format | Form) -> bytes:
    """Write a message as text or, with `raw`, as it is; all but `raw` end in a newline.

    `b64` and `hex` are one line, `sdp` is the attribute of RFC 4567 3.1.
    """
    if isinstance(fmt, Form):
        if fmt.place is not None:
            return fmt.place.completed(message)
        fmt = fmt.fmt
    if fmt == "raw":
        return message
    if fmt == "hex":
        return message.hex().encode() + b"\n"
    if fmt == "sdp":
        return attribute(message) + b"\n"
    return binascii.b2a_base64(message)


def _binary(data: bytes) -> bytes:
    """Give a binary message, as it was before a program wrote its octets as UTF-8."""
    if is_whole(data):
        return data
    mended = of_mixed_text(data.rstrip(b"\r\n"))
    if mended is not None and is_whole(mended):
        return mended
    if _LOST in data:
        raise WireError(
            "octets were lost when these were taken for text, each where U+FFFD is now; copy the"
            " message again, in hex or base64"
        )
    return data


def _is_binary(data: bytes) -> bool:
    """Whether the input is binary rather than text.

    The version is 0x01, and the fields after it are small numbers too. Text has no such octets, so
    even a message with a broken version is recognized as binary.
    """
    return any(octet < 0x20 and octet not in _TEXT_CONTROLS for octet in data[:_HEADER_OCTETS])
