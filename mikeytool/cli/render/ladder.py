"""Prints the exchanges of a capture as ladders."""

from __future__ import annotations

from mikeytool.cli.render.console import NO_WIDTH, console, styled
from mikeytool.media.message_flow import Flow
from mikeytool.media.text_ladder import ladder_lines


def show_ladders(flow: Flow) -> None:
    """Print a ladder for each set of parties that talk to each other."""
    out = console()
    for line in ladder_lines(flow.arrows, flow.names, 80 if out.width == NO_WIDTH else out.width):
        if out.color_system is None:  # much quicker
            out.file.write("".join(part.text for part in line) + "\n")
        else:
            out.print(styled(line), no_wrap=True, overflow="ignore", crop=False)
