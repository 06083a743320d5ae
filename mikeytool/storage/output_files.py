"""Files to write: never one that is there without leave, nor one that is read meanwhile."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from mikeytool.storage.private_files import check_folder, check_free, state_kind
from mikeytool.wire.errors import StateError


def check_replaceable(path: Path, *, force: bool) -> None:
    """Raise StateError if a file cannot be written there; a state file never can.

    Without `force` no ordinary file can that exists.
    """
    check_folder(path)
    if path.is_dir():
        raise StateError(f"{path}: this is a folder; choose another name")
    if not path.is_file():
        return
    if state_kind(path) is not None:
        raise StateError(f"{path}: a state file is in the way; choose another name")
    check_free(path, force=force)


def is_among(name: str, named: Iterable[str]) -> bool:
    """Tell whether an ordinary file is one of those that texts name, or standard input.

    A text is a path, or has one behind `file:` or `=`. The file of the key beside a store counts.
    """
    try:
        target = Path(name).stat()
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(target.st_mode):
        return False
    return any(os.path.samestat(target, other) for other in _files(named))


def _files(named: Iterable[str]) -> Iterator[os.stat_result]:
    for text in named:
        for part in (text, text.partition("=")[2]):
            path = part.removeprefix("file:")
            for each in (path, f"{path}.key") if path else ():
                with suppress(OSError, ValueError):
                    yield Path(each).stat()
    with suppress(OSError, ValueError, AttributeError):
        yield os.fstat(sys.stdin.fileno())
