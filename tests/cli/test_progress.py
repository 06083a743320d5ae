"""A progress bar on a terminal, and nowhere else; the output is the same with it."""

from __future__ import annotations

import base64
import os
import pty
import subprocess

from tests.cli.shell import Shell
from tests.support import vectors

LINE = base64.b64encode(bytes.fromhex(vectors("exchanges")[0]["REQUEST_INIT_PSK"]))


def test_a_bar_on_a_terminal(shell: Shell) -> None:
    count = (9 << 20) // (len(LINE) + 1)
    shell.path("in").write_bytes((LINE + b"\n") * count)
    master, slave = pty.openpty()
    with shell.path("out").open("wb") as out:
        process = subprocess.Popen(
            ["mikeytool", "decode", "--json", str(shell.path("in"))], stdout=out, stderr=slave,
            stdin=subprocess.DEVNULL, env={**shell.variables, "TERM": "xterm"},
        )  # fmt: skip
        os.close(slave)
        seen = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            seen += piece
    os.close(master)
    assert process.wait(100) == 0
    assert b"reading" in seen
    assert b"csb_id" not in seen
    lines = shell.path("out").read_bytes().splitlines()
    assert len(lines) == count
    assert len(set(lines)) == 1


def test_none_in_a_pipe(shell: Shell) -> None:
    shell.path("in").write_bytes(LINE)
    assert shell.run("mikeytool decode --json in").err == ""
