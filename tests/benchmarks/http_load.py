"""Sends requests over HTTP on several connections at once: `… PORT CONNECTIONS < requests`.

A process of its own, so that it does not share Python's lock with a server. Requests are
lines of hex; prints how long all took, and each, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from time import perf_counter


class _Client(asyncio.Protocol):
    """One connection, that sends the next request when the last is answered."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self.done = asyncio.get_running_loop().create_future()
        self.seconds: list[float] = []
        self.statuses: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        self._received = b""
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            self.done.set_result(None)
            return
        self._started = perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if length is not None and len(body) >= int(length[1]):
            self.seconds.append(perf_counter() - self._started)
            self.statuses.append(int(head[9:12]))
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("cut off"))


async def main(port: int, connections: int) -> None:
    """Send everything and print the times."""
    requests = iter([bytes.fromhex(line) for line in sys.stdin])
    loop = asyncio.get_running_loop()
    started = perf_counter()
    made = [
        await loop.create_connection(lambda: _Client(requests), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.done for _, client in made))
    print(
        json.dumps(
            {
                "seconds": perf_counter() - started,
                "each": [one for _, client in made for one in client.seconds],
                "statuses": sorted({one for _, client in made for one in client.statuses}),
            }
        )
    )


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
