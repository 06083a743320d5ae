"""The body of a carrier: one part, or those of a multipart body (RFC 2046 5.1).

Multipart bodies are read by the `email` package of the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from mikeytool.capture.carrier import SDP_MEDIA_TYPE, Carrier
from mikeytool.wire.errors import WireError

if TYPE_CHECKING:
    from email.message import Message

MAX_BODY = 1 << 18
"""The most octets read from a body; signalling has much less."""
MAX_MULTIPARTS = 16
"""The most multipart bodies in a body, side by side or nested."""
MAX_BOUNDARIES = 256
"""The most lines of a multipart body that may be boundaries."""
_LONGEST_PARAMETERS = 1024

_MULTIPART = re.compile(rb"(?i)multipart/")
_LONG_TYPE = rb"(?im)^content-type[ \t]*:(?:[^\r\n]|\r?\n[ \t]){%d}" % _LONGEST_PARAMETERS


class Part(NamedTuple):
    """A body without parts: its media type in lower case, and its octets."""

    content_type: str
    content: bytes


def parts_of(carrier: Carrier) -> Iterator[Part]:
    """Yield the body of a carrier, or each of its parts, including nested ones.

    Raises WireError for a multipart body without a boundary or with too many parts, and for a
    compressed body.
    """
    if not carrier.body:
        return
    declared = carrier.value("content-type")
    content_type = declared.partition(";")[0].strip().lower()
    if not content_type:
        content_type = SDP_MEDIA_TYPE if carrier.body.startswith(b"v=0") else ""
    encoding = carrier.value("content-encoding").lower()
    if encoding not in ("", "identity"):
        raise WireError(f"the body is encoded with {encoding[:20]!r}; that cannot be read")
    if content_type.startswith("multipart/"):
        yield from _parts(declared, carrier.body)
    else:
        yield Part(content_type, _decoded(carrier))


def _decoded(carrier: Carrier) -> bytes:
    """Undo the transfer encoding of a body (RFC 2045 6); raises WireError if it does not hold."""
    encoding = carrier.value("content-transfer-encoding").strip().lower()
    if encoding not in ("base64", "quoted-printable"):
        return carrier.body
    import binascii  # imported here because most bodies have no encoding

    try:
        if encoding == "base64":
            return binascii.a2b_base64(carrier.body)
        return binascii.a2b_qp(carrier.body)
    except binascii.Error:
        raise WireError(f"the body is not in {encoding}, as its header says") from None


def _parts(declared: str, body: bytes) -> Iterator[Part]:
    whole = b"Content-Type: " + declared.encode("utf-8", "replace") + b"\r\n\r\n" + body
    # Bodies that the library would take long to read.
    if whole.count(b"\n--") > MAX_BOUNDARIES or len(_MULTIPART.findall(whole)) > MAX_MULTIPARTS:
        raise WireError("the multipart body has too many parts; not read")
    if re.search(_LONG_TYPE, whole):
        raise WireError("the multipart body has a part with too long a Content-Type; not read")
    # Imported here because most captures have no such bodies.
    from email.parser import BytesParser

    top: Message = BytesParser().parsebytes(whole)
    if not top.is_multipart():
        raise WireError("the multipart body has no boundary between its parts; nothing is read")
    for part in top.walk():
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            yield Part(part.get_content_type(), content)
