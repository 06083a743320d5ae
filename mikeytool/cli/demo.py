"""`demo`: a call and a conference, played by running the commands that a user would run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import click

from mikeytool.cli.command_groups import Command
from mikeytool.wire.errors import Refused, StateError
from mikeytool.wire.message import Message
from mikeytool.wire.registry import DataType, label

_COLUMNS = 80

_HEAD = """#!/bin/sh
# The commands of `mikeytool demo`, in the order in which they ran.
set -eu
MIKEYTOOL_STATE=$PWD/state
export MIKEYTOOL_STATE
"""


class Step(NamedTuple):
    """One command of `demo.toml`, which says what the fields mean."""

    command: str
    title: str = ""
    arrow: tuple[str, str, str] | None = None
    refused: bool = False


class Scene(NamedTuple):
    """A part of the script, and the parties of its messages."""

    title: str
    parties: list[str]
    steps: list[Step]


def script() -> list[Scene]:
    """Read the script."""
    read = tomllib.loads(files("mikeytool.cli").joinpath("demo.toml").read_text("utf-8"))
    return [
        Scene(one["title"], one["parties"], [Step(**step) for step in one["steps"]])
        for one in read["scenes"]
    ]


@click.command(cls=Command)
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Keep the files in DIR, with the commands as demo.sh.")  # fmt: skip
def demo(keep: Path | None) -> None:
    """Show a KMS, a ticket, a call, a conference, and attacks that must fail."""
    if keep is not None and keep.exists() and not (keep.is_dir() and not any(keep.iterdir())):
        raise StateError(f"{keep}: this is no empty folder; choose another name")
    scenes = script()
    with _folder(keep) as folder:
        print("Messages with their sizes in octets")
        for scene in scenes:
            print(f"\n== {scene.title}\n")
            print("".join(name.ljust(_width(scene)) for name in scene.parties).rstrip())
            for step in scene.steps:
                _play(step, scene, folder)
        print("\nAll of it went as it should.")
        if keep is not None:
            commands = folder / "demo.sh"
            steps = [step for scene in scenes for step in scene.steps]
            commands.write_text(_HEAD + "".join(map(_script_line, steps)))
            commands.chmod(0o755)
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
    comment = f"\n# {step.title}\n" if step.title else ""
    if step.refused:
        return f"{comment}if {step.command}; then echo 'this must fail' >&2; exit 1; fi\n"
    return f"{comment}{step.command}\n"


def _play(step: Step, scene: Scene, folder: Path) -> None:
    """Run one command and show its result; raises Refused when that is not as it should be."""
    if step.title:
        print(f"\n{step.title}")
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
        print(_arrow(folder, scene, *step.arrow))
    elif "accept" in step.command or "finish" in step.command:
        print("  verified")
    elif step.refused:
        complaint = next(word for word in words if word.startswith("mikeytool: "))
        refusal = complaint.replace("mikeytool:", "refused, as it should be:")
        print(textwrap.fill(refusal, 78, initial_indent="  ", subsequent_indent="  "))
    elif "srtp decrypt" in step.command:
        print("  decrypted")


def _width(scene: Scene) -> int:
    """Give the distance between the parties of a scene, in columns."""
    return (_COLUMNS - len(scene.parties[-1])) // (len(scene.parties) - 1)


def _arrow(folder: Path, scene: Scene, sender: str, receiver: str, name: str) -> str:
    """Draw one message of the ladder: sender, receiver, type and size."""
    from mikeytool.capture.strict_text import FoundMessage
    from mikeytool.capture.text import find_messages

    found = find_messages((folder / name).read_bytes())[0]
    if not isinstance(found, FoundMessage):
        raise found
    title = label(DataType, Message.parse(found.message).header.data_type)
    width, start = _width(scene), scene.parties.index(sender)
    first, last = sorted((start, scene.parties.index(receiver)))
    middle = f" {title} {len(found.message)} ".center((last - first) * width - 4, "-")
    shaft = f"{middle}>" if start == first else f"<{middle}"
    return " " * first * width + "  " + shaft
