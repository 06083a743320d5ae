"""Whatever an authenticated user sends, the KMS answers it or refuses it; it never breaks."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.kms.service import handle
from mikeytool.wire.errors import MikeyError, WireError
from mikeytool.wire.registry import KeyType
from tests.world import (
    ALICE,
    BOB,
    FORKING,
    PLAIN,
    Change,
    World,
    damaged,
    disordered,
    psk_of,
    rewritten_request,
    rewritten_resolve,
)

KEYS = (
    None,
    (wanted_key(KeyType.TEK_SALT, 16, 14), wanted_key(KeyType.GTGK, 16, 0)),
    (wanted_key(KeyType.TGK_SALT, 16, 14, b"abcd"), wanted_key(KeyType.TGK, 16, 0)),
)


@pytest.mark.parametrize("kind", ["request", "resolve"])
def test_what_authenticated_users_may_send(world: World, kind: str) -> None:
    """RFC 6043 5.4: errors have numbers. MACs are good, all else is left to chance."""
    chance = random.Random(6043)
    helds = [world.held(flags, keys=keys) for flags in (FORKING, PLAIN) for keys in KEYS]
    outcomes: Counter[str] = Counter()
    for _ in range(250):
        if kind == "request":
            raw = world.asked(world.policy(keys=chance.choice(KEYS)))
        else:
            call = world.call(chance.choice(helds))
            raw = world.resolving(read_transfer_init(call).ticket)
        try:
            message = _changed(raw, kind, disordered(chance))
            if chance.random() < 0.2:
                message = damaged(chance, message)
        except MikeyError:
            continue  # not even someone hostile can write it
        outcomes[_outcome(world, message)] += 1
    assert outcomes["answered"] > 10
    assert outcomes["told"] > 50


def _changed(raw: bytes, kind: str, change: Change) -> bytes:
    if kind == "request":
        return rewritten_request(raw, psk_of(ALICE), change)
    return rewritten_resolve(raw, psk_of(BOB), change)


def _outcome(world: World, message: bytes) -> str:
    try:
        handled = handle(world.store, world.env, message, send_errors=True)
    except WireError:
        return "unreadable"
    if handled.refusal is None:
        assert handled.answer
        return "answered"
    return "told" if handled.answer else "refused"
