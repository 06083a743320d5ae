"""A `repr` for people: every field with its value, with secrets masked."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import fields
from typing import Any, TypeVar

C = TypeVar("C", bound=type)


def masked(secret: object) -> str:
    """The replacement for a secret: only its number of octets or items."""
    if secret is None:
        return "None"
    if isinstance(secret, bytes | bytearray):
        return f"<{len(secret)} octets>"
    return f"<{len(secret)} hidden>" if isinstance(secret, Sized) else "<hidden>"


def masked_repr(cls: C) -> C:
    """Give a dataclass a `repr` that masks the fields declared with `field(repr=False)`.

    Put it above `@dataclass`.
    """

    def shown(self: Any) -> str:
        values = (
            f"{one.name}={repr(value) if one.repr else masked(value)}"
            for one in fields(cls)
            if one.init
            for value in (getattr(self, one.name),)
        )
        return f"{cls.__name__}({', '.join(values)})"

    cls.__repr__ = shown  # type: ignore[method-assign, assignment]
    return cls
