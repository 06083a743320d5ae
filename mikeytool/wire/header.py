"""The common header payload and its CS ID maps (RFC 3830 6.1, RFC 4563 5, RFC 6043 6.1)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import construct

from mikeytool.wire.construct_fields import build_leading, parse_leading
from mikeytool.wire.errors import WireError
from mikeytool.wire.generate_parser import parser
from mikeytool.wire.grammar import (
    Int8ub,
    Int16ub,
    Record,
    Records,
    bits,
    count_of,
    length_of,
    octets,
    records,
    this,
    uint8,
    uint16,
    uint32,
)
from mikeytool.wire.registry import (
    MIKEY_VERSION,
    CsIdMapType,
    DataType,
    NextPayload,
    PrfFunc,
    ProtType,
)


class SrtpIdEntry(Record):
    """One crypto session of an SRTP-ID map (RFC 3830 6.1.1); its CS ID is its position."""

    label = "CS ID map"

    policy_no: int = uint8()
    ssrc: int = uint32(show="hex")
    roc: int = uint32()


class GenericIdEntry(Record):
    """One crypto session of a GENERIC-ID map (RFC 6043 6.1.1)."""

    label = "CS ID map"

    cs_id: int = uint8()
    protocol: int = uint8(names=ProtType)
    s: int = bits(1, show="flag", default=0)
    policy_count: int | None = count_of("policies", bit_length=7, default=None)
    policies: list[int] = records(Records(None, count=this.policy_count))
    session_data_length: int | None = length_of("session_data", Int16ub, default=None)
    session_data: bytes = octets(this.session_data_length)
    spi_length: int | None = length_of("spi", Int8ub, default=None)
    spi: bytes = octets(this.spi_length)


class SrtpSessionData(Record):
    """Session Data of the Prot type SRTP (RFC 6043 6.1.1): 4 octets, or 10 with the S flag."""

    ssrc: int = uint32(show="hex")
    roc: int = uint32()
    seq: int = uint16()


def srtp_session_data(entry: GenericIdEntry) -> tuple[int, int | None, int | None] | None:
    """SSRC, ROC and SEQ of an entry; None if it has no SRTP Session Data.

    ROC and SEQ are None unless the S flag says that they are present (RFC 6043 6.1.1).
    """
    data = entry.session_data
    if entry.protocol != ProtType.SRTP or len(data) < 4:
        return None
    if entry.s and len(data) >= 10:
        full, _ = parser(SrtpSessionData)(data, 0, len(data))
        return full.ssrc, full.roc, full.seq
    return int.from_bytes(data[:4]), None, None


class HDR(Record):
    """Common header payload (RFC 3830 6.1, RFC 6043 6.1).

    If the header is truncated, the fields after the fault are None, and building stops there.
    """

    label = "HDR"
    breaks_off = True

    version: int = uint8(default=MIKEY_VERSION)
    data_type: int = uint8(names=DataType)
    next_payload: int | None = uint8(names=NextPayload, default=None)
    v: int = bits(1, show="flag", default=0)
    prf: int = bits(7, names=PrfFunc)
    csb_id: int = uint32(show="hex")
    cs_count: int | None = count_of("cs_id_map", default=None)
    cs_id_map_type: int = uint8(names=CsIdMapType)
    cs_id_map: list[SrtpIdEntry | GenericIdEntry] = records(
        construct.Switch(
            this.cs_id_map_type,
            {
                CsIdMapType.SRTP_ID.value: Records(SrtpIdEntry, count=this.cs_count),
                CsIdMapType.EMPTY.value: Records(SrtpIdEntry, count=0),
                CsIdMapType.GENERIC_ID.value: Records(GenericIdEntry, count=this.cs_count),
            },
        ),
        holds="crypto sessions",
    )

    @property
    def is_whole(self) -> bool:
        """Whether the CS ID map, the last field of the header, is present."""
        return self.cs_id_map is not None

    def build(self) -> bytes:
        """The octets of the header, or of the part that was read.

        Raises `construct.ConstructError` if a value does not fit its field.
        """
        if self.is_whole:
            return super().build()
        return build_leading(self.struct, self.values())


def broken_header(data: bytes) -> tuple[HDR, int]:
    """The readable part of a truncated header, and the position where it ends."""
    found, pos = parse_leading(HDR.struct, data)
    values: dict[str, Any] = dict.fromkeys(HDR.fields) | found
    kind = {CsIdMapType.SRTP_ID: SrtpIdEntry, CsIdMapType.GENERIC_ID: GenericIdEntry}.get(
        values["cs_id_map_type"]
    )
    if kind is not None:
        values["cs_id_map"] = entries = []
        with suppress(WireError):
            for _ in range(values["cs_count"]):
                entry, pos = parser(kind)(data, pos, len(data), None)
                entries.append(entry)
    return HDR(**values), pos
