"""SIP messages of a call and what comes of them, for the tests of dialogs and keys."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from mikeytool.media.calls import read_calls
from mikeytool.media.signalled_keys import SignalledKey, Standing
from tests.capture.carriers import lines
from tests.capture.network import ALICE, BACK, BOB, THERE, Ends, records, udp

A = "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
A32 = "2 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
B = "1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"
A2 = "1 AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm"
B2 = "1 AES_CM_128_HMAC_SHA1_80 inline:QUJjZGVmMTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5"


def sdp(
    *cryptos: str,
    address: str = ALICE,
    port: int = 4000,
    transport: str = "RTP/SAVP",
    more: Iterable[str] = (),
) -> bytes:
    """A description of one audio stream with a=crypto lines, and `more` lines behind it."""
    return lines(
        "v=0", f"o=- 1 1 IN IP4 {ALICE}", "s=-", f"c=IN IP4 {address}", "t=0 0",
        f"m=audio {port} {transport} 0", *(f"a=crypto:{each}" for each in cryptos), *more,
    )  # fmt: skip


def answer(*cryptos: str, address: str = BOB, port: int = 5000, **given: object) -> bytes:
    """The description of the other side."""
    return sdp(*cryptos, address=address, port=port, **given)  # type: ignore[arg-type]


def message(
    start: str,
    body: bytes = b"",
    *,
    number: int = 1,
    method: str = "INVITE",
    to: str = "",
    branch: str = "",
    call: str = "call",
    swapped: bool = False,
    ends: Ends | None = None,
    headers: tuple[str, ...] = (),
) -> bytes:
    """A SIP message in UDP: "INVITE" from Alice, "200" from Bob; `swapped` the other way.

    `to` is the tag of the side that is asked; the other has the tag `a`.
    """
    is_response = start[0].isdigit()
    first = f"SIP/2.0 {start} Reason" if is_response else f"{start} sip:bob@example.com SIP/2.0"
    tags = ["a", to] if not swapped else [to, "a"]
    head = lines(
        first,
        f"Via: SIP/2.0/UDP {ALICE}:5060;branch=z9hG4bK{branch or f'{method}{number}'}",
        f"From: <sip:x@example.com>;tag={tags[0]}",
        "To: <sip:y@example.com>" + f";tag={tags[1]}" * bool(tags[1]),
        f"Call-ID: {call}",
        f"CSeq: {number} {method}",
        *headers,
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
        "",
    )
    return udp(head + body, ends or (BACK if is_response is not swapped else THERE))


def signalled(*packets: bytes) -> list[SignalledKey]:
    """The keys of a capture of these packets."""
    return read_calls(records(packets)).keys


def shown(*packets: bytes) -> list[tuple[str | bytes | None, str, int]]:
    """Of each key the key, its standing after the last packet, and the frame of its answer."""
    return [
        (one.content, "declined: " + one.declined if one.declined else one.standing(99).value,
         one.taken)
        for one in signalled(*packets)
    ]  # fmt: skip


def end(address: str, port: int) -> bytes:
    """Address and port as octets."""
    return ip_address(address).packed + port.to_bytes(2)


IN_USE, OFFERED, REPLACED = (
    each.value for each in (Standing.IN_USE, Standing.OFFERED, Standing.REPLACED)
)
INVITE = message("INVITE", sdp(A))
OK = message("200", answer(B), to="b")
ACK = message("ACK", method="ACK", to="b")
