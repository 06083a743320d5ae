"""What a store keeps in memory between messages: policy, rules, users and keys.

Every change that an operator makes gives the store another number, in the transaction of the
change. What was read while the store had one number may be used as long as it has that number.
The transaction of every message reads the number, so that a change by any process takes effect
with the next message. Numbers are random: a store that is created anew, or restored, never has
the number of an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

MOST = 16_384
"""How many values are kept in memory. A user with a key takes about 1 kB."""


class Known:
    """What was read from a store while it had one number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable) -> Any:
        """The value of a key, or None."""
        return self._values.get(key)

    def keep(self, key: Hashable, value: object) -> None:
        """Keep a value. If there are too many, forget all others."""
        if len(self._values) >= MOST:
            self._values.clear()  # takes no time, and several threads may do so
        self._values[key] = value

    def drop(self, *keys: Hashable) -> None:
        """Forget the values of some keys."""
        for key in keys:
            self._values.pop(key, None)


class Memory:
    """What the connections of a process to one store know. They share it."""

    known: Known | None = None


class _Remembering(Protocol):
    known: Known | None


S = TypeVar("S", bound=_Remembering)
P = ParamSpec("P")
R = TypeVar("R")


def _always(_value: object) -> bool:
    return True


def kept(
    when: Callable[[Any], bool] = _always,
) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """Keep the results of a method of a store, while the store answers messages.

    None is not kept, or senders who do not exist would fill the memory. Neither is a result for
    which `when` is false.
    """

    def decorated(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        def look(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            known = self.known
            if known is None or kwargs:
                return method(self, *args, **kwargs)  # not kept
            key = (method.__name__, *args)
            value: Any = known.get(key)
            if value is None:
                value = method(self, *args, **kwargs)
                if value is not None and when(value):
                    known.keep(key, value)
            return value  # type: ignore[no-any-return]

        update_wrapper(look, method)
        return look

    return decorated
