"""The file of a conference system: its tables, and the migration of older versions.

Every command is one transaction. Whatever has been answered is on disk, and after a crash the
file holds the state either before or after the command.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from construct import ConstructError

from mikeytool.client.ticket_files import BROKEN
from mikeytool.conference.model import Settings
from mikeytool.storage import replay
from mikeytool.storage.sqlite import SqliteDatabase
from mikeytool.wire.errors import StateError
from mikeytool.wire.identity import Identity

Db = sqlite3.Connection

_MEMBERS = """(
    number INTEGER PRIMARY KEY, conference INTEGER NOT NULL REFERENCES conferences,
    identity BLOB NOT NULL, id_type INTEGER NOT NULL, state TEXT NOT NULL,
    csb_id INTEGER NOT NULL, generation INTEGER NOT NULL, deadline_ns INTEGER,
    session TEXT)"""
_ENDINGS = """(
    number INTEGER PRIMARY KEY, conference INTEGER NOT NULL REFERENCES conferences,
    identity BLOB NOT NULL, id_type INTEGER NOT NULL, csb_id INTEGER NOT NULL,
    session TEXT NOT NULL, waiting TEXT NOT NULL, reason TEXT NOT NULL, told INTEGER NOT NULL,
    until_ns INTEGER NOT NULL)"""
_MIXERS = """(
    conference INTEGER NOT NULL REFERENCES conferences, purpose TEXT NOT NULL,
    csb_id INTEGER NOT NULL, PRIMARY KEY (conference, purpose))"""
_TABLES = {
    "system": """(
    identity BLOB NOT NULL, id_type INTEGER NOT NULL, psk BLOB NOT NULL, kms TEXT NOT NULL,
    kms_id BLOB NOT NULL, kms_id_type INTEGER NOT NULL, may_create TEXT NOT NULL)""",
    "conferences": """(
    number INTEGER PRIMARY KEY, focus BLOB NOT NULL UNIQUE, focus_type INTEGER NOT NULL,
    creator BLOB NOT NULL, creator_type INTEGER NOT NULL, purposes TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0, may_add TEXT NOT NULL DEFAULT '[]',
    ended_ns INTEGER, topology TEXT NOT NULL DEFAULT 'relay')""",
    "tickets": """(
    ticket BLOB PRIMARY KEY, resolved TEXT NOT NULL, until_ns INTEGER, conference INTEGER
    ) WITHOUT ROWID""",
    "allowed": """(
    conference INTEGER NOT NULL REFERENCES conferences, identity BLOB NOT NULL,
    id_type INTEGER NOT NULL, denied INTEGER NOT NULL, PRIMARY KEY (conference, identity))""",
    "members": _MEMBERS,
    "endings": _ENDINGS,
    "calls": """(
    member INTEGER PRIMARY KEY REFERENCES members, init BLOB NOT NULL, ticket TEXT NOT NULL)""",
    "updates": """(
    number INTEGER PRIMARY KEY, member INTEGER NOT NULL REFERENCES members,
    generation INTEGER NOT NULL, message BLOB NOT NULL)""",
    "ssrcs": """(
    conference INTEGER NOT NULL REFERENCES conferences, ssrc INTEGER NOT NULL,
    member INTEGER, purpose TEXT, generation INTEGER, receiver INTEGER,
    highest INTEGER NOT NULL DEFAULT -1, highest_rtcp INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (conference, ssrc)
    ) WITHOUT ROWID""",
    "mixers": _MIXERS,
    "group_keys": """(
    conference INTEGER NOT NULL REFERENCES conferences, generation INTEGER NOT NULL,
    purpose TEXT NOT NULL, spi BLOB NOT NULL, tek BLOB NOT NULL, salt BLOB NOT NULL,
    due_ns INTEGER, until_ns INTEGER, PRIMARY KEY (conference, generation, purpose),
    UNIQUE (conference, spi))""",
}
_KEYS_UNTIL = "CREATE INDEX group_keys_until ON group_keys (until_ns) WHERE until_ns NOT NULL"
_MEMBER_INDEXES = (
    "CREATE INDEX members_identity ON members (conference, identity)",
    "CREATE INDEX members_csb ON members (csb_id)",
    "CREATE INDEX members_deadline ON members (conference, deadline_ns) WHERE deadline_ns NOT NULL",
)
_ENDING_INDEXES = (
    "CREATE INDEX endings_csb ON endings (csb_id)",
    "CREATE INDEX endings_identity ON endings (conference, identity)",
    "CREATE INDEX endings_until ON endings (until_ns)",
    "CREATE INDEX endings_untold ON endings (conference) WHERE NOT told",
)
_INDEXES = (
    "CREATE INDEX tickets_until ON tickets (until_ns)",
    *_MEMBER_INDEXES,
    *_ENDING_INDEXES,
    "CREATE INDEX updates_member ON updates (member)",
    "CREATE INDEX ssrcs_member ON ssrcs (member)",
    _KEYS_UNTIL,
)


class ConferenceState(SqliteDatabase):
    """A conference system's state file.

    The octets of group keys are stored in `group_keys` only; a member's session refers to them by
    SPI. In version 1 the session held the octets too, and kept them after the keys had expired.
    Version 1 also did not record who had resolved a ticket. In version 2 a user had one seat only.
    Version 3 had no mixers, and one floor key for all members.
    """

    kind = 0x6D6B6366  # "mkcf"
    name = "conference system"
    patience = 120.0  # a rekey of a hundred thousand members takes most of a minute
    version = 4
    _stale = False
    migrations: ClassVar = {
        1: (_KEYS_UNTIL, "DELETE FROM tickets"),
        2: (
            f"CREATE TABLE seats {_MEMBERS}",
            "INSERT INTO seats SELECT * FROM members",
            "DROP TABLE members",
            "ALTER TABLE seats RENAME TO members",
            *_MEMBER_INDEXES,
            f"CREATE TABLE endings {_ENDINGS}",
            *_ENDING_INDEXES,
            "ALTER TABLE tickets ADD COLUMN conference INTEGER",
            "ALTER TABLE conferences ADD COLUMN may_add TEXT NOT NULL DEFAULT '[]'",
            "ALTER TABLE conferences ADD COLUMN ended_ns INTEGER",
        ),
        3: (
            "ALTER TABLE conferences ADD COLUMN topology TEXT NOT NULL DEFAULT 'relay'",
            "ALTER TABLE ssrcs ADD COLUMN receiver INTEGER",
            "ALTER TABLE ssrcs ADD COLUMN highest INTEGER NOT NULL DEFAULT -1",
            "ALTER TABLE ssrcs ADD COLUMN highest_rtcp INTEGER NOT NULL DEFAULT -1",
            f"CREATE TABLE mixers {_MIXERS}",
            # Members had this key itself; now each gets one that is derived from it.
            "UPDATE group_keys SET due_ns = 0 WHERE purpose = 'floor' AND until_ns IS NULL",
        ),
    }
    schema = "".join(
        f"{statement};"
        for statement in (
            *replay.SCHEMA,
            *(f"CREATE TABLE {name} {columns}" for name, columns in _TABLES.items()),
            *_INDEXES,
        )
    )

    @classmethod
    def init(cls, path: Path, settings: Settings, *, force: bool = False) -> ConferenceState:
        """Create the file of a new conference system.

        Raises StateError when the file exists, unless `force` replaces it. Replacing keeps only
        the list of messages already seen; without that list, the new system would accept replayed
        messages.
        """
        if not path.exists():
            return cls.create(path, lambda db: _put_settings(db, settings))
        if not force:
            raise StateError(f"{path}: it exists already; --force makes the system in it anew")
        state = cls(path)
        try:
            with state.transaction() as db:
                for table in _TABLES:
                    db.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant
                _put_settings(db, settings)
        except BaseException:
            state.close()
            raise
        return state

    def settings(self) -> Settings:
        """The identity and settings of the conference system."""
        with self.errors():
            row = self.db.execute("SELECT * FROM system").fetchone()
        if row is None:
            raise StateError(f"{self.path}: it names no conference system")
        with readable("the list of who may create conferences"):
            may_create = tuple(json.loads(row[6]))
        return Settings(
            Identity(row[0], row[1]), row[2], row[3], Identity(row[4], row[5]), may_create
        )

    def put_may_create(self, patterns: Sequence[str]) -> None:
        """Set the patterns of who may create conferences; without any, everyone may."""
        with self.transaction() as db:
            db.execute("UPDATE system SET may_create = ?", (json.dumps(list(patterns)),))

    def _migrate(self, found: int) -> None:
        # Free pages must not keep wiped data.
        self.db.execute("PRAGMA secure_delete=ON")
        if found == self.version:
            return
        if found == 1:
            self.db.execute("VACUUM")  # it left keys in such pages
        super()._migrate(found)
        self.wipe()

    def wipe_soon(self) -> None:
        """Have `wipe` follow the transaction, for keys that it wipes from the tables."""
        self._stale = True

    def _commit(self) -> None:
        super()._commit()
        if self._stale:
            # Others may be reading; then the next transaction tries again, as nobody waits for it.
            self.db.execute("PRAGMA busy_timeout=0")
            try:
                with suppress(sqlite3.OperationalError):
                    self._stale = bool(self._pragma("wal_checkpoint(TRUNCATE)"))
            finally:
                self.db.execute(f"PRAGMA busy_timeout={self.patience * 1000:.0f}")

    def wipe(self) -> None:
        """Leave nothing in the files that was deleted from the tables."""
        with self.errors():
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _migrated(self, db: Db, version: int) -> None:
        """Convert sessions to refer to group keys by SPI, for the keys that are still valid."""
        if version != 1:
            return
        good = {
            (conference, spi.hex(), tek.hex(), salt.hex())
            for conference, spi, tek, salt in db.execute(
                "SELECT conference, spi, tek, salt FROM group_keys"
            )
        }
        found = db.execute("SELECT number, conference, session FROM members WHERE session NOT NULL")
        for number, conference, text in found.fetchall():
            session = json.loads(text)
            session["keys"] = [
                key["spi"]
                for key in session["keys"]
                if (conference, key["spi"], key["key"], key["salt"]) in good
            ]
            row = (json.dumps(session), number)
            db.execute("UPDATE members SET session = ? WHERE number = ?", row)


def _put_settings(db: Db, settings: Settings) -> None:
    db.execute(
        "INSERT INTO system VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *identity_row(settings.identity),
            settings.psk,
            settings.kms,
            *identity_row(settings.kms_id),
            json.dumps(settings.may_create),
        ),
    )


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Raise StateError for a damaged row."""
    try:
        yield
    except (*BROKEN, ConstructError):
        raise StateError(f"{what} is broken; restore a backup of the state file") from None


def identity_row(identity: Identity) -> tuple[bytes, int]:
    """Return an identity as two columns."""
    return identity.data, int(identity.id_type)
