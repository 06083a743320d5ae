"""Files that hold keys. They have mode 0600, are written completely or not at all, and are
overwritten only on request.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from mikeytool.wire.errors import StateError, UsageError, WireError

Json = dict[str, Any]

_DATABASE = b"SQLite format 3\0"
_NAMED = re.compile(rb'\s*\{\s*"mikeytool":\s*"([^"]*)"')
_HEAD = 128
"""Octets that show what a file is."""


def check_free(path: Path, *, force: bool, kind: str | None = None) -> None:
    """Raise StateError if `path` cannot be written. Call this before doing any work for it.

    Without `force`, also raises StateError if the file exists; with it, if it is a device or a
    state file of another `kind`.
    """
    if path.exists() and not force:
        raise StateError(f"{path}: it exists already; choose another name or add --force")
    real = Path(os.path.realpath(path))
    _check_replaceable(real, kind)
    check_folder(real)


def stored_path(path: str | Path) -> str:
    """Return an absolute path as text that a state file can keep; raises as `stored_text`."""
    return stored_text(os.path.realpath(path))


def stored_text(text: str) -> str:
    """Return the name of a file or a URL, which a state file can keep.

    Raises UsageError for one that is no UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{text!a}: this is no UTF-8, and state files have no room for other names"
        ) from None
    return text


def check_folder(path: Path) -> None:
    """Raise StateError if no file can be created in the folder of `path`."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise StateError(f"{path}: its folder is not there or not writable")


@contextmanager
def new_file(
    path: Path, *, replace: bool = False, mode: int = 0o600, advice: str = "choose another name"
) -> Iterator[Path]:
    """Give the block an empty temporary file next to `path`, then rename the file to `path`.

    The file is synced before the rename, so that `path` never names an incomplete file. The
    temporary file has mode 0600 while it is written, and `mode` afterwards. If the block or a
    later step fails, `path` is unchanged and the temporary file is removed.

    Raises StateError if the system refuses an operation. Also raises StateError, with `advice`
    in the message, if `path` exists and `replace` is not set.
    """
    try:
        # Imported here: many commands only look at a folder.
        import tempfile

        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    # Do not keep it open: closing it later would drop SQLite's locks on the same file.
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(mode)
        _sync(temporary)
        _rename(temporary, path, replace=replace, advice=advice)
        with suppress(OSError):  # not every file system can sync a folder
            _sync(path.parent)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Sync a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _rename(temporary: Path, path: Path, *, replace: bool, advice: str) -> None:
    if replace:
        temporary.replace(path)
        return
    # Unlike a rename, these fail if another process created the file meanwhile.
    try:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            temporary.replace(path)
    except FileExistsError:
        raise StateError(f"{path}: it exists already; {advice}") from None


def write_private(path: Path, data: bytes, *, force: bool = False, kind: str | None = None) -> None:
    """Write a file with mode 0600, completely or not at all.

    Raises StateError if the file exists and `force` is not set, if it is a device or a state
    file of another `kind`, or if it cannot be written.
    """
    write_together({path: data}, force=force, kind=kind)


def write_together(
    files: Mapping[Path, bytes], *, force: bool = False, kind: str | None = None
) -> None:
    """Write files as `write_private` does. If there is no room for one, none is written."""
    with ExitStack() as stack:
        for path, data in files.items():
            final = Path(os.path.realpath(path))
            check_free(final, force=force, kind=kind)
            stack.enter_context(new_file(final, replace=force)).write_bytes(data)


Stage = Callable[[bytes], AbstractContextManager[None]]
"""Prepares output before a block, and releases it when the block has succeeded."""


@contextmanager
def not_staged(_data: bytes) -> Iterator[None]:
    """Do nothing. This is for output that cannot be prepared, such as a pipe."""
    yield


@contextmanager
def staged(path: Path, data: bytes, *, replace: bool = True) -> Iterator[None]:
    """Write a message to a file next to `path` before the block, and rename it after the block.

    A message that the block records as sent can therefore really be sent. An existing file keeps
    its mode, and a new file gets the default mode. A device or a pipe is written to after the
    block. Raises StateError, also if the file exists and `replace` is not set.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield
        try:
            path.write_bytes(data)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from None
        return
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    with new_file(path, replace=replace, mode=mode) as temporary:
        temporary.write_bytes(data)
        _sync(temporary)
        yield


def _umask() -> int:
    """The umask. The only way to read it is to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def state_kind(path: Path) -> str | None:
    """The kind of a state file: a database, its sealing key, or what it says; None for others.

    Raises StateError if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(_HEAD)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    if begin.startswith(_DATABASE):
        return "database"
    named = _NAMED.match(begin)
    if named is not None:
        return named[1].decode("ascii", "backslashreplace")
    beside = path.with_suffix("")
    is_sealing = path.suffix == ".key" and beside.is_file() and state_kind(beside) == "database"
    return "sealing key" if is_sealing else None


def _check_replaceable(path: Path, kind: str | None) -> None:
    """Refuse to overwrite a device, a database, or a state file of another kind."""
    if not path.exists():
        return
    if not path.is_file():
        raise StateError(f"{path}: this is no ordinary file")
    other = state_kind(path)
    if other is not None and other != kind:
        raise StateError(f"{path}: this is a {other} file; remove it yourself")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing a file. Raises StateError if the file does not exist.

    Writers rename a new file over the old one, so a lock is valid only if `path` still names
    the locked file.
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
    """Write a state file of the given kind. Raises the same errors as `write_private`."""
    text = json.dumps({"mikeytool": kind, **content}, indent=2)
    write_private(path, text.encode() + b"\n", force=force, kind=kind)


_KINDS = ("ticket", "pending request", "session")


def read_json(path: Path, kind: str) -> Json:
    """Read a state file of the given kind.

    Raises StateError if it cannot be read, and WireError if it is something else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    content = parse_json(data) or {}
    check_kind(content, kind, str(path))
    return content


def check_kind(content: Json, kind: str, where: str) -> None:
    """Raise WireError for the content of a state file of another kind, or of none."""
    found = content.get("mikeytool")
    if found != kind:
        what = f", but a {found} file" if found in _KINDS else ""
        raise WireError(f"{where}: this is no {kind} file of mikeytool{what}")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def parse_json(data: bytes) -> Json | None:
    """The JSON object in `data`, or None if it is something else."""
    try:
        content = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
