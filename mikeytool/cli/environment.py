"""The environment of the exchanges as the command line has it: real clock, real randomness."""

from __future__ import annotations

from mikeytool.cli.options.types import clock, random
from mikeytool.exchange.environment import Environment


def environment() -> Environment:
    """Clock and randomness of this machine; MIKEYTOOL_NOW sets the clock."""
    return Environment(clock=clock(), random=random)
