"""MIKEY messages in HTTP, for both sides: the path, the media type and the body.

As in 3GPP TS 33.328, a message is POSTed to `/keymanagement` as `application/mikey`. The body
is the message in base64 or in binary, and the answer uses the same encoding.
"""

from __future__ import annotations

import binascii
import ipaddress
import re

from mikeytool.wire.errors import WireError

PATH = "/keymanagement"
MEDIA_TYPE = "application/mikey"
MAX_BODY = 131_072
"""In octets. Messages exchanged with a KMS are far shorter than this."""

_TEXT = re.compile(rb"[A-Za-z0-9+/_=\s-]*")
_STANDARD = bytes.maketrans(b"-_", b"+/")


def is_mikey(content_type: str | None) -> bool:
    """Whether a Content-Type is the one for MIKEY messages, with or without parameters."""
    return (content_type or "").partition(";")[0].strip().lower() == MEDIA_TYPE


def read_body(body: bytes) -> tuple[bytes, bool]:
    """Return the message in a body, and whether the body is base64.

    The base64 alphabet may be standard or URL-safe. Padding is optional, and white space may
    appear anywhere. Raises WireError for an empty body and for text that is not base64.
    """
    if not body:
        raise WireError("the body is empty; expected a message in base64 or binary")
    if _TEXT.fullmatch(body) is None:
        return body, False
    text = b"".join(body.split()).rstrip(b"=").translate(_STANDARD)
    try:
        message = binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        message = b""
    if not message:
        raise WireError("the body is text, but not base64")
    return message, True


def write_body(message: bytes, *, text: bool) -> bytes:
    """Encode a message as a body: base64 on one line, or binary."""
    return binascii.b2a_base64(message, newline=False) if text else message


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: 127.0.0.0/8, ::1 or localhost.

    Plain HTTP is allowed only for this machine.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
