"""MIKEY messages in what a capture holds, each with its place there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mikeytool.capture.body import parts_of
from mikeytool.capture.carrier import Carrier
from mikeytool.capture.keymgmt import Spec, message_of, read_header_value
from mikeytool.capture.sdp import SDP_MEDIA_TYPE, read_sdp
from mikeytool.capture.tcp_streams import MIKEY_MEDIA_TYPE
from mikeytool.capture.text import Found, find_messages
from mikeytool.wire.errors import WireError


class InCarrier(NamedTuple):
    """A MIKEY message in a carrier, or why it cannot be read.

    `level` is where in a session description it stood, "session level" or "media 1 (audio)",
    or "KeyMgmt header"; empty where the message is all there is. `uri` is that of a KeyMgmt
    header.
    """

    message: bytes | WireError
    level: str = ""
    uri: str = ""


def messages_in(carrier: Carrier) -> Iterator[InCarrier]:
    """The MIKEY messages that a carrier holds, in order.

    Raises WireError, behind what was found before, where a body cannot be read.
    """
    if carrier.protocol == "MIKEY":
        yield InCarrier(carrier.body)
        return
    for value in carrier.fields.get("keymgmt", ()):
        for spec in read_header_value(value):
            yield from _of_spec(spec, spec.carrier)
    for part in parts_of(carrier):
        if part.content_type == SDP_MEDIA_TYPE:
            for section in read_sdp(part.content):
                for spec in section.specs:
                    yield from _of_spec(spec, section.level)
        elif part.content_type == MIKEY_MEDIA_TYPE:
            yield from _of_body(part.content)


def _of_spec(spec: Spec, level: str) -> Iterator[InCarrier]:
    """The message of an attribute or header; nothing for another protocol than MIKEY."""
    try:
        message = message_of(spec)
    except WireError as error:
        yield InCarrier(error, level, spec.uri)
        return
    if message is not None:
        yield InCarrier(message, level, spec.uri)


def _of_body(content: bytes) -> Iterator[InCarrier]:
    """The messages in a body of MIKEY's own type, in binary or base64 (TS 33.328)."""
    try:
        found = find_messages(content)
    except WireError as error:
        yield InCarrier(error)
        return
    for item in found:
        yield InCarrier(item.message if isinstance(item, Found) else item)
