"""How packets are chosen and treated, whatever their keys are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mikeytool.media.flows import FlowFilter
from mikeytool.srtp.roc_search import WHOLE_CAPTURE, SearchBudget
from mikeytool.srtp.suites import Suite, with_rtcp_tag

OnError = Literal["drop", "keep", "stop"]


def _whole_capture() -> SearchBudget:
    return SearchBudget(WHOLE_CAPTURE)


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
    - `rtcp_tag_length`: the octets of SRTCP tags, None for what the suite has.
    - `is_rtcp_plain`: RTCP packets are not protected, and stay as they are.
    - `with_cryptex`: CSRCs and header extensions are encrypted too (RFC 9335).
    - `search_budget`: the attempts to find ROCs far from the likely ones, of all streams.
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
    rtcp_tag_length: int | None = None
    is_rtcp_plain: bool = False
    with_cryptex: bool = False
    search_budget: SearchBudget = field(default_factory=_whole_capture, compare=False)
    now_ns: int | None = None

    def adapted(self, suite: Suite) -> Suite:
        """The suite with what differs from it here; raises UsageError for what it cannot have."""
        octets = self.rtcp_tag_length
        return suite if octets is None else with_rtcp_tag(suite, octets)
