"""`kms serve`: the KMS over HTTP."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import click

from mikeytool.cli.command_groups import Command
from mikeytool.cli.exit_codes import EXIT_INTERRUPT
from mikeytool.cli.options.common import DEBUG, PATH, quiet_option, say
from mikeytool.cli.options.keys import read_passphrase
from mikeytool.cli.options.store import store_argument
from mikeytool.storage.sql import Where
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity

_PACKAGES = ("h11", "prometheus_client", "starlette", "uvicorn")


@click.command(cls=Command, short_help="Answer over HTTP until stopped.")
@store_argument
@click.option(
    "--listen", default="127.0.0.1:8443", show_default=True, metavar="HOST:PORT",
    help="The address to listen on; port 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--tls-cert", type=PATH, metavar="PEM", help="The TLS certificate of the host, with its chain."
)
@click.option("--tls-key", type=PATH, metavar="PEM", help="The private key of the TLS certificate.")
@click.option(
    "--client-ca", type=PATH, metavar="PEM",
    help="Accept only clients with a TLS certificate of this CA.",
)  # fmt: skip
@click.option(
    "--proxy", "proxies", multiple=True, metavar="ADDRESS",
    help="A proxy in front of the KMS, whose X-Forwarded-For is believed.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N",
    help="The number of processes that answer.",
)  # fmt: skip
@quiet_option
@click.pass_context
def serve(
    context: click.Context,
    store: Where,
    listen: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    proxies: tuple[str, ...],
    workers: int,
) -> int:
    """Answer over HTTP: POST /keymanagement, as clients with --kms URL do.

    Without --tls-cert it listens only on this machine, for a proxy in front of it. GET /healthz
    says that it runs, /readyz that its store can be used, and /metrics has counters for
    Prometheus, which strangers should not see. SIGTERM ends it once open requests are answered;
    SIGHUP makes it read the certificate again.
    """
    if os.environ.get("MIKEYTOOL_NOW"):
        raise UsageError(
            "MIKEYTOOL_NOW is set: a server with a wrong clock would accept old messages"
        )
    if not all(find_spec(name) for name in _PACKAGES):
        raise UsageError("kms serve needs more packages: pip install 'mikeytool[server]'")
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    from mikeytool.kms.http import listen as http_listen
    from mikeytool.kms.http import server

    tls = None
    if tls_cert is not None and tls_key is not None:
        tls = http_listen.ServerTls(tls_cert, tls_key, client_ca, lambda: read_passphrase(tls_key))
    elif client_ca is not None:
        raise UsageError("--client-ca goes with --tls-cert and --tls-key")
    listening = http_listen.bound(listen, encrypted=tls is not None)

    def announce(kms: Identity) -> None:
        place = http_listen.url_of(listening, encrypted=tls is not None)
        say(f"KMS {kms} listens on {place}, workers: {workers}")

    settings = server.Settings(store, listening, tls, proxies, workers, context.meta[DEBUG])
    ended_by = server.serve(settings, announce)
    return EXIT_INTERRUPT if ended_by == signal.SIGINT else 0
