"""A shell to try commands in: a folder, the client's own state there, and `mikeytool` itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from tests.cli import in_process
from tests.cli.in_process import Ran
from tests.cli.script import Unknown, parse

BIN = Path(sys.executable).parent
_NAMES = ("MIKEYTOOL_", "COLUMNS", "HOME", "XDG_", "NO_COLOR")
"""How names begin that may be given to a command in this process."""


class Shell:
    """Runs command lines in a folder of their own.

    They run in this process where they can; what tests/cli/script.py does not know runs in bash,
    each command in a process of its own. `bash` is a shell in which everything does.
    """

    def __init__(self, folder: Path, *, in_process: bool = True) -> None:
        self.folder = folder
        self.in_process = in_process
        self.variables = {
            **{name: value for name, value in os.environ.items() if name[:10] != "MIKEYTOOL_"},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "MIKEYTOOL_STATE": str(folder / "state"),
        }
        for name in ("COLUMNS", "PYTHONUNBUFFERED"):
            self.variables.pop(name, None)

    @property
    def bash(self) -> Shell:
        """The same, for what is about processes: signals, kills, how Python starts and ends."""
        return Shell(self.folder, in_process=False)

    def run(self, command: str, **variables: str) -> Ran:
        """Run a command line and give what came of it."""
        environment = {**self.variables, **variables}
        # A folder and variables are of the whole process, so no other thread may run commands.
        alone = threading.current_thread() is threading.main_thread()
        if self.in_process and alone and all(name.startswith(_NAMES) for name in variables):
            try:
                script = parse(command)
            except Unknown:
                pass  # then bash
            else:
                return in_process.run(script, self.folder, environment)
        ran = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=300,
        )
        return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    def ok(self, command: str, **variables: str) -> str:
        """Run a command line that must succeed; gives its output without the last newline."""
        ran = self.run(f"set -euo pipefail\n{command}", **variables)
        assert ran.code == 0, f"{command}\n{ran.out}\n{ran.err}"
        return ran.out.rstrip("\n")

    def fails(self, command: str, code: int, *words: str, **variables: str) -> Ran:
        """Run a command line that must fail with `code` and one line that has these words."""
        ran = self.run(command, **variables)
        assert ran.code == code, f"{command}: {ran.code}\n{ran.out}\n{ran.err}"
        assert "Traceback" not in ran.err
        complaints = [line for line in ran.err.splitlines() if line.startswith("mikeytool: ")]
        assert complaints, f"{command}: no complaint in {ran.err!r}"
        for word in words:
            assert word in complaints[-1], f"{command}: {complaints[-1]!r} misses {word!r}"
        return ran

    def path(self, name: str) -> Path:
        """A file in the folder."""
        return self.folder / name


ALICE = "--as sip:alice@example.com --psk file:alice.psk"
BOB = "--as sip:bob@example.com --psk file:bob.psk"


def with_kms(shell: Shell) -> Shell:
    """A KMS with Alice and Bob as users."""
    shell.ok(
        "mikeytool kms init -q kms.db --id sip:kms.example.com\n"
        "mikeytool kms user add -q kms.db sip:alice@example.com -o alice.psk\n"
        "mikeytool kms user add -q kms.db sip:bob@example.com -o bob.psk"
    )
    return shell


def with_ticket(shell: Shell, options: str = "") -> Shell:
    """A ticket of Alice for Bob."""
    with_kms(shell).ok(
        f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms kms.db"
        f" --save alice.ticket {options}"
    )
    return shell


def with_sessions(shell: Shell, ticket_options: str = "", respond_options: str = "") -> Shell:
    """A session between Alice and Bob."""
    with_ticket(shell, ticket_options).ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        " --session alice.session > transfer-init\n"
        f"mikeytool transfer respond transfer-init {BOB} --kms kms.db --session bob.session"
        f" {respond_options} > transfer-resp\n"
        "mikeytool transfer finish transfer-resp --session alice.session"
    )
    return shell
