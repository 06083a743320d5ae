"""`demo`: the whole story, told by running the commands that a user would run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from mikeytool.wire.errors import Refused, StateError
from mikeytool.wire.message import Message
from mikeytool.wire.registry import DataType, label

_WIDTH = 22
_LANES = {"Alice": 0, "KMS": 1, "Bob": 2}


class Step(NamedTuple):
    """One command; `says` is for people, `arrow` from whom to whom its output goes.

    `refused` is set where the command must fail with exit code 1.
    """

    says: str
    command: str
    arrow: tuple[str, str, str] | None = None
    refused: bool = False


_AS_ALICE = "--as sip:alice@example.com --psk file:alice.psk --kms-id sip:kms.example.com"
_AS_BOB = "--as sip:bob@example.com --psk file:bob.psk --kms-id sip:kms.example.com"

STORY = (
    Step("A KMS, and two users with a key each",
         "mikeytool kms init kms.db --id sip:kms.example.com"),
    Step("", "mikeytool kms user add kms.db sip:alice@example.com -o alice.psk"),
    Step("", "mikeytool kms user add kms.db sip:bob@example.com -o bob.psk"),
    Step("Alice requests a ticket for Bob",
         f"mikeytool ticket request {_AS_ALICE} --to sip:bob@example.com"
         " --pending alice.pending -o request-init", ("Alice", "KMS", "request-init")),
    Step("", "mikeytool kms handle kms.db request-init -o request-resp",
         ("KMS", "Alice", "request-resp")),
    Step("", "mikeytool ticket accept request-resp --pending alice.pending --save alice.ticket"),
    Step("She sends it to Bob, who lets the KMS resolve it",
         "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
         " --cs dir=send,ssrc=0x11111111 --cs dir=recv --session alice.session -o transfer-init",
         ("Alice", "Bob", "transfer-init")),
    Step("", f"mikeytool ticket resolve transfer-init {_AS_BOB} --pending bob.pending"
         " -o resolve-init", ("Bob", "KMS", "resolve-init")),
    Step("", "mikeytool kms handle kms.db resolve-init -o resolve-resp",
         ("KMS", "Bob", "resolve-resp")),
    Step("", "mikeytool ticket accept resolve-resp --pending bob.pending --save bob.ticket"),
    Step("Bob answers; both have the same media keys",
         "mikeytool transfer respond transfer-init --ticket bob.ticket --as sip:bob@example.com"
         " --cs id=2,dir=send,ssrc=0x22222222 --session bob.session -o transfer-resp",
         ("Bob", "Alice", "transfer-resp")),
    Step("", "mikeytool transfer finish transfer-resp --session alice.session"),
    Step("Media from Alice to Bob, and back",
         "echo 80000001000000a01111111168656c6c6f20626f62 > alice.rtp"),
    Step("", "mikeytool srtp encrypt alice.rtp --session alice.session -o alice.srtp"),
    Step("", "mikeytool srtp decrypt alice.srtp --session bob.session | diff - alice.rtp"),
    Step("", "echo 80000001000000a02222222268656c6c6f20616c696365 > bob.rtp"),
    Step("", "mikeytool srtp encrypt bob.rtp --session bob.session -o bob.srtp"),
    Step("", "mikeytool srtp decrypt bob.srtp --session alice.session | diff - bob.rtp"),
    Step("What must fail: a replayed TRANSFER_INIT",
         "mikeytool transfer respond transfer-init --ticket bob.ticket --as sip:bob@example.com"
         " --session replayed.session > replay-error", refused=True),
    Step("What must fail: an eavesdropper who wants the ticket resolved",
         "mikeytool kms user add kms.db sip:eve@example.com -o eve.psk"),
    Step("", "mikeytool ticket resolve transfer-init --as sip:eve@example.com"
         " --psk file:eve.psk --kms kms.db --save eve.ticket", refused=True),
)  # fmt: skip

_HEAD = """#!/bin/sh
# The commands of `mikeytool demo`, in the order in which they ran.
set -eu
MIKEYTOOL_STATE=$PWD/state
export MIKEYTOOL_STATE
"""


@click.command()
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Leave the files there, and demo.sh with the commands.")  # fmt: skip
def demo(keep: Path | None) -> None:
    """Show the whole story: a KMS, a ticket, a call, media both ways, and what must fail."""
    if keep is not None and keep.exists() and not (keep.is_dir() and not any(keep.iterdir())):
        raise StateError(f"{keep}: this is no empty folder; choose another name")
    with _folder(keep) as folder:
        print("Messages between the three, with their sizes in octets\n")
        print("".join(name.ljust(_WIDTH + 8) for name in _LANES).rstrip())
        for step in STORY:
            _play(step, folder)
        print("\nAll of it went as it should.")
        if keep is not None:
            script = folder / "demo.sh"
            script.write_text(_HEAD + "".join(map(_script_line, STORY)))
            script.chmod(0o755)
            print(f"The files are in {keep}, the commands in {keep / 'demo.sh'}.")


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="mikeytool-demo-") as name:
        yield Path(name)


def _script_line(step: Step) -> str:
    says = f"\n# {step.says}\n" if step.says else ""
    if step.refused:
        return f"{says}if {step.command}; then echo 'this must fail' >&2; exit 1; fi\n"
    return f"{says}{step.command}\n"


def _play(step: Step, folder: Path) -> None:
    """Run one command and show what it did; raises Refused when it does not do as it should."""
    if step.says:
        print(f"\n{step.says}")
    this_one = f'mikeytool() {{ "{sys.executable}" -m mikeytool "$@"; }}\n'
    variables = {name: value for name, value in os.environ.items() if name[:10] != "MIKEYTOOL_"}
    ran = subprocess.run(  # noqa: S603 - the commands are those above
        ["/bin/sh", "-c", this_one + step.command],
        cwd=folder,
        env={**variables, "MIKEYTOOL_STATE": "state"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    words = ran.stderr.strip().splitlines()
    if ran.returncode != int(step.refused):
        raise Refused(f"demo: {step.command}: {words[-1] if words else ran.stdout}")
    if step.arrow is not None:
        print(_arrow(folder, *step.arrow))
    elif "accept" in step.command or "finish" in step.command:
        print("  verified")
    elif step.refused or "srtp decrypt" in step.command:
        print(textwrap.fill(words[-1], 78, initial_indent="  ", subsequent_indent="  "))


def _arrow(folder: Path, sender: str, receiver: str, name: str) -> str:
    """One message of the ladder: who sends what to whom, and how large it is."""
    from mikeytool.capture.text import Found, find_messages

    found = find_messages((folder / name).read_bytes())[0]
    if not isinstance(found, Found):
        raise found
    title = label(DataType, Message.parse(found.message).header.data_type)
    first, last = sorted((_LANES[sender], _LANES[receiver]))
    length = (last - first) * (_WIDTH + 8) - 4
    middle = f" {title} {len(found.message)} ".center(length, "-")
    shaft = f"{middle}>" if _LANES[sender] == first else f"<{middle}"
    return (" " * first * (_WIDTH + 8) + "  " + shaft).rstrip()
