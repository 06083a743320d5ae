"""Other KMSs in the store (RFC 6043 10)."""

from __future__ import annotations

from contextlib import closing

import pytest

from mikeytool.kms.store.records import Peer
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.identity import Identity
from tests.world import World, psk_of

FAR = Identity.from_text("sip:kms.far.example")
FARTHER = Identity.from_text("sip:kms.farther.example")
THEIRS = ("sip:*@far.example",)
DAN = Identity.from_text("sip:dan@far.example")


def test_a_short_key(world: World) -> None:
    with pytest.raises(UsageError, match="at least 16"):
        world.store.add_peer(Peer(FAR, "x", b"short", THEIRS))
    assert world.store.peers() == []


def test_names_of_kmss_and_of_keys_are_apart(world: World) -> None:
    """IDRpsk names either."""
    name = Identity.key_name(str(FAR))
    world.store.add_user(DAN, psk_of(DAN), name)
    with pytest.raises(StateError, match="user's key"):
        world.store.add_peer(Peer(FAR, "x", b"p" * 16, THEIRS))
    world.store.add_peer(Peer(FARTHER, "x", b"p" * 16, THEIRS))
    who = Identity.from_text("sip:x@example.com")
    with pytest.raises(StateError, match="another KMS"):
        world.store.add_user(who, b"k" * 16, Identity.key_name(str(FARTHER)))


def test_peers_come_and_go(world: World) -> None:
    peer = Peer(FAR, "x", b"p" * 16, THEIRS)
    world.store.add_peer(peer)
    with pytest.raises(StateError, match="exists already"):
        world.store.add_peer(peer)
    with closing(Store(world.where)) as again:
        assert again.peers() == [peer]
    world.store.remove_peer(peer.identity)
    with pytest.raises(StateError, match="no KMS"):
        world.store.remove_peer(peer.identity)
