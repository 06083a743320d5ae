"""`decode --hex`: every octet beside its field, in 80 columns."""

from __future__ import annotations

import os
import pty
import re
import subprocess

from tests.cli.shell import Shell
from tests.support import vectors

OFFER = vectors("exchanges")[0]["TRANSFER_INIT"]
ROW = re.compile(r" *(\d+)  ((?:[0-9a-f]{2} ?)*) *(.*)")


def octets(dump: str) -> str:
    """The octets of a dump, each row checked for its place."""
    found = ""
    for line in dump.splitlines():
        match = ROW.fullmatch(line)
        if match:
            assert len(found) == 2 * int(match[1]), line
            found += match[2].replace(" ", "")
    return found


def test_every_octet(shell: Shell) -> None:
    dump = shell.ok(f"mikeytool decode --hex {OFFER}")
    assert octets(dump) == OFFER
    assert "TICKET > Ticket Data > KEMAC" in dump
    assert "csb id 0x" in dump


def test_several_and_one_of_them(shell: Shell) -> None:
    shell.path("in").write_text(f"{OFFER}\n{OFFER}\n")
    both = shell.ok("mikeytool decode --hex in")
    assert both.count("# line ") == 2
    assert octets(shell.ok("mikeytool decode --hex --index 2 in")) == OFFER


def test_what_breaks_off(shell: Shell) -> None:
    for count in (3, 100):
        shell.path("in").write_text(OFFER[: 2 * count])
        ran = shell.fails("mikeytool decode --hex in", 3, "are left")
        assert octets(ran.out) == OFFER[: 2 * count]


def test_a_terminal_of_80_columns(shell: Shell) -> None:
    """Nothing is wider; colour only there."""

    def run(**more: str) -> str:
        master, slave = pty.openpty()
        process = subprocess.Popen(
            ["mikeytool", "decode", "--hex", OFFER], stdout=slave, stdin=subprocess.DEVNULL,
            env={**shell.variables, "TERM": "xterm", "COLUMNS": "80", **more},
        )  # fmt: skip
        os.close(slave)
        found = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            found += piece
        os.close(master)
        assert process.wait(60) == 0
        return found.decode().replace("\r\n", "\n")

    coloured = run()
    assert "\x1b[" in coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert max(map(len, plain.splitlines())) <= 80
    assert octets(plain) == OFFER
    assert "\x1b[3" not in run(NO_COLOR="1")
    assert "\x1b[" not in shell.ok(f"mikeytool decode --hex {OFFER}")


def test_not_with_json(shell: Shell) -> None:
    shell.fails(f"mikeytool decode --hex --json {OFFER}", 2, "--json, --hex and --html")
