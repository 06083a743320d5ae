"""How packets are chosen and processed, independent of their keys."""

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

    - `ssrcs`: only these are processed; None means every SSRC that a key covers.
    - `any_ssrc`: the first key of a session also covers SSRCs that the session does not name.
    - `flows`: only these flows are processed.
    - `rocs`: the rollover counter of the first packet of an SSRC, 0 if not given.
    - `window`: the size of the replay window in packets, 64 or more; None means the size that a
    key's signalling asks for, or else 64.
    - `write_mki`: a session's sender writes the SPI of its key into each packet as MKI.
    - `on_error`: what happens to a packet that fails: it is left out, it is kept unchanged, or
    processing stops.
    - `rtcp_tag_length`: the length of SRTCP tags in octets, None for the length in the suite.
    - `is_rtcp_plain`: RTCP packets are not protected, and stay unchanged.
    - `with_cryptex`: CSRCs and header extensions are encrypted too (RFC 9335).
    - `search_budget`: how many attempts all streams have to find ROCs far from the likely ones.
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
        """The suite changed by these settings; raises UsageError for an impossible change."""
        octets = self.rtcp_tag_length
        return suite if octets is None else with_rtcp_tag(suite, octets)
