"""What can go wrong, one class an outcome: whoever calls decides by class, never by text.

Every text is one line that says what is wrong, where, and what to do about it, and
never holds a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mikeytool.wire.message import Message


class MikeyError(Exception):
    """Base of every error that this package raises on purpose."""


class WireError(MikeyError):
    """The input cannot be read as what it should be.

    `payload` names the payload in which reading stopped and `offset` is the octet, counted
    from the start of the message; both are None when the input is no message at all. Where a
    header breaks off, `partial` is the message with as much of the header as there is.
    """

    def __init__(self, text: str, *, payload: str | None = None, offset: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.payload = payload
        self.offset = offset
        self.partial: Message | None = None

    def __str__(self) -> str:
        if self.offset is None:
            return self.text
        where = (
            f"octet {self.offset}"
            if self.payload is None
            else (f"{self.payload} at octet {self.offset}")
        )
        return f"{where}: {self.text}"


class Refused(MikeyError):
    """Readable, but a check failed: MAC, replay, authorization, validity, policy, SSRC.

    `error_no` is the number that an Error message would carry (RFC 3830 6.12, RFC 6043 6.9);
    `answer` is that message where the other side is to be told.
    """

    def __init__(self, text: str, error_no: int = 12) -> None:
        super().__init__(text)
        self.error_no = error_no
        self.answer: bytes | None = None


class StateError(MikeyError):
    """A store or a state file cannot be read, written, or must not be overwritten."""


class Unavailable(StateError):
    """A store cannot be used just now, and nothing of what was asked for is written.

    The same may be asked for again.
    """


class Unreachable(MikeyError):
    """A KMS or a peer cannot be reached."""


class UsageError(MikeyError):
    """What was asked for makes no sense: a wrong key length, an unknown name, a bad option."""
