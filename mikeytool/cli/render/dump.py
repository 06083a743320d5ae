"""Prints the annotated dump of a message."""

from __future__ import annotations

import sys

from mikeytool.cli.render.guarded_streams import is_plain
from mikeytool.wire.message import Message
from mikeytool.wire.text_dump import dump_lines


def show_dump(message: Message, *, redact: bool = False) -> None:
    """Print the dump of one message; offsets are decimal, as errors and --json have them."""
    if is_plain():
        sys.stdout.writelines(f"{line}\n" for line in dump_lines(message, redact=redact))
        return
    # Imported here: a pipe needs no rich.
    from rich.text import Text

    from mikeytool.cli.render.console import console

    out = console()
    for line in dump_lines(message, out.width, redact=redact):
        styled = Text(line.offset, style="dim")
        styled.append(line.octets, style="not dim bold cyan" if line.is_title else "not dim")
        styled.append(line.words, style="not dim green")
        out.print(styled, soft_wrap=True)
