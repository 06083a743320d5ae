"""Connections to a KMS: its address, TLS, and a deadline that ends every wait."""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeGuard, cast
from urllib.parse import urlsplit

from mikeytool.kms.http_message import PATH, is_loopback
from mikeytool.wire.errors import StateError, Unreachable, UsageError

CA_VARIABLE = "MIKEYTOOL_KMS_CA"
CLIENT_VARIABLE = "MIKEYTOOL_KMS_CLIENT"


class NotSent(Unreachable):
    """The KMS did not process a request. `pause` is the wait that it asks for, in seconds."""

    def __init__(self, text: str, pause: float | None = None) -> None:
        super().__init__(text)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for TLS.

    `ca` has the CA certificates to trust instead of the system's. `client` has the certificate
    and private key that a KMS may ask for.
    """

    ca: str | None = None
    client: str | None = None

    @classmethod
    def of_environment(cls) -> Tls:
        """The files that MIKEYTOOL_KMS_CA and MIKEYTOOL_KMS_CLIENT name."""
        return cls(os.environ.get(CA_VARIABLE) or None, os.environ.get(CLIENT_VARIABLE) or None)

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later with verification. Raises StateError if a file is unsuitable."""
        path = self.ca or ""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.client is not None:
                path = self.client
                context.load_cert_chain(path, password=_no_passphrase)
        except ssl.SSLError:
            what = "no certificate with its private key, without a passphrase,"
            if path != self.client:
                what = "no certificate"
            raise StateError(f"{path}: there is {what} in PEM in this file") from None
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from None
        return context


def _no_passphrase() -> str:
    """Keep OpenSSL from prompting on the terminal, as nobody may be there to answer."""
    return ""


_HOST = re.compile(
    r"(?!.*\.\.)[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(%[\w.-]+)?", re.ASCII
)
"""A name, or an IPv4 or IPv6 address."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a KMS: `https://HOST[:PORT][/PREFIX][?QUERY]`, or `http` on this machine.

    The query goes with messages as it stands. 3GPP TS 33.328 has `requesttype` there.
    """

    url: str
    scheme: str
    host: str
    port: int
    prefix: str
    query: str = ""

    @property
    def target(self) -> str:
        """Where messages are POSTed: path and query."""
        return self.prefix + PATH + (f"?{self.query}" if self.query else "")

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the address in a URL. Raises UsageError if the URL cannot belong to a KMS."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise UsageError(f"{url}: this is no URL, such as https://kms.example.com") from None
        if parts.username is not None or parts.password is not None:
            raise UsageError(
                "the URL of a KMS has no user name or password: leave out what is before @"
            )
        if parts.scheme not in ("http", "https") or not host or parts.fragment:
            raise UsageError(
                f"{url}: the URL of a KMS looks like https://kms.example.com[:PORT][/PATH][?QUERY]"
            )
        if _HOST.fullmatch(host) is None:
            raise UsageError(f"{url}: this is no host: {host}")
        if not url.isascii() or not url.isprintable() or " " in url:
            raise UsageError(f"{url}: a URL consists of ASCII characters without spaces")
        if parts.scheme == "http" and not is_loopback(host):
            raise UsageError(f"{url}: plain http is only for this machine; use https")
        prefix = parts.path.rstrip("/").removesuffix(PATH)
        port = port or (443 if parts.scheme == "https" else 80)
        return cls(url, parts.scheme, host, port, prefix, parts.query)


