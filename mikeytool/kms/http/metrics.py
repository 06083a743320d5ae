"""Metrics for Prometheus, of all workers of a server together.

prometheus_client keeps them in files that the workers share, if PROMETHEUS_MULTIPROC_DIR is set
when it is imported; `server` sees to that.
"""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = CONTENT_TYPE_LATEST

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one worker. Labels never come from what a client sends."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._exchanges = Counter(
            "mikeytool_kms_exchanges",
            "Messages, by exchange and what came of them.",
            ("exchange", "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "mikeytool_kms_exchange_seconds",
            "How long messages took, from the request to the answer.",
            ("exchange",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.connections = Gauge(
            "mikeytool_kms_connections",
            "Open connections.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.cut_off = Counter(
            "mikeytool_kms_connections_cut_off",
            "Connections that were cut off: too slow, or to make room for others.",
            ("why",),
            registry=registry,
        )

    def count(self, exchange: str, outcome: str, seconds: float) -> None:
        """Count a message and its outcome."""
        self._exchanges.labels(exchange, outcome).inc()
        self._seconds.labels(exchange).observe(seconds)


def exposition() -> bytes:
    """The metrics of all workers, in the text format of Prometheus."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget(pid: int) -> None:
    """Drop the connections of a worker that has ended; its counters stay."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
