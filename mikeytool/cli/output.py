"""Messages that go out together with a file that tells of them.

With `-o` the message is on disk before the file is written, and gets its name after: what a
session or a pending file says was sent is there to be sent.
"""

from __future__ import annotations

from pathlib import Path

from mikeytool.capture.text import Format, format_message
from mikeytool.cli.messages import write_message
from mikeytool.storage.private_files import Stage, not_staged, staged


def staging(fmt: Format, output: str | None) -> Stage:
    """How a message is made ready for `-o`; for standard output nothing can be."""
    if output is None or output == "-":
        return not_staged
    path = Path(output)
    return lambda message: staged(path, format_message(message, fmt))


def write_unstaged(message: bytes, fmt: Format, output: str | None) -> None:
    """Print a message that `staging` could not make ready."""
    if output is None or output == "-":
        write_message(message, fmt, output)
