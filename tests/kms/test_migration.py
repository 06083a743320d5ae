"""From version 3 of a store: what only the operator knows is asked for."""

from __future__ import annotations

from contextlib import closing

from mikeytool.kms.store.check import check
from mikeytool.kms.store.records import LogEntry, Peer
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.storage.sql import Db
from mikeytool.wire.identity import Identity
from tests.world import ALICE, BOB, KMS, START, World

FAR = Identity.from_text("sip:kms.far.example")


def as_version_3(db: Db, *, server: bool) -> None:
    """Undo what versions 4 and 5 brought."""
    for statement in (
        "DROP TABLE speaks_for",
        "DROP INDEX log_refused",
        "DROP TABLE changes",
        "ALTER TABLE log DROP COLUMN count",
        "ALTER TABLE tpks DROP COLUMN until_ns",
        "UPDATE mikeytool_kms SET version = 3" if server else "PRAGMA user_version=3",
    ):
        db.execute(statement)


def test_peers_keys_and_log(world: World) -> None:
    store = world.store
    store.add_peer(Peer(FAR, "x", b"p" * 16, ("*",)))
    for name, party in (("b", BOB), ("a", ALICE)):
        store.add_tpk(Tpk(Identity.key_name(name), b"k" * 16, party))
    with store.exchange() as exchange:
        exchange.log(LogEntry(START, "request", "w" * 500, "b" * 500, "answered", ""))
    with store.transaction() as db:
        db.execute("DELETE FROM users WHERE id = ?", (ALICE.data,))
        as_version_3(db, server=isinstance(world.where, str))
    store.close()
    with closing(Store(world.where)) as again:
        assert again.identity == KMS
        assert again.peers() == [Peer(FAR, "x", b"p" * 16)]
        # A key of somebody who is no user any more must not wait for the next of that name.
        assert [str(key.name) for key in again.tpks()] == ["b", "tpk-1"]
        assert [len(entry.user) for entry in again.log()] == [250]
        assert not [one for one in check(again) if one.faults]
        again.set_patterns(FAR, ["sip:*@far.example"])
        assert again.peers()[0].patterns == ("sip:*@far.example",)
