"""The files of examples/service are used as they are, but for paths and ports."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
from http.client import HTTPSConnection
from pathlib import Path

from tests.cli.shell import ALICE, BIN, Shell, with_kms
from tests.kms.certificates import Authority
from tests.kms.serving import serving
from tests.peers.programs import need
from tests.support import TESTS

FILES = TESTS.parent / "examples" / "service"
UNIT = (FILES / "mikeytool-kms.service").read_text()


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "mikeytool-kms.service"
    unit.write_text(UNIT.replace("/opt/mikeytool/bin", str(BIN)))
    ran = subprocess.run(
        [need("systemd-analyze"), "verify", unit], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_nginx_stands_before_the_service(shell: Shell) -> None:
    """TLS ends at nginx, which passes two paths on, and says who asks.

    The KMS runs with the options of the unit.
    """
    nginx = need("nginx")
    with_kms(shell)
    authority = Authority(shell.folder, "ca")
    authority.issue("host")
    found = re.search(r"kms serve \S+ --listen \S+ (.*)\n", UNIT)
    assert found is not None
    with serving(shell.folder, "kms.db", *found[1].split()) as server, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        site = (FILES / "nginx.conf").read_text()
        for usual, here in (
            ("listen 443", f"listen 127.0.0.1:{port}"),
            ("server 127.0.0.1:8443", f"server 127.0.0.1:{server.port}"),
            ("/etc/ssl/certs/kms.example.com.pem", str(shell.path("host.pem"))),
            ("/etc/ssl/private/kms.example.com.key", str(shell.path("host.key"))),
        ):
            assert usual in site
            site = site.replace(usual, here)
        shell.path("site.conf").write_text(site)
        places = " ".join(
            f"{kind}_temp_path {shell.path(kind)};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        shell.path("nginx.conf").write_text(
            "user root; daemon off; pid nginx.pid; error_log stderr; events {}\n"
            f"http {{ access_log off; {places} include {shell.path('site.conf')}; }}\n"
        )
        command = [nginx, "-p", str(shell.folder), "-c", str(shell.path("nginx.conf"))]
        tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert tried.returncode == 0, tried.stderr
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as proxy:
            try:
                _wait_for(port)
                assert _ask(port, "127.0.0.1", "GET", "/metrics") == {404}
                assert _ask(port, "127.0.0.2", "POST", "/keymanagement", 61) == {400, 429}
                shell.ok(
                    f"mikeytool ticket request {ALICE} --to sip:bob@example.com --save t"
                    f" --kms https://127.0.0.1:{port} --kms-id sip:kms.example.com --kms-ca ca.pem"
                )
            finally:
                proxy.terminate()


def _ask(port: int, source: str, method: str, path: str, times: int = 1) -> set[int]:
    """Ask from an address of this machine; gives the statuses of the answers."""
    context = ssl._create_unverified_context()
    connection = HTTPSConnection(
        "127.0.0.1", port, timeout=30, source_address=(source, 0), context=context
    )
    found = set()
    for _ in range(times):
        connection.request(method, path, b"AAAA", {"Content-Type": "application/mikey"})
        answer = connection.getresponse()
        answer.read()
        found.add(answer.status)
    connection.close()
    return found


def _wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.02)
        else:
            return
