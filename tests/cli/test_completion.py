"""Tab in bash, zsh and fish: each shell runs on a terminal, with the file that it would load."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from mikeytool.cli.completion import answer
from mikeytool.cli.completion.values import Values
from mikeytool.cli.main import cli
from mikeytool.cli.options.outputs import OutputType
from mikeytool.cli.options.store import StoreType
from tests.cli.test_help import commands
from tests.peers.programs import need
from tests.support import TESTS

SCRIPTS = TESTS.parent / "mikeytool" / "cli" / "completion"

TYPED = {
    "deco": ["decode"],
    "kms user ena": ["kms", "user", "enable"],
    "decode --redac": ["decode", "--redact"],
    "keygen tek --suite AES_CM_128_HMAC_SHA1_8": [
        "keygen", "tek", "--suite", "AES_CM_128_HMAC_SHA1_80",
    ],
    "keygen tek --suite=AES_256_CM_HMAC_SHA1_8": [
        "keygen", "tek", "--suite=AES_256_CM_HMAC_SHA1_80",
    ],
    "lint --ignore tek-sh": ["lint", "--ignore", "tek-shared"],
    "lint --ignore time-past,tek-sh": ["lint", "--ignore", "time-past,tek-shared"],
    "manual cap": ["manual", "captures"],
    "decode 'a ca": ["decode", "a call.pcap"],
    "decode --psk file:al": ["decode", "--psk", "file:alice.psk"],
    "decode --keys=al": ["decode", "--keys=alice.psk"],
    "lint --fail-on w": ["lint", "--fail-on", "warning"],
}  # fmt: skip
"""What is typed before Tab, and the words of the command that runs then."""

START = {
    "bash": "bind 'set bell-style none'; . {scripts}/mikeytool.bash",
    "zsh": "cp {scripts}/mikeytool.zsh _mikeytool; fpath=($PWD $fpath);"
    " autoload -U compinit; compinit -u -D",
    "fish": "source {scripts}/mikeytool.fish",
}
OPTIONS = {"bash": ["--norc", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}


@pytest.mark.parametrize("shell", START)
def test_a_shell_completes(tmp_path: Path, shell: str) -> None:
    """`mikeytool` answers the shell, and otherwise writes down the words it was called with."""
    need(shell)
    for name in ("a call.pcap", "alice.psk"):
        (tmp_path / name).touch()
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "mikeytool"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        "if '_MIKEYTOOL_COMPLETE' in os.environ:\n"
        "    from mikeytool.cli.main import main\n"
        "    main()\n"
        f"with open({str(tmp_path / 'ran')!r}, 'a') as ran:\n"
        "    print(json.dumps(sys.argv[1:]), file=ran)\n"
    )
    program.chmod(0o755)
    ran = tmp_path / "ran"
    with Terminal([shell, *OPTIONS[shell]], tmp_path, folder) as terminal:
        terminal.type(START[shell].format(scripts=SCRIPTS) + "\n")
        for number, typed in enumerate(TYPED, 1):
            terminal.type(f"mikeytool {typed}\t\n")
            terminal.wait(lambda: ran.exists() and ran.read_text().count("\n") == number)  # noqa: B023
    words = [json.loads(line) for line in ran.read_text().splitlines()]
    assert dict(zip(TYPED, words, strict=True)) == TYPED


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, command: list[str], folder: Path, programs: Path) -> None:
        self._primary, secondary = pty.openpty()
        path = f"{programs}:{os.environ['PATH']}"
        self._process = subprocess.Popen(
            ["setsid", "-c", *command],
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            cwd=folder,
            env={"PATH": path, "HOME": str(folder), "TERM": "xterm", "LC_ALL": "C.UTF-8"},
        )
        os.close(secondary)
        self.shown = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._primary)

    def type(self, text: str) -> None:
        os.write(self._primary, text.encode())

    def wait(self, is_done: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not is_done():
            assert time.monotonic() < until, self.shown.decode()
            if select.select([self._primary], [], [], 0.05)[0]:
                self.shown += os.read(self._primary, 65536)


@pytest.mark.parametrize(
    ("shell", "given", "words"),
    [
        ("zsh", ["kms", "user", "en"], ["enable"]),
        ("zsh", ["transfer", "init", "--cs", "dir=send,dir=r"], ["dir=send,dir=recv"]),
        ("bash", ["mikeytool transfer init --cs dir=r", " :="], ["recv"]),
        ("bash", ["mikeytool transfer init --cs 'dir=r", " :="], ["dir=recv"]),
        ("bash", ["X=1 mikeytool --debug man", ""], ["manual"]),
        ("bash", ["mikeytool completion ", ""], ["bash", "zsh", "fish"]),
        ("fish", ["kms", "init", "kms.db", "--seal", "pass"], ["passphrase"]),
        ("fish", ["ticket", "request", "--flags", "+FGHIJKLMN"], [f"+FGHIJKLMN{x}" for x in "DEO"]),
        ("fish", ["decode", "--psk", "env:HOM"], ["env:HOME"]),
        ("fish", ["no-command", "x"], []),
    ],
)
def test_what_may_come_next(shell: str, given: list[str], words: list[str]) -> None:
    lines = [line.split("\t") for line in answer(cli, shell, given).splitlines()]
    assert [line[1] for line in lines] == words


def test_only_the_command_that_is_typed_is_loaded() -> None:
    """Nor is a key read that stands in the line."""
    code = (
        "import sys; from mikeytool.cli.main import cli;"
        "from mikeytool.cli.completion import answer;"
        "print(answer(cli, 'zsh', ['keygen', 'tek', '--suite', 'F']),"
        " answer(cli, 'zsh', ['']));"
        "unused = {'cryptography', 'construct', 'rich', 'mikeytool.cli.decode', 'sqlite3'};"
        "assert not unused & set(sys.modules), unused & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert answer(cli, "zsh", ["decode", "--psk", "file:/no/such", "--jso"]).startswith("word\t--j")


def test_every_option_that_takes_a_file_completes_files() -> None:
    kinds = {}
    for path in commands():
        command: click.Command = cli
        for name in path:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), name)
            assert found is not None
            command = found
        for param in command.params:
            if isinstance(param.type, (click.Path, OutputType, StoreType)):
                offered = Values(param).shell_complete(click.Context(command), param, "")
                kinds[*path, param.opts[0]] = {item.type for item in offered}
    assert len(kinds) > 100
    assert not {key: kind for key, kind in kinds.items() if kind not in ({"file"}, {"dir"})}
