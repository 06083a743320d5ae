"""What a client remembers between commands: the messages that it has seen."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.session import Session
from mikeytool.exchange.transfer import VerifiedInit
from mikeytool.kms import replay
from mikeytool.kms.database import Database
from mikeytool.wire.errors import Refused, StateError
from mikeytool.wire.identity import Identity


class ClientState(Database):
    """The client's own state file: a replay cache, and the streams that it has sent.

    A stream is an SSRC under a key. Two of the same, in two sessions, would be encrypted
    with one key stream.
    """

    kind = 0x6D6B636C  # "mkcl"
    name = "client state"
    schema = replay.SCHEMA + "CREATE TABLE streams (stream BLOB PRIMARY KEY) WITHOUT ROWID;"

    def refuse_seen(self, message: Incoming, sender: Identity) -> None:
        """Refuse a TRANSFER_INIT that was seen before, without writing anything."""
        with self._errors():
            replay.refuse_seen(self._db, message, sender)

    def remember(self, env: Environment, verified: VerifiedInit) -> None:
        """Refuse a verified TRANSFER_INIT that was seen before, else write it down.

        Refuses a ticket without the J flag, too, that came with another one.
        """
        init = verified.init
        mpki = verified.resolved.keys.mpki.key
        refusal: Refused | None = None
        with self.transaction() as db:
            replay.remember(db, env, init.incoming, verified.initiator, mpki)
            try:
                replay.use_once(db, init.ticket, init.policy, b"", init.incoming.v.ver_data)
            except Refused as error:
                refusal = error  # the message was seen all the same
        if refusal is not None:
            raise refusal

    def claim_streams(self, session: Session, before: Session | None = None) -> None:
        """Write down the streams that a session sends; refuse one that another session sends.

        `before` is the session as it was before an update: what it sent is its own.
        """
        mine = set() if before is None else set(_streams(before))
        with self.transaction() as db:
            for key, salt, ssrc in set(_streams(session)) - mine:
                claim_stream(db, key, salt, ssrc)


def _streams(session: Session) -> Iterator[tuple[bytes, bytes, int]]:
    """Key, salt and SSRC of every stream that a session sends."""
    for crypto_session in session.crypto_sessions:
        if crypto_session.ssrc is not None and session.is_local(crypto_session):
            media = session.media_key(crypto_session)
            yield media.key, media.salt, crypto_session.ssrc


def claim_stream(db: sqlite3.Connection, key: bytes, salt: bytes, ssrc: int) -> None:
    """Write down an SSRC under a key, within a transaction; refuse one that is there."""
    stream = hashlib.sha256(key + salt + ssrc.to_bytes(4)).digest()
    try:
        db.execute("INSERT INTO streams VALUES (?)", (stream,))
    except sqlite3.IntegrityError:
        raise Refused(
            f"another session sends SSRC {ssrc:#010x} under the same key; their key streams"
            " would be the same"
        ) from None


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
