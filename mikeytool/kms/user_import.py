"""Users in bulk, from CSV or JSON Lines."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from mikeytool.kms.store.records import NewUser, check_psk
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import MikeyError, StateError, UsageError, WireError
from mikeytool.wire.identity import Identity

_COLUMNS = ("uri", "psk", "psk_id", "act_as")

Row = dict[str, Any]
ReadKey = Callable[[str, str], bytes]
"""Gives the octets of a key as it is written; the second argument names it in errors."""


class ReadUsers(NamedTuple):
    """The users in a file; `made` are those whose keys were made here, `faults` are by line."""

    users: list[NewUser]
    made: list[NewUser]
    faults: list[tuple[int, MikeyError]]

    def made_keys(self) -> bytes:
        """Give the new keys as lines of a key tab."""
        return "".join(
            f"psk {one.identity} {(one.psk or b'').hex()}\n" for one in self.made
        ).encode()


def read_users(store: Store, data: bytes, read_key: ReadKey) -> ReadUsers:
    """Read the users in CSV or JSON Lines, for `Store.add_users`.

    The first line of CSV names the columns: uri, psk, psk_id and act_as. A user without psk
    gets a new key. Raises WireError for data that has no rows.
    """
    reader = _Reader(store, read_key)
    users = list(reader.users(_rows(data)))
    return ReadUsers(users, reader.made, reader.faults)


def _rows(data: bytes) -> Iterator[tuple[int, Row | WireError]]:
    """The rows of a file, with their line numbers; raises WireError if it has none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WireError("this is no text; expected CSV or JSON Lines") from None
    if not text.strip():
        raise WireError("this is empty; expected CSV or JSON Lines")
    return _json_rows(text) if text.lstrip()[0] == "{" else _csv_rows(text)


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


def _csv_rows(text: str) -> Iterator[tuple[int, Row | WireError]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        names = [name.strip().lower() for name in next(reader)]
    except csv.Error as error:
        raise WireError(f"this is no CSV: {error}") from None
    if "uri" not in names:
        raise WireError(f"the first line must name the columns: {', '.join(_COLUMNS)}")
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

    def __init__(self, store: Store, read_key: ReadKey) -> None:
        self._read_key = read_key
        self._there = {user.identity.data for user in store.users()}
        self._names = {user.psk_id.data for user in store.users() if user.psk_id is not None}
        self._length = store.profile.key_length
        self.made: list[NewUser] = []
        self.faults: list[tuple[int, MikeyError]] = []

    def users(self, rows: Iterable[tuple[int, Row | WireError]]) -> Iterator[NewUser]:
        """A user for each row that is right."""
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
        psk = os.urandom(self._length) if given is None else self._read_key(given, "psk")
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
