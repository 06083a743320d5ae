"""The socket and the TLS context of a KMS server."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from mikeytool.kms.http_message import is_loopback
from mikeytool.storage.input_files import read_octets
from mikeytool.wire.errors import StateError, UsageError

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\s]+)):(\d{1,5})")


def bound(listen: str, *, encrypted: bool) -> socket.socket:
    """Return a socket bound to HOST:PORT or [IPV6]:PORT. Port 0 chooses a free port.

    Raises UsageError for any other form, and for plain HTTP on an address that other machines
    can reach. Raises StateError if the address cannot be bound.
    """
    found = _ADDRESS.fullmatch(listen)
    if found is None or int(found[3]) > 65535:
        raise UsageError(f"--listen {listen}: expected HOST:PORT, as 127.0.0.1:8443 or [::1]:8443")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            found[1] or found[2], int(found[3]), type=socket.SOCK_STREAM
        )[0]
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"--listen {listen}: this machine has no such address") from None
    if not encrypted and not is_loopback(str(address[0])):
        raise UsageError(
            f"--listen {listen}: others can reach this address, and keys would be in the clear:"
            " give --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy"
        )
    # Give the protocol number of TCP: without it, asyncio does not set TCP_NODELAY.
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise StateError(f"--listen {listen}: {error.strerror}") from None
    return listening


def url_of(listening: socket.socket, *, encrypted: bool) -> str:
    """Return the URL at which a server with this socket answers."""
    host, port = listening.getsockname()[:2]
    scheme = "https" if encrypted else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


class ServerTls:
    """TLS 1.2 or later with a certificate.

    With `client_ca`, clients need a certificate from that CA. `passphrase` is called once if the
    private key has a passphrase. Raises StateError for files that cannot be read or do not fit.
    """

    def __init__(
        self, cert: Path, key: Path, client_ca: Path | None, passphrase: Callable[[], bytes]
    ) -> None:
        self._files, self._ask = (cert, key, client_ca), passphrase
        self._passphrase: bytes | None = None
        self.context = _context(*self._files, self._asked)

    def read_again(self) -> None:
        """Use the current certificate and CA from the files for new connections.

        Raises StateError for files that do not fit, and then keeps the earlier ones. Does not ask
        for a passphrase: a new key must have the passphrase of the first key, or none.
        """
        self.context = _context(*self._files, lambda: self._passphrase or b"")

    def _asked(self) -> bytes:
        if self._passphrase is None:
            self._passphrase = self._ask()
        return self._passphrase


def _context(
    cert: Path, key: Path, client_ca: Path | None, passphrase: Callable[[], bytes]
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    for path in filter(None, (cert, key, client_ca)):
        read_octets(path)  # what cannot be read gets an error of its own
    try:
        context.load_cert_chain(cert, key, password=passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise StateError(
                f"{key}: this key does not belong to the certificate in {cert}"
            ) from None
        raise StateError(
            f"{cert} and {key} are not a certificate and its private key in PEM, or the"
            " passphrase of the key is wrong"
        ) from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError:
            raise StateError(f"{client_ca}: there is no certificate in PEM in this file") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context
