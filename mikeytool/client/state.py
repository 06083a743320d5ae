"""The client's memory between commands: messages seen, streams sent, and tickets resolved."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple

from mikeytool.client.ticket_files import TicketFile
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.resolve import ResolvedTicket
from mikeytool.exchange.responder import VerifiedInit
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket import ticket_octets
from mikeytool.storage import replay
from mikeytool.storage.sqlite import SqliteDatabase
from mikeytool.wire.errors import Refused, StateError, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import TICKET
from mikeytool.wire.registry import TicketFlag

MAX_KEPT = 24 * 3600 * NS
"""The longest time in nanoseconds for which a resolved ticket is kept. It limits how old the KMS's
decision can be, for example after a group has changed.
"""

MAX_RESOLVED = 1000
"""The maximum number of resolved tickets kept; those that end first are deleted to make room."""

_RESOLVED = (
    "CREATE TABLE resolved (ticket BLOB PRIMARY KEY, until_ns INTEGER NOT NULL,"
    " content TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX resolved_until ON resolved (until_ns)",
)

_HIGHEST = (
    "ALTER TABLE streams ADD COLUMN rtp INTEGER NOT NULL DEFAULT -1",
    "ALTER TABLE streams ADD COLUMN rtcp INTEGER NOT NULL DEFAULT -1",
    "CREATE TABLE updated (session BLOB PRIMARY KEY, last_t BLOB NOT NULL) WITHOUT ROWID",
)
_BEHIND = (
    "this session file is behind: {} by another copy of it; use the newest, for with this one a"
    " key stream would be used twice"
)


class Stream(NamedTuple):
    """An SSRC under a key, and the highest packet indices used, or -1 for none."""

    key: bytes
    salt: bytes
    ssrc: int
    rtp: int = -1
    rtcp: int = -1


class ClientState(SqliteDatabase):
    """The client's own state file: a replay cache, streams sent, and resolved tickets with keys.

    A stream is an SSRC under a key. If two sessions had the same stream, their packets would be
    encrypted with the same key stream. The same would happen with a copy of a session file. The
    highest indices of each stream, and the last T of each session, reveal an outdated file.
    """

    kind = 0x6D6B636C  # "mkcl"
    name = "client state"
    version = 3
    migrations: ClassVar = {1: (*replay.FROM_VERSION_1, *_RESOLVED), 2: _HIGHEST}
    schema = (
        "".join(f"{statement};" for statement in replay.SCHEMA)
        + "CREATE TABLE streams (stream BLOB PRIMARY KEY) WITHOUT ROWID;"
        + "".join(f"{statement};" for statement in (*_RESOLVED, *_HIGHEST))
    )

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self.errors():
            # Free pages must not keep the keys of deleted tickets.
            self.db.execute("PRAGMA secure_delete=ON")

    def refuse_seen(self, message: Incoming, sender: Identity) -> None:
        """Refuse a TRANSFER_INIT that was seen before, without writing anything."""
        with self.errors():
            replay.refuse_seen(self.db, message, sender)

    def remember(self, env: Environment, verified: VerifiedInit) -> None:
        """Refuse a verified TRANSFER_INIT that was seen before; otherwise record it.

        Also refuses a ticket without the J flag that has already come with another TRANSFER_INIT.
        """
        init = verified.init
        mpki = verified.resolved.keys.mpki.key
        refusal: Refused | None = None
        with self.transaction() as db:
            replay.remember(db, env, init.incoming, verified.initiator, mpki)
            replay.forget(db, env)
            try:
                replay.use_once(db, env, init.ticket, init.policy, b"", init.incoming.v.ver_data)
            except Refused as error:
                refusal = error  # the message is still recorded as seen
        if refusal is not None:
            raise refusal

    @contextmanager
    def remembering(self, env: Environment, verified: VerifiedInit) -> Iterator[None]:
        """Remember a verified TRANSFER_INIT whether the block, which answers it, fails or not.

        A UsageError says nothing about the message, which may be answered again.
        """
        is_used = True
        try:
            yield
        except UsageError:
            is_used = False
            raise
        finally:
            if is_used:
                self.remember(env, verified)

    def claim_streams(self, session: Session) -> None:
        """Record the streams that a session sends; refuse one that another session sends."""
        with self.transaction() as db:
            _claim_streams(db, session, None)

    def refuse_sent_further(self, streams: Iterable[Stream]) -> None:
        """Refuse a session file if another copy of it has sent one of its streams further."""
        with self.errors():
            for each in streams:
                _refuse_sent_further(self.db, each)

    @contextmanager
    def sending(
        self, before: Iterable[Stream], after: Iterable[Stream]
    ) -> Iterator[sqlite3.Connection]:
        """The transaction that records how far a session file has used its streams.

        `before` is what the file knew. The file is written in the block, so that it may be ahead
        of the record, but never behind. Of two copies of a file that send at the same moment, the
        second is refused.
        """
        with self.transaction() as db:
            for each in before:
                _refuse_sent_further(db, each)
            yield db
            for each in after:
                db.execute(
                    "INSERT OR REPLACE INTO streams VALUES (?, ?, ?)",
                    (_stream_id(*each[:3]), each.rtp, each.rtcp),
                )

    @contextmanager
    def update(self, before: Session) -> Iterator[Callable[[Session], None]]:
        """The transaction of an update of a session, in which its file is written.

        The function that it yields records the session after the update, and refuses a stream
        that another session sends. If another copy of the file has been updated since, the update
        is refused at the beginning.
        """
        with self.transaction() as db:
            found = db.execute(
                "SELECT last_t FROM updated WHERE session = ?", (_session_id(before),)
            ).fetchone()
            if found is not None and found[0] > before.fresh.last_t.to_bytes(8):
                raise Refused(_BEHIND.format("it was updated"))

            def updated(session: Session) -> None:
                _claim_streams(db, session, before)
                db.execute(
                    "INSERT OR REPLACE INTO updated VALUES (?, ?)",
                    (_session_id(session), session.fresh.last_t.to_bytes(8)),
                )

            yield updated

    def keep(self, env: Environment, resolved: TicketFile) -> None:
        """Keep a resolved ticket until it ends, if it may be cached (J flag)."""
        policy, by, now = resolved.policy, resolved.resolved_by, env.clock()
        if TicketFlag.J not in policy.flags or by is None:
            return
        end = None if policy.valid_to is None else policy.valid_to.unix_ns
        until = now + MAX_KEPT if end is None else min(end, now + MAX_KEPT)
        content = json.dumps(resolved.json())
        with self.transaction() as db:
            db.execute("DELETE FROM resolved WHERE until_ns < ?", (now,))
            db.execute(
                "INSERT OR REPLACE INTO resolved VALUES (?, ?, ?)",
                (_digest(resolved.ticket, by), until, content),
            )
            db.execute(
                "DELETE FROM resolved WHERE ticket IN"
                " (SELECT ticket FROM resolved ORDER BY until_ns DESC LIMIT -1 OFFSET ?)",
                (MAX_RESOLVED,),
            )

    def resolved(self, env: Environment, ticket: TICKET, by: Identity) -> ResolvedTicket | None:
        """Return the remembered resolution of a ticket, or None when it has to be resolved (5.3).

        With key forking, every other TRANSFER_INIT has to be resolved again, because only the KMS
        can check Vr (interpretation 22).
        """
        with self.errors():
            row = self.db.execute(
                "SELECT content FROM resolved WHERE ticket = ? AND until_ns >= ?",
                (_digest(ticket, by), env.clock()),
            ).fetchone()
        return None if row is None else TicketFile.of_json(json.loads(row[0])).resolved


def _digest(ticket: TICKET, by: Identity) -> bytes:
    """Return a digest that identifies a resolved ticket: it covers the resolver, the ticket
    and, with key forking, the Initiator Data that came with the ticket.
    """
    octets = ticket_octets(ticket)
    data = ticket.initiator_data if TicketFlag.I in ticket.flag else b""
    parts = (by.data, octets, data)
    return hashlib.sha256(b"".join(len(p).to_bytes(4) + p for p in parts)).digest()


def _claim_streams(db: sqlite3.Connection, session: Session, before: Session | None) -> None:
    """Record the streams that a session sends, and did not send before its update."""
    mine = set() if before is None else set(_streams(before))
    for key, salt, ssrc in set(_streams(session)) - mine:
        claim_stream(db, key, salt, ssrc)


def _refuse_sent_further(db: sqlite3.Connection, stream: Stream) -> None:
    query = "SELECT rtp, rtcp FROM streams WHERE stream = ?"
    row = db.execute(query, (_stream_id(*stream[:3]),)).fetchone()
    if row is not None and (row[0] > stream.rtp or row[1] > stream.rtcp):
        raise Refused(_BEHIND.format(f"SSRC {stream.ssrc:#010x} was sent further"))


def _streams(session: Session) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield key, salt and SSRC of every stream that a session sends."""
    for crypto_session in session.crypto_sessions:
        if crypto_session.ssrc is not None and session.is_local(crypto_session):
            media = session.media_key(crypto_session)
            yield media.key, media.salt, crypto_session.ssrc


