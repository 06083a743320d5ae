"""What streams are for, by name: a General Extension of our own (interpretation 52).

A CS ID says which media line a stream is of (RFC 4567 7.1), and both ends know the media lines from
the session description. Without one, the names are in the message itself, under its MAC. Whoever
does not know the extension ignores it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.incoming import Incoming
from mikeytool.wire.payloads import GeneralExt
from mikeytool.wire.registry import ExtensionType

_HEAD = b"mikeytool streams"
_NAME = re.compile(rb" (\d{1,3})=([a-z]{1,20})")


def stream_names(specs: Sequence[CsSpec]) -> list[GeneralExt]:
    """Return the payload with the names of streams that have one; none without names."""
    named = [f" {one.cs_id}={one.name}".encode() for one in specs if one.name]
    data = b"".join([_HEAD, *named])
    return [GeneralExt(type=ExtensionType.VENDOR_ID.value, data=data)] if named else []


def names_in(incoming: Incoming) -> dict[int, str]:
    """Return the names of streams in a verified message, by CS ID."""
    found: dict[int, str] = {}
    for one in incoming.message.all(GeneralExt):
        if one.type == ExtensionType.VENDOR_ID and one.data.startswith(_HEAD):
            names = _NAME.findall(one.data[len(_HEAD) :])
            found.update((int(number), name.decode()) for number, name in names)
    return found
