"""How packets are chosen and treated, whatever their keys are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mikeytool.media.flows import FlowFilter

OnError = Literal["drop", "keep", "stop"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Which packets are processed, and how.

    - `ssrcs`: only these are processed; None for every SSRC that a key is for.
    - `any_ssrc`: the first key of a session is also for SSRCs that the session does not name.
    - `flows`: only these flows are processed.
    - `rocs`: the rollover counter of the first packet of an SSRC, 0 where it is not given.
    - `window`: the packets of a replay window, 64 or more; None for what a key's signalling
      asks for, or else 64.
    - `write_mki`: a session's sender writes the SPI of its key into each packet as MKI.
    - `on_error`: what becomes of a packet that fails: it is left out, kept as it is, or
      the last one that is processed.
    - `now_ns`: the time by which a replaced key of a session has expired, in Unix nanoseconds;
      None for the clock of the machine.
    """

    ssrcs: frozenset[int] | None = None
    any_ssrc: bool = False
    flows: FlowFilter = FlowFilter()  # noqa: RUF009 - immutable
    rocs: Mapping[int, int] = field(default_factory=dict)
    window: int | None = None
    write_mki: bool = False
    on_error: OnError = "drop"
    now_ns: int | None = None
