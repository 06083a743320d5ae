"""The keys of the KMS itself: ticket protection keys, key pairs, trust anchors."""

from __future__ import annotations

from contextlib import closing

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from mikeytool.kms.store.records import Tpk
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, StateError, UsageError
from mikeytool.wire.identity import Identity
from tests.crypto.test_certificates import certificate, middle, private_key, root, usage
from tests.world import ALICE, BOB, KMS, World

URI = x509.UniformResourceIdentifier
KMS_CERT = certificate("kms", None, [URI(str(KMS))])
NEW_KMS_CERT = certificate("new kms", None, [URI(str(KMS))])


def tpk(name: str, party: Identity | None = None, length: int = 32) -> Tpk:
    return Tpk(Identity.key_name(name), name.encode().ljust(length, b"."), party)


def test_a_new_key_is_the_one_for_new_tickets(world: World) -> None:
    first = world.store.tpk()
    world.store.add_tpk(tpk("next"))
    assert world.store.tpk() == tpk("next")
    assert first is not None
    kept = world.store.tpk(first.name)
    assert kept is not None
    assert (kept.key, kept.current) == (first.key, False)
    assert [one.current for one in world.store.tpks()] == [True, False]


def test_tickets_outlive_the_rotation_of_their_key(world: World) -> None:
    """RFC 6043 A.1: the ticket names the key that protects it."""
    call = world.call(world.held())
    for number in range(3):
        world.store.add_tpk(tpk(f"next-{number}"))
    world.resolved(call)
    world.resolved(world.call(world.held()))


def test_keys_of_parties_have_nothing_to_do_with_each_other(world: World) -> None:
    world.store.add_tpk(tpk("alices", ALICE))
    world.store.add_tpk(tpk("bobs", BOB, 16))
    world.store.add_tpk(tpk("bobs new one", BOB))
    assert world.store.shared_tpk(ALICE) == tpk("alices", ALICE)
    assert world.store.shared_tpk(BOB) == tpk("bobs new one", BOB)
    own = world.store.tpk()
    assert own is not None
    assert own.shared_with is None


def test_keys_that_are_short_or_there_already(world: World) -> None:
    for short in (tpk("own", None, 31), tpk("bobs", BOB, 15)):
        with pytest.raises(UsageError, match="are needed"):
            world.store.add_tpk(short)
    before = world.store.tpk()
    with pytest.raises(StateError, match="there is already a key named"):
        world.store.add_tpk(tpk("tpk-1"))
    assert world.store.tpk() == before


def test_key_pairs_are_kept(world: World) -> None:
    world.store.add_key(private_key("kms"), KMS_CERT)
    world.store.add_key(private_key("new kms"), NEW_KMS_CERT)
    with closing(Store(world.where)) as again:
        pairs = again.key_pairs()
        assert again.certificates() == [KMS_CERT, NEW_KMS_CERT]
    numbers = [pair.private_key.private_numbers() for pair in pairs]
    assert numbers == [private_key(name).private_numbers() for name in ("kms", "new kms")]
    world.store.remove_key(KMS_CERT.fingerprint(SHA256()))
    assert world.store.certificates() == [NEW_KMS_CERT]


def test_key_pairs_that_do_not_fit(world: World) -> None:
    with pytest.raises(UsageError, match="does not belong to the certificate"):
        world.store.add_key(private_key("kms"), NEW_KMS_CERT)
    with pytest.raises(UsageError, match="does not name"):
        world.store.add_key(private_key("a"), certificate("a", names=[URI(str(ALICE))]))
    world.store.add_key(private_key("kms"), KMS_CERT)
    with pytest.raises(StateError, match="exists already"):
        world.store.add_key(private_key("kms"), KMS_CERT)
    world.store.add_anchor(root())
    with pytest.raises(StateError, match="exists already"):
        world.store.add_anchor(root())
    with pytest.raises(StateError, match="not there"):
        world.store.remove_anchor(middle().fingerprint(SHA256()))


def test_what_is_no_ca_is_not_trusted(world: World) -> None:
    for one in (KMS_CERT, certificate("a", names=[URI(str(ALICE))])):
        with pytest.raises(Refused, match="not that of a CA"):
            world.store.add_anchor(one)
    assert world.store.anchors() == []


def test_a_certificate_of_the_kms_is_for_encrypting(world: World) -> None:
    signs = certificate("kms", names=[URI(str(KMS))], more=[(usage("digital_signature"), True)])
    with pytest.raises(Refused, match="keyEncipherment"):
        world.store.add_key(private_key("kms"), signs)
    assert world.store.certificates() == []


def test_a_key_is_shared_with_nobody_unknown(world: World) -> None:
    with pytest.raises(StateError, match="no user"):
        world.store.add_tpk(tpk("dans", Identity.from_text("sip:dan@example.com")))
    assert [str(one.name) for one in world.store.tpks()] == ["tpk-1"]
