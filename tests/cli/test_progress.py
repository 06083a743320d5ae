"""A progress bar on a terminal, and nowhere else; the output is the same with it."""

from __future__ import annotations

import base64
import os
import pty
import subprocess

from tests.cli.shell import Shell, with_kms
from tests.support import vectors

LINE = base64.b64encode(bytes.fromhex(vectors("exchanges")[0]["REQUEST_INIT_PSK"]))


def on_a_terminal(shell: Shell, *command: str) -> tuple[bytes, bytes]:
    """What a command that must succeed prints into a file, and shows on a terminal."""
    master, slave = pty.openpty()
    with shell.path("out").open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=slave, stdin=subprocess.DEVNULL, cwd=shell.folder,
            env={**shell.variables, "TERM": "xterm"},
        )  # fmt: skip
        os.close(slave)
        seen = b""
        while True:
            try:
                seen += os.read(master, 65536)
            except OSError:
                break
    os.close(master)
    assert process.wait(100) == 0
    return shell.path("out").read_bytes(), seen


def test_a_bar_on_a_terminal(shell: Shell) -> None:
    count = (9 << 20) // (len(LINE) + 1)
    shell.path("in").write_bytes((LINE + b"\n") * count)
    out, seen = on_a_terminal(shell, "mikeytool", "decode", "--json", "in")
    assert b"reading" in seen
    assert b"csb_id" not in seen
    lines = out.splitlines()
    assert len(lines) == count
    assert len(set(lines)) == 1


def test_a_bar_while_a_store_is_copied(shell: Shell) -> None:
    with_kms(shell)
    out, seen = on_a_terminal(shell, "mikeytool", "kms", "copy", "kms.db", "copy.db")
    assert b"copying" in seen
    assert b"100%" in seen
    assert out == b""


def test_none_in_a_pipe(shell: Shell) -> None:
    shell.path("in").write_bytes(LINE)
    assert shell.run("mikeytool decode in").err == ""
