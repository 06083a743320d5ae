"""The content of General Extension payloads, by Type (RFC 3830 6.15).

Types that are not in `EXTENSIONS` have no grammar for their Data: the TESLA initial key
(RFC 4442 4.4), private types and unregistered ones.
"""

from __future__ import annotations

from mikeytool.wire.errors import WireError
from mikeytool.wire.generate_parser import parser
from mikeytool.wire.grammar import (
    REST,
    Int8ub,
    Record,
    Records,
    length_of,
    octets,
    records,
    this,
    uint8,
    uint32,
)
from mikeytool.wire.payloads import GeneralExt
from mikeytool.wire.registry import ExtensionType
from mikeytool.wire.registry_extensions import KeyIdType, OmaBcastSubtype


class VendorId(Record):
    """Vendor specific byte string (RFC 3830 6.15)."""

    vendor_id: bytes = octets(REST, show="text")


class SdpIds(Record):
    """List of SDP key management protocol identifiers (RFC 3830 6.15, RFC 4567 6.1)."""

    sdp_ids: bytes = octets(REST, show="text")


class KeyId(Record):
    """One Key ID Type sub-payload (RFC 4563 4)."""

    key_id_type: int = uint8(names=KeyIdType)
    key_id_length: int | None = length_of("key_id", Int8ub, default=None)
    key_id: bytes = octets(this.key_id_length)


class KeyIdInformation(Record):
    """Key ID Information (RFC 4563 4)."""

    key_ids: list[KeyId] = records(Records(KeyId, length=REST))


class NewCsbId(Record):
    """The CSB ID that a responder chose for a group (RFC 4738 3.6)."""

    csb_id: int = uint32(show="hex")


class OmaBcast(Record):
    """OMA BCAST Data Subtype; what follows the subtype is OMA's (RFC 5410 3)."""

    subtype: int = uint8(names=OmaBcastSubtype)
    subtype_data: bytes = octets(REST)


EXTENSIONS: dict[int, type[Record]] = {
    ExtensionType.VENDOR_ID: VendorId,
    ExtensionType.SDP_IDS: SdpIds,
    ExtensionType.KEY_ID: KeyIdInformation,
    ExtensionType.CSB_ID: NewCsbId,
    ExtensionType.OMA_BCAST: OmaBcast,
}
"""The record class for the Data of a General Extension payload, by Type."""


def read_extension(payload: GeneralExt) -> Record | None:
    """Read the Data of a General Extension payload; None if its Type has no grammar.

    Raises WireError if it cannot be read to its last octet.
    """
    kind = EXTENSIONS.get(payload.type)
    if kind is None:
        return None
    data, base = payload.data, payload.offset + payload.length - len(payload.data)
    try:
        record, end = parser(kind)(data, 0, len(data), None)
    except WireError as error:
        at = base + (error.offset or 0)
        raise WireError(error.text, payload=payload.label, offset=at) from None
    if end != len(data):
        raise WireError(
            f"{len(data) - end} octets stand behind the content",
            payload=payload.label,
            offset=base + end,
        )
    found: Record = record
    return found
