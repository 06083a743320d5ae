"""The key-mgmt attribute of SDP and the KeyMgmt header of RTSP (RFC 4567 3.1 and 3.2)."""

from __future__ import annotations

import binascii
import re
from typing import NamedTuple

from mikeytool.capture.encoding import read_base64
from mikeytool.wire.errors import WireError

# RFC 5939 3.3.2 wraps an attribute into a=acap, behind a number.
_ATTRIBUTE = re.compile(r"a=(acap:\d+[ \t]+)?key-mgmt:[ \t]*([^ \t]*)[ \t]*(.*)", re.DOTALL)
_HEADER = re.compile(r"keymgmt[ \t]*:(.*)", re.DOTALL | re.IGNORECASE)
KEYMGMT_HEADER = "KeyMgmt header"
_PIECE = re.compile(r'"[^"]*"|[^";,]+|[";,]')


class Spec(NamedTuple):
    """Key management data of one protocol: what the RFC calls key-mgmt-spec.

    `carrier` is what held it ("a=key-mgmt", "a=acap", "KeyMgmt header"). `protocol` is the
    KMPID as written, which is case-sensitive. `data` is base64, not yet decoded. Each of the three
    is empty if it is left out.
    """

    carrier: str
    protocol: str
    data: str
    uri: str = ""


def read_attribute(line: str) -> Spec | None:
    """Read an a=key-mgmt or a=acap line (RFC 4567 3.1); None for another line."""
    match = _ATTRIBUTE.match(line)
    if match is None:
        return None
    carrier = "a=acap" if match[1] else "a=key-mgmt"
    return Spec(carrier, protocol=match[2], data=match[3].rstrip())


def attribute(message: bytes) -> bytes:
    """Give the a=key-mgmt line for a MIKEY message, without its end (RFC 4567 3.1)."""
    return b"a=key-mgmt:mikey " + binascii.b2a_base64(message, newline=False)


def read_header(line: str) -> list[Spec] | None:
    """Read an unfolded KeyMgmt header (RFC 4567 3.2); None for another line."""
    match = _HEADER.match(line)
    return None if match is None else read_header_value(match[1])


def read_header_value(value: str) -> list[Spec]:
    """Read the value of a KeyMgmt header (RFC 4567 3.2).

    Parameters may come in any order, quoted or not; those that the RFC does not define are
    ignored. A header without any specification gives one empty specification.
    """
    specs = [_read_spec(parameters) for parameters in _split(value) if any(parameters)]
    return specs or [Spec(KEYMGMT_HEADER, protocol="", data="")]


def message_of(spec: Spec) -> bytes | None:
    """Give the octets of the MIKEY message in a specification; None for another protocol.

    Raises WireError if the protocol or the data is missing, or the data is not base64.
    """
    if not spec.protocol:
        raise WireError("no protocol is named; mikey belongs there")
    if spec.protocol != "mikey":
        return None
    if not spec.data:
        raise WireError(
            "no data is behind mikey; the base64 of the message belongs on the same line"
        )
    return read_base64(spec.data)


def _split(value: str) -> list[list[str]]:
    """Split into the parameters of each specification, at , and ; outside quotes."""
    specs: list[list[str]] = [[]]
    pieces: list[str] = []
    for piece in [*_PIECE.findall(value), ","]:
        if piece not in (";", ","):
            pieces.append(piece)
            continue
        specs[-1].append("".join(pieces).strip())
        pieces.clear()
        if piece == ",":
            specs.append([])
    return specs


def _read_spec(parameters: list[str]) -> Spec:
    values = {"prot": "", "data": "", "uri": ""}
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        value = value.strip()
        if value.startswith('"'):
            value = value[1:].partition('"')[0]
        # None of the three contains white space, except where a line was folded.
        values[name.strip().lower()] = "".join(value.split())
    return Spec(KEYMGMT_HEADER, values["prot"], values["data"], values["uri"])
