"""Checks that a store is consistent: its file, its secrets and its references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mikeytool.kms.store.store import Store
from mikeytool.storage.sql import Db
from mikeytool.wire.errors import StateError


@dataclass(frozen=True, slots=True)
class Check:
    """A checked part of the store, and its faults."""

    name: str
    faults: tuple[str, ...]


def check(store: Store) -> list[Check]:
    """Check everything in a store.

    Raises StateError if the sealing key is missing, or if the tables do not belong to a store.
    """
    store.check_schema()
    store.sealer  # noqa: B018 - this opens the data key
    with store.snapshot() as db:
        return [Check(name, _found(look, store, db)) for name, look in _CHECKS.items()]


_Look = Callable[[Store, Db], Iterator[str]]


def _found(look: _Look, store: Store, db: Db) -> tuple[str, ...]:
    db.execute("SAVEPOINT look")
    try:
        return tuple(look(store, db))
    except Exception as error:  # whatever a broken store causes is a fault of the store
        return (str(error).partition("\n")[0] or type(error).__name__,)
    finally:
        db.execute("ROLLBACK TO SAVEPOINT look")  # otherwise a server refuses further statements


def _file(store: Store, db: Db) -> Iterator[str]:
    yield from store.faults(db)
    for table in ("kms", "seal", "replay_horizon"):
        count = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
        if count != 1:
            yield f"the table {table} has {count} rows; there must be one"


def _sealing_key(store: Store, _db: Db) -> Iterator[str]:
    for path in store.private_files():
        if path.exists() and path.stat().st_mode & 0o077:
            yield f"{path} can be read by others; make its mode 0600"


def _users(store: Store, _db: Db) -> Iterator[str]:
    from cryptography.x509 import load_der_x509_certificate  # takes long to load

    for user in store.users():
        if user.sealed_psk is None and user.certificate is None:
            yield f"the user {user.identity} has neither a key nor a certificate"
        if user.sealed_psk is not None:
            yield from _fault(lambda user=user: store.psk(user))  # type: ignore[misc]
        if user.certificate is not None:
            yield from _fault(lambda one=user.certificate: load_der_x509_certificate(one))  # type: ignore[misc]


def _fault(opens: Callable[[], object]) -> Iterator[str]:
    """The error that `opens` raises, if any."""
    try:
        opens()
    except (StateError, ValueError) as error:
        yield str(error)


def _keys(store: Store, db: Db) -> Iterator[str]:
    store.tpks()
    rows = db.execute("SELECT count(*) FROM tpks WHERE current = 1 AND shared_with IS NULL")
    if rows.fetchone()[0] != 1:
        yield "the KMS must have one current ticket protection key of its own"
    for (party,) in db.execute(
        "SELECT shared_with FROM tpks WHERE current = 1 AND shared_with IS NOT NULL"
        " GROUP BY shared_with HAVING count(*) > 1"
    ):
        yield f"two keys shared with {party!r} are current"
    store.key_pairs()
    store.anchors()
    store.peers()


def _references(_store: Store, db: Db) -> Iterator[str]:
    for user, pattern in db.execute(
        "SELECT who, pattern FROM act_as WHERE who NOT IN (SELECT id FROM users)"
    ):
        yield f"{user!r} may act as {pattern}, but is no user"
    for (peer,) in db.execute(
        "SELECT DISTINCT peer FROM speaks_for WHERE peer NOT IN (SELECT id FROM peers)"
    ):
        yield f"{peer!r} speaks for others, but is no KMS"
    for (party,) in db.execute(
        "SELECT shared_with FROM tpks WHERE shared_with IS NOT NULL"
        " AND shared_with NOT IN (SELECT id FROM users)"
    ):
        yield f"a ticket protection key is shared with {party!r}, who is no user"
    for (name,) in db.execute("SELECT psk_id FROM users JOIN peers ON psk_id = peers.id"):
        yield f"{name!r} names the key of a user and of another KMS"


def _replay(_store: Store, db: Db) -> Iterator[str]:
    """Check that no entry is older than the horizon."""
    forgotten, tickets = db.execute(
        "SELECT forgotten_ns, tickets_ns FROM replay_horizon"
    ).fetchone()
    for table, column, horizon in (
        ("replay", "t_ns", forgotten),
        ("single_use", "until_ns", tickets),
    ):
        query = f"SELECT count(*) FROM {table} WHERE {column} <= ?"  # noqa: S608 - names from here
        count = db.execute(query, (horizon,)).fetchone()[0]
        if count:
            yield f"the table {table} has {count} entries from a time that was forgotten"


def _policy(store: Store, _db: Db) -> Iterator[str]:
    store.policy().check()
    store.rules()
    yield from ()


_CHECKS: dict[str, _Look] = {
    "file": _file,
    "sealing key": _sealing_key,
    "users": _users,
    "keys": _keys,
    "references": _references,
    "replay cache": _replay,
    "policy": _policy,
}
