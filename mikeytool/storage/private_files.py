"""Files that hold keys: mode 0600, written whole or not at all, never overwritten unasked."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
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
    temporary = _written_beside(path, data)
    try:
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


def _written_beside(path: Path, data: bytes) -> Path:
    """A temporary file of mode 0600 in the folder of a path, on disk; raises StateError."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StateError(f"{path}: {error.strerror}") from None
        raise
    return Path(name)


Stage = Callable[[bytes], AbstractContextManager[None]]
"""Has octets ready for where they go before a block, and lets them go when it ends well."""


@contextmanager
def not_staged(_data: bytes) -> Iterator[None]:
    """For output that cannot be had ready, such as a pipe: nothing is done."""
    yield


@contextmanager
def staged(path: Path, data: bytes) -> Iterator[None]:
    """Have a message on disk beside `path` before the block, and under that name after it.

    So what the block writes down as sent is there to be sent. A device or a pipe is written
    to after the block. Raises StateError.
    """
    path = Path(os.path.realpath(path))
    special = path.exists() and not path.is_file()
    temporary = None if special else _written_beside(path, data)
    try:
        yield
        if temporary is None:
            path.write_bytes(data)
        else:
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
            temporary.replace(path)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


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
