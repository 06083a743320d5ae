"""Requests to a KMS over HTTP, by a user or by another KMS.

A message is sent again only if the KMS cannot have seen it. This is the case while no connection
can be made, or if the KMS says that it could not process anything at the moment. After a message
was sent, its answer may have been lost, and the same message would be a replay. Everything ends
at the deadline, even if the other side sends slowly.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import cast

from mikeytool.kms.http_message import (
    MAX_BODY,
    MEDIA_TYPE,
    is_mikey,
    read_body,
    write_body,
)
from mikeytool.kms.remote.connection import Address, Connection, NotSent, Tls, is_of_tls, tls_failed
from mikeytool.wire.errors import Refused, Unreachable, WireError

_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds before each further attempt."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, with a body of at most MAX_BODY octets."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class KmsClient:
    """A client of the KMS at a URL.

    `tls` names the files for TLS. The default is `Tls.of_environment()`. Raises UsageError if the
    URL cannot belong to a KMS, and StateError if a file is unsuitable.
    """

    def __init__(self, url: str, tls: Tls | None = None) -> None:
        self.address = Address.of(url)
        self.url = url
        self._context: ssl.SSLContext | None = None
        if self.address.scheme == "https":
            self._context = (tls or Tls.of_environment()).context()

    def ask(self, message: bytes, deadline: float) -> bytes:
        """Send a message and return the answer, which may be an Error message.

        `deadline` is in seconds on the clock of `time.monotonic`. Raises Unreachable if the
        KMS cannot be reached or does not answer in time, and Refused if it refuses to answer.
        """
        headers = {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
        body, target = write_body(message, text=True), self.address.target
        answer = self.exchange("POST", target, headers, body, deadline)
        self.check(answer)
        if not is_mikey(answer.headers.get("Content-Type")):
            raise self._no_kms("its answer is not application/mikey")
        try:
            return read_body(answer.body)[0]
        except WireError as error:
            raise self._no_kms(f"its answer is no message: {error}") from None

    def check(self, answer: Answer) -> None:
        """Raise Refused or Unreachable for a status other than 200."""
        match answer.status:
            case 200:
                return
            case 401 | 403:
                raise Refused(
                    f"{self.url}: the KMS does not know this user, or knows another key; check"
                    " --as, --psk and --kms-id, and that the user is enabled there"
                )
            case 429:
                raise Refused(
                    f"{self.url}: too many messages from this address failed authentication; wait a"
                    " minute, and check --as and --psk"
                )
            case 413:
                raise Refused(f"{self.url}: the message is too long for this KMS")
            case status if 300 <= status < 400:
                raise Unreachable(
                    f"{self.url}: it redirects to another address, which is not followed; give the"
                    " address of the KMS itself"
                )
            case status if status >= 500:
                raise Unreachable(
                    f"{self.url}: the KMS, or a proxy in front of it, has failed (HTTP {status});"
                    " ask its operator"
                )
        raise self._no_kms(f"HTTP {answer.status}")

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, deadline: float
    ) -> Answer:
        """Return the response to a request for a path and query.

        Resends the request if the KMS cannot have seen it.
        """
        for pause in (*_PAUSES, None):
            try:
                return self._once(method, target, headers, body, deadline)
            except NotSent as error:
                failure = error
            if pause is None:
                break
            pause = max(pause, failure.pause or 0)
            if time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
        raise Unreachable(str(failure))

    def _once(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, deadline: float
    ) -> Answer:
        with Connection(self.address, self._context, deadline) as connection:
            try:
                connection.request(method, target, body or None, dict(headers))
                answer = _read(connection.getresponse())
            except TimeoutError:
                raise Unreachable(
                    f"{self.url}: no answer in time; whether the KMS has seen the message is not"
                    " known: run the command again for a new one"
                ) from None
            except (OSError, HTTPException, ValueError) as error:  # also of a chunk's length
                if is_of_tls(error):
                    raise tls_failed(self.address, error) from None
                hint = "--kms-client PEM, if it needs a client certificate"
                if self._context is None:
                    hint = "whether it should be https"
                raise Unreachable(
                    f"{self.url}: the connection was closed before the answer"
                    f" ({type(error).__name__}); check the URL and {hint}, and run the command"
                    " again"
                ) from None
        if len(answer.body) > MAX_BODY:
            raise self._no_kms(f"its answer has more than {MAX_BODY} octets")
        again = answer.headers.get("Retry-After")
        if answer.status == 503 and again is not None:
            raise NotSent(
                f"{self.url}: the KMS is too busy, or its store is unavailable; try again later",
                float(again) if again.isascii() and again.isdigit() else None,
            )
        return answer

    def _no_kms(self, what: str) -> Unreachable:
        return Unreachable(f"{self.url}: there is no KMS at this address: {what}; check the URL")


def _read(response: HTTPResponse) -> Answer:
    body = response.read(MAX_BODY + 1)
    if response.length and len(body) <= MAX_BODY:
        raise IncompleteRead(body)  # http.client does not raise it for a partial read
    return Answer(response.status, cast(Mapping[str, str], response.headers), body)
