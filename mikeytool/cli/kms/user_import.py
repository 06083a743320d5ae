"""Users in bulk, from CSV or JSON Lines."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mikeytool.cli.exit_codes import complain, exit_code, worst
from mikeytool.cli.message_io import write_output
from mikeytool.cli.options.common import say
from mikeytool.cli.options.store import read_file
from mikeytool.cli.render.progress import counted
from mikeytool.client.key_text import parse_key
from mikeytool.kms.store.records import NewUser, check_psk
from mikeytool.kms.store.store import Store
from mikeytool.storage.private_files import write_private
from mikeytool.wire.errors import MikeyError, StateError, UsageError, WireError
from mikeytool.wire.identity import Identity

_COLUMNS = ("uri", "psk", "psk_id", "act_as")
_SHOWN = 20
"""How many wrong lines are reported one by one."""

Row = dict[str, Any]


def import_file(store: Store, file: Path, output: Path | None, *, force: bool) -> int:
    """Add the users in a file, all of them or none; returns the exit code."""
    reader = _Reader(store)
    users = [user for user in reader.users(_rows(file)) if user is not None]
    if reader.faults:
        for line, fault in reader.faults[:_SHOWN]:
            complain(f"{file}:{line}: {fault}")
        count = len(reader.faults)
        complain(
            f"{file}: {count} {'lines are' if count > 1 else 'line is'} wrong; nobody was added"
        )
        return worst({exit_code(fault) for _, fault in reader.faults})

    def hand_out() -> None:
        made = "".join(f"psk {one.identity} {_hex(one)}\n" for one in reader.made).encode()
        if output is not None:
            write_private(output, made, force=force)
        elif made:
            write_output(made, None)

    store.add_users(_with_progress(users), before_commit=hand_out)
    say(f"{store.where}: added {len(users)} users; keys made here: {len(reader.made)}")
    return 0


def _hex(user: NewUser) -> str:
    return (user.psk or b"").hex()


def _rows(file: Path) -> Iterator[tuple[int, Row | WireError]]:
    """The rows of a file, with their line numbers; raises WireError if it has none."""
    try:
        text = read_file(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WireError(f"{file}: this is no text; expected CSV or JSON Lines") from None
    if not text.strip():
        raise WireError(f"{file}: this is empty; expected CSV or JSON Lines")
    return _json_rows(text) if text.lstrip()[0] == "{" else _csv_rows(file, text)


def _json_rows(text: str) -> Iterator[tuple[int, Row | WireError]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            content = None
        if isinstance(content, dict):
            yield number, content
        else:
            yield number, WireError("this is no JSON object on one line")


def _csv_rows(file: Path, text: str) -> Iterator[tuple[int, Row | WireError]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        names = [name.strip().lower() for name in next(reader)]
    except csv.Error as error:
        raise WireError(f"{file}: this is no CSV: {error}") from None
    if "uri" not in names:
        raise WireError(f"{file}: the first line must name the columns: {', '.join(_COLUMNS)}")
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            yield reader.line_num, WireError(f"this is no CSV: {error}")
            return
        if values is None:
            return
        if len(values) == len(names):
            row = {name: value.strip() for name, value in zip(names, values, strict=True)}
            yield reader.line_num, {name: value for name, value in row.items() if value}
        elif values:
            yield reader.line_num, WireError(f"{len(values)} columns, but {len(names)} are named")


class _Reader:
    """Makes users from rows, and collects their faults by line."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._there = {user.identity.data for user in store.users()}
        self._names = {user.psk_id.data for user in store.users() if user.psk_id is not None}
        self._length = store.profile.key_length
        self.made: list[NewUser] = []
        self.faults: list[tuple[int, MikeyError]] = []

    def users(self, rows: Iterable[tuple[int, Row | WireError]]) -> Iterator[NewUser | None]:
        """A user for each row, None if it is wrong."""
        for number, row in rows:
            try:
                if isinstance(row, WireError):
                    raise row
                yield self._user(row)
            except MikeyError as fault:
                self.faults.append((number, fault))

    def _user(self, row: Row) -> NewUser:
        unknown = ", ".join(sorted(str(name) for name in set(row) - set(_COLUMNS)))
        if unknown:
            raise WireError(f"{unknown}: the columns are {', '.join(_COLUMNS)}")
        identity = Identity.from_text(_text(row, "uri"))
        if identity.data in self._there:
            raise StateError(f"the user {identity} exists already")
        self._there.add(identity.data)
        given = _text(row, "psk") if row.get("psk") else None
        psk = os.urandom(self._length) if given is None else parse_key(given, "psk")
        check_psk(psk)
        name = Identity.key_name(_text(row, "psk_id")) if row.get("psk_id") else None
        if name is not None and name.data in self._names:
            raise StateError(f"the key name {name} exists already")
        if name is not None:
            self._names.add(name.data)
        user = NewUser(identity, psk, name, _patterns(row.get("act_as")))
        if given is None:
            self.made.append(user)
        return user


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise WireError(f"{name}: expected printable text")
    return value


def _patterns(value: Any) -> tuple[str, ...]:
    patterns = value.split() if isinstance(value, str) else value or []
    if not isinstance(patterns, list) or not all(
        isinstance(one, str) and one and one.isprintable() for one in patterns
    ):
        raise UsageError(
            "act_as: expected printable patterns separated by blanks, or a list of them"
        )
    return tuple(patterns)


def _with_progress(users: list[NewUser]) -> Iterator[NewUser]:
    """The users one by one, with a progress bar on a terminal."""
    with counted("adding users") as progress:
        for at, user in enumerate(users):
            yield user
            if at % 1000 == 0:
                progress(at, len(users))
