"""Rewrites the signalling of decrypted media: RTP/SAVP has to become RTP/AVP.

Otherwise other programs take the clear packets in the same file for SRTP.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Set
from typing import NamedTuple

_SECURE = b"RTP/SAVP"
_MEDIA = re.compile(rb"(?m)^(m=[^\r\n]{1,100} )RTP/SAVP(F?)(?= )")
_TRANSPORT = re.compile(rb"(?mi)^(Transport[ \t]*:[^\r\n]{0,2000}?)RTP/SAVP")
_RTSP = re.compile(rb"RTSP/[12]\.0 |[A-Z_]{3,20} \S{1,2000} RTSP/[12]\.0\r?\n")
_CALL_ID = re.compile(rb"(?mi)^(?:Call-ID|i)[ \t]*:[ \t]*([^\r\n]{1,1000}?)[ \t]*\r?$")
_LENGTH = re.compile(rb"(?mi)^((?:Content-Length|l)[ \t]*:[ \t]*)(\d{1,9})")
_BLANK = re.compile(rb"\r?\n\r?\n")


class _Rewritten(NamedTuple):
    """A text, where its messages begin, and whether each belongs to a call with keys."""

    text: bytes
    begins: list[int]
    meant: list[bool]

    def is_meant_at(self, at: int) -> bool:
        """Whether the message at an offset belongs to a call with keys."""
        return self.meant[bisect_right(self.begins, at) - 1]


class ClearDescriptions:
    """Rewrites the signalling of calls whose media has a key."""

    def __init__(self, calls: Set[str], *, has_rtsp: bool) -> None:
        """Take the Call-IDs of SIP; RTSP messages are all rewritten if any session has a key."""
        self._calls = calls
        self._has_rtsp = has_rtsp

    def datagram(self, payload: bytes) -> bytes | None:
        """The rewritten SIP message of a datagram; None if it does not change."""
        if _SECURE not in payload or not self._is_meant(payload):
            return None
        blank = _BLANK.search(payload, len(payload) - len(payload.lstrip(b"\r\n")))
        if blank is None:
            return None
        head, body = payload[: blank.end()], payload[blank.end() :]
        clear = _MEDIA.sub(rb"\1RTP/AVP\2", body)
        shorter = len(body) - len(clear)
        length = _LENGTH.search(head)
        if length is not None and shorter:
            number = str(int(length[2]) - shorter).encode()
            head = head[: length.start(2)] + number + head[length.end(2) :]
        return head + clear if shorter else None

    def text(self, text: bytes, *, is_meant: bool = False) -> _Rewritten:
        """Rewrite a part of a stream of messages, which keeps its length.

        `is_meant` says whether it begins in a message of a call with keys.
        """
        if self._has_rtsp and _RTSP.match(text):
            is_meant = True
        begins, meant = [0], [is_meant]
        for match in _CALL_ID.finditer(text):
            begins.append(match.start())
            meant.append(match[1].decode("utf-8", "replace") in self._calls)

        def clear(match: re.Match[bytes], replaced: bytes) -> bytes:
            is_one = meant[bisect_right(begins, match.start()) - 1]
            return match.expand(replaced) if is_one else match[0]

        if _SECURE in text and any(meant):
            text = _MEDIA.sub(lambda match: clear(match, rb"\1RTP/AVP\2 "), text)
            text = _TRANSPORT.sub(lambda match: clear(match, rb"\1 RTP/AVP"), text)
        return _Rewritten(text, begins, meant)

    def _is_meant(self, payload: bytes) -> bool:
        call = _CALL_ID.search(payload)
        return call is not None and call[1].decode("utf-8", "replace") in self._calls
