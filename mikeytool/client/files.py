"""Files that hold keys: mode 0600, written whole or not at all, never overwritten unasked."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mikeytool.wire.errors import StateError, WireError

Json = dict[str, Any]


def check_free(path: Path, *, force: bool) -> None:
    """Raise StateError when a file is in the way, before any work is done for it."""
    if path.exists() and not force:
        raise StateError(f"{path}: it exists already; choose another name or add --force")
    check_folder(path)


def check_folder(path: Path) -> None:
    """Raise StateError when no file can be made beside a path."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise StateError(f"{path}: its folder is not there or not writable")


def write_private(path: Path, data: bytes, *, force: bool = False, kind: str | None = None) -> None:
    """Write a file of mode 0600 through a temporary one, synced and renamed.

    Raises StateError when the file exists and `force` is not set, when it is a device or
    a state file of another `kind`, and when it cannot be written; then nothing is left
    behind.
    """
    path = Path(os.path.realpath(path))
    check_free(path, force=force)
    _check_replaceable(path, kind)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent or Path())
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        if force:
            temporary.replace(path)
        else:
            # A link, unlike a rename, fails when somebody made the file meanwhile.
            os.link(temporary, path)
        _sync_folder(path)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _check_replaceable(path: Path, kind: str | None) -> None:
    """Refuse to put a file over a device, a store, or a state file of another kind."""
    if not path.exists():
        return
    if not path.is_file():
        raise StateError(f"{path}: this is no ordinary file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    content = parse_json(data) or {}
    other = "database" if data.startswith(b"SQLite format 3") else content.get("mikeytool")
    if other is not None and other != kind:
        raise StateError(f"{path}: this is a {other} file; remove it yourself")


def _sync_folder(path: Path) -> None:
    """Have a new name on disk too, where the folder lets itself be synced."""
    with suppress(OSError):
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing a file that is there; raises StateError without it.

    Writing renames a new file over the old one, so the lock counts only while the file
    that is locked is still the one of that name.
    """
    while True:
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _same_file(handle, path):
                yield
                return
        finally:
            os.close(handle)


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def write_json(path: Path, kind: str, content: Json, *, force: bool = False) -> None:
    """Write a state file of a kind, as `write_private` does."""
    text = json.dumps({"mikeytool": kind, **content}, indent=2)
    write_private(path, text.encode() + b"\n", force=force, kind=kind)


def read_json(path: Path, kind: str) -> Json:
    """Read a state file of a kind; StateError without it, WireError when it is another."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    content = parse_json(data)
    if content is None or content.get("mikeytool") != kind:
        raise WireError(f"{path}: this is no {kind} file of mikeytool")
    return content


def parse_json(data: bytes) -> Json | None:
    """The JSON object in `data`, None when it is something else."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
