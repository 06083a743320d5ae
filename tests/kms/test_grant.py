"""What is asked of a KMS that it cannot grant is refused with a number, never a crash."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mikeytool.exchange.environment import NS
from mikeytool.exchange.profile import PROFILE_128, PROFILE_256
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.kms.grant import MAX_KEYS
from mikeytool.kms.service import handle
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import HDR
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import RANDR, TICKET, TP, TR, Payload
from mikeytool.wire.registry import ErrorNo, KeyType, PrfFunc, TsRole, TsType
from mikeytool.wire.timestamp import Timestamp
from tests.world import (
    ALICE,
    BOB,
    FORKING,
    PLAIN,
    World,
    other_policy,
    psk_of,
    put,
    putting,
    rewritten_request,
    rewritten_resolve,
    setting,
)

SALTED = [kind for kind in KeyType if KeyType.salted(kind)]
BARE = [KeyType.TGK, KeyType.TEK, KeyType.GTGK]


def refusal(world: World, init: bytes) -> Refused:
    """Why the KMS refuses an authenticated message; it tells the sender with that number."""
    handled = handle(world.store, world.env, init)
    assert handled.refusal is not None
    assert handled.answer is not None
    return handled.refusal


@pytest.mark.parametrize("prf", [PROFILE_128.prf, PROFILE_256.prf])
@pytest.mark.parametrize("length", [0, 1, 15, 300, 16_000, 65_000])
@pytest.mark.parametrize("kind", BARE)
def test_keys_of_odd_lengths(world: World, kind: KeyType, length: int, prf: int) -> None:
    """RFC 6043 12.1: 128 bits or more; and no more than a ticket or a RAND has room for."""
    init = world.asked(world.policy(prf=prf, keys=(wanted_key(kind, length, 0),)))
    assert refusal(world, init).error_no == ErrorNo.INVALID_TPPAR


@pytest.mark.parametrize("prf", [PROFILE_128.prf, PROFILE_256.prf])
@pytest.mark.parametrize("salt", [1, 300, 16_000, 65_300, 65_400])
@pytest.mark.parametrize("kind", SALTED)
def test_salts_of_odd_lengths(world: World, kind: KeyType, salt: int, prf: int) -> None:
    """Interpretation 3: 112 bits, or 96; and a ticket must have room for it."""
    init = world.asked(world.policy(prf=prf, keys=(wanted_key(kind, 16, salt),)))
    assert refusal(world, init).error_no == ErrorNo.INVALID_TPPAR


@pytest.mark.parametrize("salt", range(65_200, 65_418, 7))
def test_no_length_around_the_room_of_a_ticket_escapes(world: World, salt: int) -> None:
    """TP Data and Ticket Data have 65535 octets at most (6.10)."""
    keys = (wanted_key(KeyType.TGK_SALT, 16, salt),)
    assert refusal(world, world.asked(world.policy(keys=keys))).error_no == ErrorNo.INVALID_TPPAR


def test_as_many_keys_as_are_given(world: World) -> None:
    for number in (MAX_KEYS, MAX_KEYS + 1):
        keys = (wanted_key(KeyType.TGK, 16, 0),) * number
        init = world.asked(world.policy(keys=keys))
        if number == MAX_KEYS:
            world.handled(init)
        else:
            assert "at most" in str(refusal(world, init))


def test_many_large_keys(world: World) -> None:
    """Four keys of 16000 octets are each less than a ticket holds, together as much."""
    keys = (wanted_key(KeyType.TGK, 16_000, 0),) * 4
    init = world.asked(world.policy(prf=PROFILE_256.prf, keys=keys))
    assert refusal(world, init).error_no == ErrorNo.INVALID_TPPAR


@pytest.mark.parametrize("kind", BARE)
def test_128_bit_algorithms_protect_no_longer_keys(world: World, kind: KeyType) -> None:
    """RFC 6043 12.1: with longer session keys 128-bit algorithms SHALL NOT be used."""
    keys = (wanted_key(kind, 32, 0),)
    init = world.asked(world.policy(keys=keys))
    assert refusal(world, init).error_no == ErrorNo.INVALID_TPPAR
    world.handled(world.asked(world.policy(prf=PROFILE_256.prf, keys=keys)))


@pytest.mark.parametrize("prf", [PROFILE_128.prf, PROFILE_256.prf])
def test_a_policy_of_another_strength_than_its_message(world: World, prf: PrfFunc) -> None:
    """Interpretation 5, RFC 6043 12.1: no mix of 128 and 256 bits."""
    other = PROFILE_256.prf if prf == PROFILE_128.prf else PROFILE_128.prf
    init = world.asked(world.policy(prf=prf))
    mixed = rewritten_request(init, psk_of(ALICE), other_policy(prf=other))
    assert refusal(world, mixed).error_no == ErrorNo.INVALID_PRF


@pytest.mark.parametrize("prf", [PROFILE_128.prf, PROFILE_256.prf])
def test_a_ticket_of_another_strength_than_what_resolves_it(world: World, prf: PrfFunc) -> None:
    """Interpretation 5, RFC 6043 12.1."""
    other = PROFILE_256.prf if prf == PROFILE_128.prf else PROFILE_128.prf
    held = world.held(PLAIN, prf=prf)
    mixed = rewritten_resolve(
        world.resolving(held.ticket),
        psk_of(BOB),
        setting(prf=other.value),
    )
    assert refusal(world, mixed).error_no == ErrorNo.INVALID_PRF


@pytest.mark.parametrize("length", [0, 1, 8, 15])
def test_short_rands(world: World, length: int) -> None:
    """RFC 6043 12.1: RANDs are as long as the keys that they go with, 128 bits or more."""
    rand = bytes(length)
    asked = rewritten_request(
        world.asked(world.policy()),
        psk_of(ALICE),
        putting(RANDR, rand=rand),
    )
    resolving = rewritten_resolve(
        world.resolving(world.held(PLAIN).ticket),
        psk_of(BOB),
        putting(RANDR, rand=rand),
    )
    for init in (asked, resolving):
        assert handle(world.store, world.env, init).refusal is not None


@pytest.mark.parametrize("ts_type", [TsType.NTP_UTC, TsType.NTP, TsType.COUNTER])
def test_a_rekeying_interval_of_another_type(world: World, ts_type: TsType) -> None:
    """RFC 6043 6.10: the TS Type of TRr SHALL be NTP-UTC-32."""

    def change(_header: HDR, payloads: list[Payload]) -> None:
        found = next(one for one in payloads if isinstance(one, TP))
        wanted = TR(ts_role=TsRole.REKEY.value, ts_type=TsType.NTP_UTC_32.value, ts_value=bytes(4))
        length = 4 if ts_type == TsType.COUNTER else 8
        other = TR(ts_role=TsRole.REKEY.value, ts_type=ts_type.value, ts_value=bytes(length))
        before, after = (tr.copy(next_payload=14).build() for tr in (wanted, other))
        assert before in found.tp_data
        put(payloads, TP, tp_data=found.tp_data.replace(before, after))

    init = world.asked(world.policy(rekey=0, keys=None))
    world.handled(init)
    changed = rewritten_request(init, psk_of(ALICE), change)
    handled = handle(world.store, world.env, changed)
    assert handled.refusal is not None
    assert handled.refusal.error_no == ErrorNo.INVALID_TPPAR


def test_a_validity_that_is_no_time(world: World) -> None:
    """Interpretation 20: COUNTER is refused there."""
    counter = Timestamp(TsType.COUNTER, b"\0\0\0\7")
    for asked in (world.policy(valid_from=counter), world.policy(valid_to=counter)):
        assert refusal(world, world.asked(asked)).error_no == ErrorNo.INVALID_TPPAR


def test_a_validity_at_the_end_of_time(world: World) -> None:
    """RFC 6043 6.10: TRs and TRe lie in 1968 to 2104; what would lie behind is refused."""
    last = Timestamp(TsType.NTP_UTC_32, b"\x7f\xff\xff\xff")
    init = world.asked(world.policy(valid_from=last, valid_to=None))
    assert refusal(world, init).error_no == ErrorNo.INVALID_TPPAR


@pytest.mark.parametrize("flags", [PLAIN, FORKING])
@pytest.mark.parametrize("part", ["ticket_data", "tp_data", "initiator_data"])
@pytest.mark.parametrize("octets", [b"\x63", b"\0\0\0\1", b"\5\0\0", b"\x99" * 300])
def test_a_ticket_that_cannot_be_read(world: World, flags: str, part: str, octets: bytes) -> None:
    """Interpretation 32: a broken ticket is Invalid TICKET; the sender is authenticated and so
    is told, and what was asked goes into the log.
    """
    ticket = read_transfer_init(world.call(world.held(flags))).ticket
    fields: dict[str, Any] = {part: octets}
    change = putting(TICKET, **fields)
    init = rewritten_resolve(world.resolving(ticket), psk_of(BOB), change)
    assert refusal(world, init).error_no == ErrorNo.INVALID_TICKET
    assert [entry.outcome for entry in world.store.log()][-1] == "refused"
    assert "replay" in str(refusal(world, init))


def test_tickets_of_a_disabled_user_are_not_resolved(world: World) -> None:
    """`kms user disable`: tickets they requested are no longer resolved."""
    call = world.call(world.held())
    with world.store.transaction() as db:
        db.execute("UPDATE users SET enabled = 0 WHERE id = ?", (ALICE.data,))
    with pytest.raises(Refused, match="disabled"):
        world.resolved(call)


def test_a_ticket_that_is_not_valid_yet_is_not_resolved(world: World) -> None:
    """Interpretation 20: whoever acts on the ticket checks TRs and TRe."""
    held = world.held(FORKING)
    call = world.call(held)
    world.clock.now += 7200 * NS
    with pytest.raises(Refused, match="expired") as caught:
        world.handled(world.resolving(read_transfer_init(call).ticket))
    assert caught.value.error_no == ErrorNo.INVALID_TICKET
    world.clock.now -= 7200 * NS
    soon = Timestamp.at(world.clock.now + 600 * NS, TsType.NTP_UTC_32)
    early = replace(held, policy=replace(held.policy, valid_from=soon))
    later = world.held(PLAIN, valid_from=soon)
    with pytest.raises(Refused, match="only from"):
        world.call(early)
    with pytest.raises(Refused, match="only from") as caught:
        world.handled(world.resolving(later.ticket))
    assert caught.value.error_no == ErrorNo.INVALID_TICKET


def test_a_policy_that_only_just_fits_is_refused(world: World) -> None:
    """What the KMS adds does not fit into TP Data any more; nothing else may come of it."""
    apps = (*(Identity(b"a" * 1002) for _ in range(64)), Identity(b"a" * 997))
    asked = world.policy(apps=apps, kms=None, initiator=None, valid_to=None, keys=None)
    refusal = handle(world.store, world.env, world.asked(asked)).refusal
    assert refusal is not None
    assert refusal.error_no == ErrorNo.INVALID_TPPAR


@pytest.mark.parametrize("kind", [KeyType.TGK_SALT, KeyType.TEK_SALT, KeyType.GTGK_SALT])
def test_an_empty_salt_is_not_granted(world: World, kind: KeyType) -> None:
    init = world.asked(world.policy(keys=(wanted_key(kind, 16, 0),)))
    refusal = handle(world.store, world.env, init).refusal
    assert refusal is not None
    assert refusal.error_no == ErrorNo.INVALID_TPPAR
