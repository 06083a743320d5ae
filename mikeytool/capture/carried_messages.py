"""The MIKEY messages in a carrier, each with its place there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mikeytool.capture.body import parts_of
from mikeytool.capture.carrier import MAX_VALUES, SDP_MEDIA_TYPE, Carrier, read_fields
from mikeytool.capture.keymgmt import Spec, message_of, read_header_value
from mikeytool.capture.tcp_streams import MIKEY_MEDIA_TYPE
from mikeytool.wire.errors import WireError
from mikeytool.wire.protocol_list import Carried, Description

MAX_MESSAGES = 256
"""The most messages read from one carrier."""


class CarriedMessage(NamedTuple):
    """A MIKEY message in a carrier, or why it cannot be read.

    `level` is its place in a session description, "session level" or "media 1 (audio)", or
    else "KeyMgmt header"; empty if the carrier consists only of the message. `uri` is the URI in a
    KeyMgmt header. `carried` has the protocols in the session description.
    """

    message: bytes | WireError
    level: str = ""
    uri: str = ""
    carried: Carried | None = None


def messages_in(carrier: Carrier) -> Iterator[CarriedMessage]:
    """Find the MIKEY messages in a carrier, in order.

    Raises WireError if a body cannot be read or there are too many messages, after yielding the
    messages before that.
    """
    for number, found in enumerate(_messages_in(carrier)):
        if number == MAX_MESSAGES:
            raise WireError(f"more than {MAX_MESSAGES} MIKEY messages in it; the rest is not read")
        yield found
    if len(carrier.fields.get("keymgmt", ())) > MAX_VALUES:
        raise WireError(f"more than {MAX_VALUES} KeyMgmt headers; the rest is not read")


def _messages_in(carrier: Carrier) -> Iterator[CarriedMessage]:
    if carrier.protocol == "MIKEY":
        yield CarriedMessage(carrier.body)
        return
    for value in carrier.fields.get("keymgmt", ())[:MAX_VALUES]:
        for spec in read_header_value(value):
            yield from _of_spec(spec, spec.carrier)
    for part in parts_of(carrier):
        if part.content_type == SDP_MEDIA_TYPE:
            yield from _of_description(part.content)
        elif part.content_type == MIKEY_MEDIA_TYPE:
            yield from _of_body(part.content)
        elif carrier.protocol == "RTSP":
            for level, specs in parameters_of(part.content):
                for spec in specs:
                    yield from _of_spec(spec, level)


def parameters_of(body: bytes) -> Iterator[tuple[str, list[Spec]]]:
    """The keys in the `KeyMgmt:` and `mikey:` lines of a body of parameters (RFC 2326 10.9).

    Each kind comes with its name.
    """
    fields = read_fields(body, {"keymgmt", "mikey"})
    for name, level in (("keymgmt", "KeyMgmt parameter"), ("mikey", "mikey parameter")):
        specs: list[Spec] = []
        # A name without a value asks for one.
        for value in filter(None, fields.get(name, ())[:MAX_VALUES]):
            if name == "keymgmt":
                specs += read_header_value(value)
            else:
                specs.append(Spec("mikey", "mikey", "".join(value.split())))
        if specs:
            yield level, specs


def _of_description(content: bytes) -> Iterator[CarriedMessage]:
    from mikeytool.capture.sdp import read_sdp  # binary messages come without

    description, sections = Description(), read_sdp(content)
    for section in sections:
        for spec in section.specs:
            description.add(section.level, spec.protocol)
    for section in sections:
        for spec in section.specs:
            for found in _of_spec(spec, section.level):
                yield found._replace(carried=Carried(description, section.level))


def _of_spec(spec: Spec, level: str) -> Iterator[CarriedMessage]:
    """The message of an attribute or header; nothing for another protocol than MIKEY."""
    try:
        message = message_of(spec)
    except WireError as error:
        yield CarriedMessage(error, level, spec.uri)
        return
    if message is not None:
        yield CarriedMessage(message, level, spec.uri)


def _of_body(content: bytes) -> Iterator[CarriedMessage]:
    """The messages in a body of MIKEY's own type, in binary or base64 (TS 33.328)."""
    from mikeytool.capture.text import find_messages  # few bodies are of it

    try:
        found = find_messages(content)
    except WireError as error:
        yield CarriedMessage(error)
        return
    for item in found:
        yield CarriedMessage(item if isinstance(item, WireError) else item.message)
