"""Wireshark's exported PDUs (link type 252): data that a program extracted from the layers below.

SIP over TLS is exported this way. Tags come first: sender, receiver and transport.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_END = 0
_SOURCES, _DESTINATIONS = (20, 22), (21, 23)  # IPv4, IPv6
_PORT_TYPE, _SOURCE_PORT, _DESTINATION_PORT = 24, 25, 26
_OF_TCP = 2
_SIZES = {20: 4, 21: 4, 22: 16, 23: 16, _PORT_TYPE: 4, _SOURCE_PORT: 4, _DESTINATION_PORT: 4}
_MOST_TAGS = 256


class ExportedPdu(NamedTuple):
    """Where a PDU begins, its flow as in `frames.Datagram`, and whether it came over TCP."""

    at: int
    flow: bytes
    is_tcp: bool


def read_exported_pdu(raw: bytes, at: int, end: int) -> ExportedPdu | None:
    """Read the tags in front of a PDU; None if they are broken.

    Missing parts of the ends are 0.
    """
    values: dict[int, bytes] = {}
    for _ in range(_MOST_TAGS):
        if end - at < 4:
            return None
        tag, length = struct.unpack_from("!HH", raw, at)
        at += 4
        if tag == _END:
            return ExportedPdu(at + length, _flow(values), _number(values, _PORT_TYPE) == _OF_TCP)
        value = raw[at : min(at + length, end)]
        if len(value) == _SIZES.get(tag):
            values[tag] = value
        at += length
    return None


def is_exported_from_tcp(raw: bytes, at: int, end: int) -> bool:
    """Whether an exported PDU came over TCP."""
    pdu = read_exported_pdu(raw, at, end)
    return pdu is not None and pdu.is_tcp


def _flow(values: dict[int, bytes]) -> bytes:
    source, destination = (
        next((values[tag] for tag in tags if tag in values), b"")
        for tags in (_SOURCES, _DESTINATIONS)
    )
    size = len(source or destination) or 4
    if len(destination) != size or len(source) != size:
        source, destination = source.rjust(size, b"\0"), destination.rjust(size, b"\0")
    ports = (_number(values, _SOURCE_PORT), _number(values, _DESTINATION_PORT))
    return (
        source[:size] + destination[:size] + b"".join((port & 0xFFFF).to_bytes(2) for port in ports)
    )


def _number(values: dict[int, bytes], tag: int) -> int:
    return int.from_bytes(values.get(tag, b""))
