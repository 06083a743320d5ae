"""The clock and the random numbers of this machine, as commands use them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from mikeytool.cli.options.common import say
from mikeytool.client.time_text import parse_time
from mikeytool.exchange.environment import Environment


def environment(protocols: tuple[str, ...] = ()) -> Environment:
    """Make the environment of an exchange from the clock and randomness of this machine.

    `protocols` are those of the session description that messages go into.
    """
    return Environment(clock=clock(), random=os.urandom, protocols=protocols)


def clock() -> Callable[[], int]:
    """Give the clock in Unix nanoseconds; MIKEYTOOL_NOW sets it, with a warning."""
    given = os.environ.get("MIKEYTOOL_NOW")
    if not given:
        return time.time_ns
    say(f"mikeytool: the clock is set by MIKEYTOOL_NOW={given}")
    fixed, started = now_ns(), time.monotonic_ns()
    return lambda: fixed + time.monotonic_ns() - started


def now_ns() -> int:
    """Give the time of that clock, in Unix nanoseconds."""
    given = os.environ.get("MIKEYTOOL_NOW")
    return parse_time(given, time.time_ns(), "MIKEYTOOL_NOW") if given else time.time_ns()
