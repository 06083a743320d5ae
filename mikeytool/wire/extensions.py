"""The content of General Extension payloads, by Type (RFC 3830 6.15).

Types that are not in `EXTENSIONS` have no grammar for their Data: the TESLA initial key
(RFC 4442 4.4), private types and unregistered ones.
"""

from __future__ import annotations

from mikeytool.wire.errors import WireError
from mikeytool.wire.generate_parser import Spans, parser
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
from mikeytool.wire.mission_critical import KeyParameters, ProtectedPayload
from mikeytool.wire.payloads import GeneralExt
from mikeytool.wire.printable import standing
from mikeytool.wire.registry import ExtensionType
from mikeytool.wire.registry_extensions import KeyIdType, OmaBcastSubtype
from mikeytool.wire.sakke import SAKKE


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


EXTENSIONS: dict[int, tuple[type[Record], ...]] = {
    ExtensionType.VENDOR_ID: (VendorId,),
    ExtensionType.SDP_IDS: (SdpIds,),
    ExtensionType.KEY_ID: (KeyIdInformation,),
    ExtensionType.CSB_ID: (NewCsbId,),
    ExtensionType.OMA_BCAST: (OmaBcast,),
    ExtensionType.SAKKE_TO_SELF: (SAKKE,),
    ExtensionType.KEY_PARAMETERS_3GPP: (ProtectedPayload, KeyParameters),
}
"""What the Data of a General Extension payload may be, by Type; the first that fits is meant."""


def read_extension(payload: GeneralExt, spans: Spans | None = None) -> Record | None:
    """Read the Data of a General Extension payload; None if its Type has no grammar.

    `spans` receives the fields of the record, with their places in Data. Raises WireError if Data
    cannot be read to its last octet.
    """
    fault: WireError | None = None
    for kind in EXTENSIONS.get(payload.type, ()):
        found: Spans | None = None if spans is None else []
        try:
            record = _read_all(kind, payload, found)
        except WireError as error:
            fault = error
            continue
        if spans is not None and found is not None:
            spans += found
        return record
    if fault is not None:
        raise fault
    return None


def _read_all(kind: type[Record], payload: GeneralExt, spans: Spans | None) -> Record:
    """Read all of Data as a record of one kind; raises WireError."""
    data, base = payload.data, payload.offset + payload.length - len(payload.data)
    try:
        record, end = parser(kind)(data, 0, len(data), spans)
    except WireError as error:
        at = base + (error.offset or 0)
        raise WireError(error.text, payload=payload.label, offset=at) from None
    if end != len(data):
        raise WireError(
            f"{standing(len(data) - end)} behind the content",
            payload=payload.label,
            offset=base + end,
        )
    found: Record = record
    return found
