"""What a client remembers between commands: the messages that it has seen."""

from __future__ import annotations

import os
from pathlib import Path

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.kms import replay
from mikeytool.kms.database import Database
from mikeytool.wire.errors import StateError
from mikeytool.wire.identity import Identity


class ClientState(Database):
    """The client's own state file."""

    kind = 0x6D6B636C  # "mkcl"
    name = "client state"
    schema = replay.SCHEMA

    def remember(self, env: Environment, message: Incoming, sender: Identity, key: bytes) -> None:
        """Refuse a TRANSFER_INIT seen before, whatever the session; else write it down."""
        with self.transaction() as db:
            replay.remember(db, env, message, sender, key)


def open_state() -> ClientState:
    """Open the client's state file, which is made when there is none.

    It is `$MIKEYTOOL_STATE`, else `$XDG_STATE_HOME/mikeytool`; a folder of that name holds
    it as `state.sqlite`. Raises StateError.
    """
    path = _path()
    if path.is_dir():
        path /= "state.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StateError(f"{path.parent}: {error.strerror}") from None
    if not path.exists():
        try:
            return ClientState.create(path)
        except StateError:
            if not path.exists():  # else another process made it just now
                raise
    return ClientState(path)


def _path() -> Path:
    given = os.environ.get("MIKEYTOOL_STATE")
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "mikeytool"
