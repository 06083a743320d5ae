"""SIP, RTSP, HTTP and SAP messages that carry MIKEY or SDES keys."""

from __future__ import annotations

from tests.capture.messages import b64

CRLF = "\r\n"


def lines(*parts: str) -> bytes:
    return CRLF.join(parts).encode() + b"\r\n"


def sdp(*attributes: str, address: str = "192.0.2.1", port: int = 40000) -> bytes:
    """A description of one audio stream; attributes may be more m= lines."""
    return lines(
        "v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0",
        f"m=audio {port} RTP/SAVP 0", *attributes,
    )  # fmt: skip


def key_mgmt(message: bytes) -> str:
    return f"a=key-mgmt:mikey {b64(message)}"


def sip(
    start: str,
    body: bytes = b"",
    *,
    cseq: str = "1 INVITE",
    call_id: str = "a84b4c76e66710",
    content_type: str = "application/sdp",
    headers: tuple[str, ...] = (),
) -> bytes:
    """A SIP message."""
    return (
        lines(
            start,
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776",
            "From: Alice <sip:alice@example.com>;tag=1928",
            "To: Bob <sip:bob@example.com>" + (";tag=314" if start.startswith("SIP") else ""),
            f"Call-ID: {call_id}",
            f"CSeq: {cseq}",
            *headers,
            *([f"Content-Type: {content_type}"] if body else []),
            f"Content-Length: {len(body)}",
            "",
        )
        + body
    )


INVITE = "INVITE sip:bob@example.com SIP/2.0"
OK = "SIP/2.0 200 OK"


def rtsp(start: str, body: bytes = b"", *, headers: tuple[str, ...] = ()) -> bytes:
    """An RTSP message."""
    content = ("Content-Type: application/sdp", f"Content-Length: {len(body)}") if body else ()
    return lines(start, *headers, *content, "") + body