def connected(address: Address, context: ssl.SSLContext | None, deadline: float) -> socket.socket:
    """Return a connection, with TLS if `context` is given. Raises Unreachable."""
    try:
        plain = _connect(address.host, address.port, deadline)
    except socket.gaierror as error:
        kind = NotSent if error.errno == socket.EAI_AGAIN else Unreachable
        raise kind(
            f"{address.url}: the name {address.host} is not found; check the URL and the network"
        ) from None
    except TimeoutError:
        raise Unreachable(
            f"{address.url}: no connection in time; check address, port and firewalls (no proxy"
            " is used)"
        ) from None
    except OSError as error:
        raise NotSent(
            f"{address.url}: {error.strerror or error}; check address and port, and that the"
            " KMS runs"
        ) from None
    if context is None:
        return plain
    try:
        plain.settimeout(_left(deadline))
        return context.wrap_socket(plain, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        text = f"{address.url}: its certificate is not good: {error.verify_message}"
        raise Unreachable(
            f"{text.rstrip('.')}; check the address and this clock, or give its CA with"
            " --kms-ca PEM"
        ) from None
    except TimeoutError:
        raise Unreachable(f"{address.url}: the TLS handshake took too long") from None
    except OSError as error:
        if is_of_tls(error):
            raise tls_failed(address, error) from None
        raise NotSent(
            f"{address.url}: the connection was closed in the TLS handshake"
            f" ({error.strerror or type(error).__name__})"
        ) from None


def is_of_tls(error: Exception) -> TypeGuard[ssl.SSLError]:
    """Whether TLS itself failed, rather than the connection below it."""
    return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)


def tls_failed(address: Address, error: ssl.SSLError) -> Unreachable:
    """The error for a failure of TLS, during the handshake or later."""
    reason = (error.reason or "").replace("_", " ").lower()
    if "certificate" in reason or "handshake failure" in reason or "unknown ca" in reason:
        return Unreachable(
            f"{address.url}: the KMS does not accept this client ({reason}); it may need a"
            " certificate, given with --kms-client PEM"
        )
    return Unreachable(
        f"{address.url}: TLS fails ({reason or 'no reason given'}); check that the port is one"
        " for https"
    )


def _left(deadline: float) -> float:
    """The seconds until a deadline. Raises TimeoutError if it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first address of a host that accepts within its share of the time."""
    failure: OSError | None = None
    found = _looked_up(host, port, deadline)
    for number, (family, kind, protocol, _, address) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline) / (len(found) - number))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head, then body
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure or OSError("it has no address")


_Addresses = list[tuple[Any, Any, int, str, Any]]


def _looked_up(host: str, port: int, deadline: float) -> _Addresses:
    """Return the addresses of a host. Raises OSError, and TimeoutError at the deadline.

    The resolver's own timeouts may be longer. In that case its thread is left to end by itself.
    """
    with contextlib.suppress(socket.gaierror):  # no name, but an address
        numeric = socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    results: SimpleQueue[_Addresses | OSError] = SimpleQueue()

    def look_up() -> None:
        try:
            results.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            results.put(error)
        except UnicodeError:
            results.put(socket.gaierror(socket.EAI_NONAME, "this is no host name"))

    threading.Thread(target=look_up, daemon=True).start()
    try:
        found = results.get(timeout=_left(deadline))
    except Empty:
        raise TimeoutError from None
    if isinstance(found, OSError):
        raise found
    return found


class Connection(HTTPConnection):
    """A connection with one deadline for all its waits. http.client does not support this."""

    def __init__(self, address: Address, context: ssl.SSLContext | None, deadline: float) -> None:
        host = f"[{address.host}]" if ":" in address.host else address.host
        super().__init__(host, address.port)
        self._address, self._context, self._deadline = address, context, deadline
        if context is not None:
            self.default_port = 443  # so that Host names only other ports

    def __enter__(self) -> Self:
        """Connect. Raises NotSent or Unreachable."""
        self._made = connected(self._address, self._context, self._deadline)
        self.sock = cast(socket.socket, _Timed(self._made, self._deadline))
        return self

    def __exit__(self, *_: object) -> None:
        self._made.close()


class _Timed(io.RawIOBase):
    """The socket methods that http.client needs, with a deadline.

    It does not close the socket, because http.client would close it before reading the answer.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Timed(self._sock, self._deadline))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)
