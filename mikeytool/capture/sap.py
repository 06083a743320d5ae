"""Session announcements (RFC 2974)."""

from __future__ import annotations

import re
import zlib

from mikeytool.capture.carrier import SDP_MEDIA_TYPE, Carrier
from mikeytool.wire.errors import WireError

MAX_PAYLOAD = 1 << 18
"""The most octets of a payload after decompression; descriptions have much less."""

_IPV6, _DELETION, _ENCRYPTED, _COMPRESSED = 0x10, 0x04, 0x02, 0x01
_PAYLOAD_TYPE = re.compile(rb"[\w.+-]{1,64}/[\w.+-]{1,64}\0")


def looks_like_sap(data: bytes) -> bool:
    """Whether a datagram on any port is an announcement in the clear, not compressed."""
    if len(data) < 8 or data[0] >> 5 != 1:
        return False
    rest = data[_payload_at(data) :][:24]
    return rest.startswith(b"v=0") or rest.startswith(b"application/sdp\0")


def read_sap(data: bytes) -> Carrier:
    """Read the announcement or deletion in a datagram; its payload is the `body`.

    Authentication data is skipped, not verified. Raises WireError for another version, a
    datagram that ends too early, and a payload that is encrypted or longer than MAX_PAYLOAD.
    """
    if len(data) < 4 or data[0] >> 5 != 1:
        raise WireError("no SAP packet of version 1, though it went to the port of SAP")
    at = _payload_at(data)
    if at > len(data):
        raise WireError("the SAP packet ends inside its header")
    if data[0] & _ENCRYPTED:
        raise WireError("the payload of the SAP packet is encrypted; that cannot be read")
    rest = data[at:]
    if data[0] & _COMPRESSED:
        rest = _decompress(rest)
    kind = _PAYLOAD_TYPE.match(rest)
    content_type = kind[0][:-1].decode() if kind else SDP_MEDIA_TYPE
    body = rest[kind.end() :] if kind else rest
    method = "delete" if data[0] & _DELETION else "announce"
    return Carrier("SAP", method, fields={"content-type": [content_type]}, body=body)


def _payload_at(data: bytes) -> int:
    """The offset of the payload, after the originating source and the authentication data."""
    return 4 + (16 if data[0] & _IPV6 else 4) + 4 * data[1]


def _decompress(data: bytes) -> bytes:
    """Inflate a payload. Some senders compress its type too, others put the type before it."""
    kind = _PAYLOAD_TYPE.match(data)
    ahead = kind[0] if kind else b""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data[len(ahead) :], MAX_PAYLOAD + 1)
    except zlib.error:
        raise WireError("the compressed payload of the SAP packet is broken") from None
    if len(inflated) > MAX_PAYLOAD:
        raise WireError(f"the SAP packet inflates to more than {MAX_PAYLOAD} octets; not read")
    return ahead + inflated
