"""Metrics for Prometheus, combined for all workers of a server.

They are numbers in memory that the workers share. The memory has no name and no file, and it
disappears with the last process that uses it, even after a crash.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import TypeAlias

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_EXCHANGES = ("request", "resolve", "groups", "other")
_OUTCOMES = (
    "answered", "refused", "unreachable", "unauthenticated", "unreadable", "limited",
    "unavailable", "gone", "error",
)  # fmt: skip
_CUT_OFF = ("crowded", "slow", "handshake")

_COUNTED = {
    pair: at for at, pair in enumerate((one, other) for one in _EXCHANGES for other in _OUTCOMES)
}
_SECONDS = {
    exchange: len(_COUNTED) + at * (len(_BUCKETS) + 2) for at, exchange in enumerate(_EXCHANGES)
}
"""Where the numbers of a histogram begin: its buckets, the one without a bound, and the sum."""

_WHY = {
    why: len(_COUNTED) + len(_SECONDS) * (len(_BUCKETS) + 2) + at for at, why in enumerate(_CUT_OFF)
}
_CONNECTIONS = _WHY["crowded"] + len(_CUT_OFF)
_SIZE = _CONNECTIONS + 1

Numbers: TypeAlias = "memoryview[float]"


def shared(workers: int) -> Numbers:
    """The numbers for `workers` workers, in memory that forked processes share."""
    return memoryview(mmap.mmap(-1, 8 * _SIZE * workers)).cast("d")


class Metrics(Collector):
    """The metrics of one worker, which is known by its position.

    A worker that replaces it continues its numbers. Labels never come from what a client sends.
    Only the thread of the event loop may update the numbers.
    """

    def __init__(self, numbers: Numbers | None = None, worker: int = 0) -> None:
        self._all = shared(1) if numbers is None else numbers
        self._own = self._all[worker * _SIZE : (worker + 1) * _SIZE]
        self.connections(0)

    def count(self, exchange: str, outcome: str, seconds: float) -> None:
        """Count a message and its outcome."""
        self._own[_COUNTED[exchange, outcome]] += 1
        begin = _SECONDS[exchange]
        self._own[begin + bisect_left(_BUCKETS, seconds)] += 1
        self._own[begin + len(_BUCKETS) + 1] += seconds

    def connections(self, count: int) -> None:
        """Set how many connections are open."""
        self._own[_CONNECTIONS] = count

    def cut_off(self, why: str) -> None:
        """Count a connection that was cut off."""
        self._own[_WHY[why]] += 1

    def exposition(self) -> bytes:
        """The metrics of all workers, in the text format of Prometheus."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """The metrics of all workers, as prometheus_client takes them."""
        sums = [sum(self._all[at::_SIZE]) for at in range(_SIZE)]
        counted = CounterMetricFamily(
            "mikeytool_kms_exchanges",
            "Messages, by exchange and what came of them.",
            labels=("exchange", "outcome"),
        )
        for pair, at in _COUNTED.items():
            counted.add_metric(pair, sums[at])
        yield counted
        seconds = HistogramMetricFamily(
            "mikeytool_kms_exchange_seconds",
            "How long messages took, from the request to the answer.",
            labels=("exchange",),
        )
        bounds = [*map(str, _BUCKETS), "+Inf"]
        for exchange, at in _SECONDS.items():
            below = accumulate(sums[at : at + len(bounds)])
            seconds.add_metric(
                (exchange,), list(zip(bounds, below, strict=True)), sums[at + len(bounds)]
            )
        yield seconds
        yield GaugeMetricFamily(
            "mikeytool_kms_connections", "Open connections.", value=sums[_CONNECTIONS]
        )
        cut_off = CounterMetricFamily(
            "mikeytool_kms_connections_cut_off",
            "Connections that were cut off: too slow, or to make room for others.",
            labels=("why",),
        )
        for why, at in _WHY.items():
            cut_off.add_metric((why,), sums[at])
        yield cut_off
