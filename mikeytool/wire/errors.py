"""The errors of the whole package, one class for each outcome.

Callers distinguish errors by class, never by text. Every text is one line that says what is
wrong, where, and what to do about it. It never contains a key.
"""

from __future__ import annotations

from typing import Any


class MikeyError(Exception):
    """Base of all errors that this package raises on purpose."""


class WireError(MikeyError):
    """The input cannot be read in the expected format.

    `payload` names the payload in which reading stopped, and `offset` is the octet, counted
    from the start of the message. Both are None if the input is not a message at all. If the
    header is truncated, `partial` is a `Message` with the part of the header that was read.
    """

    def __init__(self, text: str, *, payload: str | None = None, offset: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.payload = payload
        self.offset = offset
        self.partial: Any = None

    def __str__(self) -> str:
        if self.offset is None:
            return self.text
        where = f"octet {self.offset}"
        if self.payload is not None:
            where = f"{self.payload} at {where}"
        return f"{where}: {self.text}"


class Refused(MikeyError):
    """A message can be read, but a check failed: MAC, replay, authorization, policy and so on.

    `error_no` is the number for an Error message about it (RFC 3830 6.12, RFC 6043 6.9).
    `answer` is that Error message if one should be sent.
    """

    def __init__(self, text: str, error_no: int = 12) -> None:
        super().__init__(text)
        self.error_no = error_no
        self.answer: bytes | None = None


class StateError(MikeyError):
    """A store or a state file cannot be read or written, or must not be overwritten."""


class Unavailable(StateError):
    """A store cannot be used at the moment. Nothing was written, and the caller can try again."""


class Unreachable(MikeyError):
    """A KMS or a peer cannot be reached."""


class UsageError(MikeyError):
    """The caller asked for something impossible: a wrong key length, an unknown name."""