def _stream_id(key: bytes, salt: bytes, ssrc: int) -> bytes:
    return hashlib.sha256(key + salt + ssrc.to_bytes(4)).digest()


def _session_id(session: Session) -> bytes:
    """Return an ID of one end of a session, which updates do not change."""
    role = b"" if session.role is None else bytes([session.role])
    parts = (session.csb_id.to_bytes(4), role, session.local.data, session.randr_i, session.randr_r)
    return hashlib.sha256(b"".join(len(p).to_bytes(4) + p for p in parts)).digest()


def claim_stream(db: sqlite3.Connection, key: bytes, salt: bytes, ssrc: int) -> None:
    """Record an SSRC under a key, within a transaction; refuse one that is already recorded."""
    try:
        db.execute("INSERT INTO streams (stream) VALUES (?)", (_stream_id(key, salt, ssrc),))
    except sqlite3.IntegrityError:
        raise Refused(
            f"another session sends SSRC {ssrc:#010x} under the same key; their key streams"
            " would be the same"
        ) from None


def open_state() -> ClientState:
    """Open the client's state file, creating it if it does not exist.

    Its path is `$MIKEYTOOL_STATE`, or otherwise `$XDG_STATE_HOME/mikeytool`. If that path is a
    folder, the file is `state.sqlite` in it. Raises StateError.
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
            if not path.exists():  # otherwise another process has just made it
                raise
    return ClientState(path)


def _path() -> Path:
    given = os.environ.get("MIKEYTOOL_STATE")
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "mikeytool"
