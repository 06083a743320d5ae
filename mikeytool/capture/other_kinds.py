"""Files that are given in place of messages by mistake: what they are, and what to do with them."""

from __future__ import annotations

import re

from mikeytool.capture.capture_files import is_capture
from mikeytool.wire.errors import WireError

HEAD = 128
"""How many octets from the beginning of a file are enough to name its kind."""
SQLITE = b"SQLite format 3\0"

_MAGIC = (
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"PK\3\4", "a zip file; unpack it first"),
    (b"BZh", "a bzip2 file; unpack it first"),
    (b"\xfd7zXZ\0", "an xz file; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file; unpack it first"),
    (b"\x04\x22\x4d\x18", "an lz4 file; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file; unpack it first"),
    (b"\x89PNG", "a picture; give the text or the capture that it shows"),
    (b"\xff\xd8\xff", "a picture; give the text or the capture that it shows"),
    (b"GIF8", "a picture; give the text or the capture that it shows"),
    (b"%PDF", "a PDF file; copy the text out of it"),
    (b"\x7fELF", "a program"),
    (SQLITE, "a database, a store or the client's state; see kms show"),
)
_CAPTURES = (
    (b"\xa1\xb2\xcd\x34", "pcap as modified for some Linux systems"),
    (b"\x34\xcd\xb2\xa1", "pcap as modified for some Linux systems"),
    (b"snoop\0\0\0", "snoop"),
    (b"GMBU", "Microsoft Network Monitor 2"),
    (b"RTSS", "Microsoft Network Monitor 1"),
    (b"TRSNIFF data    \x1a", "Sniffer for DOS"),
    (b"XCP\0", "Sniffer for Windows"),
    (b"\0\0\2\0\x12\5\0\x10", "K12"),
    (b"+---------+---------------+----------+", "K12 text"),
    (b"iptrace ", "AIX iptrace"),
    (b"ObserverPktBuffe", "Observer"),
    (b"\x7fver", "OmniPeek"),
    (b"\5VNF", "Visual Networks"),
    (b"TR\0", "HP-UX nettl"),
    (b"\xaa\xaa\xaa\xaa", "InfoVista 5View"),
)
"""Captures that Wireshark reads, and we do not, by their first octets."""
_DER = rb"0\x82..0[\x80-\x84]|0\x82..\x02\x01\0"
_PEM = (
    rb"\s*-----BEGIN ((?:[A-Z0-9]+ ){0,3}"
    rb"(?:CERTIFICATE|KEY|CRL|CMS|PKCS7|PARAMETERS)(?: [A-Z]+)?)-----"
)
_STATE = rb'\s*\{\s*"mikeytool": "([a-z ]+)"'
_DESCRIBED = rb'\s*\[?\s*\{\s*"version": *\d+, *"data_type"'
_KEY_TAB = rb"(?:\s*#[^\n]*\n)*\s*(?:psk|psk-id|tpk|mpki|mpkr) \S+ \S+\s*(?:\n|$)"


def refuse_other_kind(head: bytes) -> None:
    """Raise WireError for the beginning of a file that is of another kind than messages."""
    kind = _kind(head)
    if kind is not None:
        raise WireError(f"this is {kind}")


def _kind(head: bytes) -> str | None:
    if is_capture(head):
        return (
            "a packet capture; decode lists its messages, and decode --json --index N"
            " | mikeytool encode gives one of them"
        )
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    for magic, name in _CAPTURES:
        if head.startswith(magic):
            return f"a capture in the format {name}; editcap -F pcapng makes one that is read"
    head = head[:HEAD]
    begin = head.lstrip()[:1]
    if begin == b"{" and (match := re.match(_STATE, head)):
        name = match[1].decode()
        use = {"ticket": "ticket show", "session": "transfer show"}.get(name, "ticket accept")
        return f"a {name} file of mikeytool; see {use}"
    if begin == b"-" and (match := re.match(_PEM, head)):
        what = match[1].decode().lower()
        use = "--private-key takes it" if "private" in what else "--cert and the like take it"
        return f"a PEM file, {what}; {use}"
    if begin in (b"{", b"[") and re.match(_DESCRIBED, head):
        return "JSON, as decode --json prints it; mikeytool encode makes the message of it"
    if begin in (b"#", b"p", b"t", b"m") and re.match(_KEY_TAB, head):
        return "a key tab; --keys takes it"
    if head.startswith(b"0\x82") and re.match(_DER, head, re.DOTALL):
        return "a certificate or a key in DER"
    return None
