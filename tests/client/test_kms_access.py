"""Ways to reach a KMS."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.client.kms_access import LazyKms, StoreKms, UrlKms, reach
from mikeytool.wire.errors import Refused, StateError
from tests.world import ALICE, FORKING, World


def test_a_store_that_refuses_says_why(world: World) -> None:
    init = world.call(world.held(FORKING))
    with pytest.raises(Refused, match="the KMS refuses: this is"):
        StoreKms(world.store).answer(world.env, init)


def test_queries_about_groups_need_a_key() -> None:
    kms = UrlKms("http://127.0.0.1:1")
    for ask in (kms.groups_of, kms.is_group):
        with pytest.raises(Refused, match="need a pre-shared key"):
            ask(ALICE)


def test_a_kms_that_is_reached_when_it_is_asked(world: World, tmp_path: Path) -> None:
    reached = []

    def reaching() -> StoreKms | UrlKms:
        reached.append(1)
        return reach(str(tmp_path / "later.db" if len(reached) == 1 else world.store.path))

    with closing(LazyKms(reaching)) as kms:
        assert reached == []
        with pytest.raises(StateError):
            kms.groups_of(ALICE)
        assert kms.groups_of(ALICE) == []
        assert not kms.is_group(ALICE)
        assert kms.identity == world.store.identity
        assert len(reached) == 2
