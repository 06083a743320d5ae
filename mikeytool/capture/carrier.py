"""Messages of SIP, RTSP and HTTP: start line, header fields, body.

The three have the same syntax (RFC 3261 7, RFC 2326 4 to 6, RFC 9112 2). Messages of SAP and bare
MIKEY also become a `Carrier`, so that the search for keys handles only one kind of object.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Literal, cast

Protocol = Literal["SIP", "RTSP", "HTTP", "SAP", "MIKEY"]

MAX_HEAD = 1 << 16
"""The most octets of a start line and header fields; longer ones are not read."""
MAX_VALUES = 64
"""The most header fields read with one name."""
_READ = frozenset(
    ("call-id", "content-base", "content-encoding", "content-length",
     "content-transfer-encoding", "content-type", "cseq", "from", "keymgmt", "rack", "session",
     "to", "transfer-encoding", "transport", "upgrade", "via")
)  # fmt: skip
"""The header fields that are read; a message may have thousands of others."""

_VERSION = rb"(?:(SIP)/2\.0|(RTSP)/[12]\.0|(HTTP)/1\.[01])"
_METHOD = rb"[A-Z][A-Z_-]{1,31}"
START = re.compile(
    rb"(?m)^(?:" + _VERSION + rb" (\d{3})(?: [^\r\n]{0,1024})?|(" + _METHOD + rb") (\S{1,4096}) "
    rb"" + _VERSION + rb")\r?$"
)
"""A start line, from the beginning of a line to its line feed, which is not part of it."""
SDP_MEDIA_TYPE = "application/sdp"
END_OF_HEAD = re.compile(rb"\r?\n\r?\n")

# RFC 3261 7.3.3 and 20; only those that are read.
_COMPACT = {"c": "content-type", "e": "content-encoding", "i": "call-id", "l": "content-length",
            "f": "from", "t": "to", "v": "via"}  # fmt: skip
_FOLD = re.compile(r"\r?\n[ \t]+")


@dataclass(frozen=True, slots=True)
class Carrier:
    """One message that may carry keys.

    `method` of a SIP response comes from its CSeq; for other responses it is empty. `status` is
    None in a request. `fields` are the header fields that are read: names in lower case, compact
    names expanded, unfolded values in order. A field has MAX_VALUES + 1 values if some were left
    out. In a SAP packet `method` is "announce" or "delete" and `body` the payload; bare MIKEY is
    all body.
    """

    protocol: Protocol
    method: str = ""
    status: int | None = None
    target: str = ""
    fields: dict[str, list[str]] = field(default_factory=dict)
    body: bytes = b""

    def value(self, name: str) -> str:
        """The first value of a header field, empty without one."""
        values = self.fields.get(name)
        return values[0] if values else ""

    def with_body(self, body: bytes) -> Carrier:
        """The same message with another body."""
        return Carrier(self.protocol, self.method, self.status, self.target, self.fields, body)

    @property
    def content_length(self) -> int | None:
        """The length of the body according to its header field; None without a number in it."""
        digits = self.value("content-length")
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None

    @property
    def is_incomplete(self) -> bool:
        """Whether a part of the body is missing."""
        return len(self.body) < (self.content_length or 0)


def read_head(data: bytes) -> Carrier | None:
    """Read a start line and header fields into a message without its body.

    Returns None if the first line is not a start line.
    """
    match = START.match(data)
    if match is None:
        return None
    sip, rtsp, http, code, method, target, *request = match.groups()
    protocol = next(name for name in (sip, rtsp, http, *request) if name)
    fields = read_fields(data[match.end() :], _READ)
    name = (method or b"").decode()
    if sip:
        name = fields.get("cseq", [""])[0].rpartition(" ")[2]
    return Carrier(
        cast(Protocol, protocol.decode()),
        name,
        int(code) if code else None,
        (target or b"").decode("utf-8", "replace"),
        fields,
    )


def read_message(data: bytes) -> Carrier | None:
    """Read a message that is alone in a datagram or frame; None if it does not begin as one.

    Empty lines before it mean nothing (RFC 3261 7.5). Without a length the body is the rest
    (RFC 3261 18.3).
    """
    data = data.lstrip(b"\r\n")
    end = END_OF_HEAD.search(data)
    head, body = (data[: end.end()], data[end.end() :]) if end else (data, b"")
    carrier = read_head(head)
    return None if carrier is None else carrier.with_body(body[: carrier.content_length])


def read_fields(data: bytes, names: Set[str]) -> dict[str, list[str]]:
    """Read the header fields of these names, with folded lines joined (RFC 3261 7.3.1)."""
    fields: dict[str, list[str]] = {}
    text = data.decode("utf-8", "replace")
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        name = _COMPACT.get(name, name)
        if colon and name in names:
            values = fields.setdefault(name, [])
            if len(values) <= MAX_VALUES:
                values.append(value.strip())
    return fields
