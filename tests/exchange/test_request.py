"""Ticket Request: what an initiator refuses of the answer (RFC 6043 4.2.1.6)."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from mikeytool.exchange.environment import NS
from mikeytool.exchange.profile import PROFILE_128
from mikeytool.exchange.request import Granted, accept_request_resp, read_request_init, request_init
from mikeytool.exchange.ticket import new_key
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.wire.errors import Refused, UsageError, WireError
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import KEMAC, RANDR, TICKET, KeyData, V
from mikeytool.wire.registry import ErrorNo, KeyType, RandRole, TicketFlag
from tests.world import (
    ALICE,
    EVE,
    FORKING,
    KMS,
    PLAIN,
    Change,
    World,
    dropping,
    inserting,
    kms_keys,
    other_keys,
    psk_of,
    putting,
    relaxed,
    rewritten_granted,
    setting,
    tek,
    unprotected,
    untouched,
)

PSK = psk_of(ALICE)


def exchange(world: World, flags: str = PLAIN) -> tuple[bytes, bytes]:
    init = world.asked(world.policy(flags))
    return init, world.handled(init)


def take(world: World, init: bytes, answer: bytes) -> Granted:
    return accept_request_resp(world.env, read_request_init(init), PSK, answer)


def refused(world: World, change: Change, flags: str = PLAIN) -> Refused:
    """Why an answer that is changed but has a good MAC is refused; unchanged it is not."""
    init, answer = exchange(world, flags)
    take(world, init, rewritten_granted(answer, init, PSK, untouched))
    with pytest.raises(Refused) as caught:
        take(world, init, rewritten_granted(answer, init, PSK, change))
    return caught.value


def with_mpks(init: bytes, *lengths: int, at: int = 0) -> Change:
    """Other MPKs in the KEMAC, before the key at a position of the others."""
    mpks = [new_key(KeyType.MPK, os.urandom(n), None, os.urandom(4)) for n in lengths]

    def change(keys: list[KeyData]) -> list[KeyData]:
        rest = [key for key in keys if key.type != KeyType.MPK]
        return [*rest[:at], *mpks, *rest[at:]]

    return other_keys(kms_keys(init, PSK, RandRole.INITIATOR), change)


@pytest.mark.parametrize(
    ("flags", "lengths", "at"),
    [
        (PLAIN, (), 0),
        (PLAIN, (0,), 0),
        (PLAIN, (15,), 0),
        (PLAIN, (16, 16), 0),
        (PLAIN, (16,), 1),
        (FORKING, (16,), 0),
        (FORKING, (16, 15), 0),
        (FORKING, (1, 16), 0),
        (FORKING, (16, 16, 16), 0),
        (FORKING, (16, 16), 1),
    ],
)
def test_the_mpks_of_an_answer(world: World, flags: str, lengths: tuple[int, ...], at: int) -> None:
    """Interpretation 19, RFC 6043 12.1: as many as the I flag says, first, of 128 bits."""
    init, answer = exchange(world, flags)
    good = with_mpks(init, *((16, 16) if flags == FORKING else (16,)))
    take(world, init, rewritten_granted(answer, init, PSK, good))
    with pytest.raises(Refused, match="MPK"):
        take(world, init, rewritten_granted(answer, init, PSK, with_mpks(init, *lengths, at=at)))


@pytest.mark.parametrize("prf", [0, 1])
def test_a_ticket_of_another_strength(world: World, prf: int) -> None:
    """RFC 6043 12.1, interpretation 23: there is no negotiation."""
    init = world.asked(world.policy(PLAIN, prf=prf))
    answer = world.handled(init)
    other = world.held(PLAIN, prf=1 - prf).ticket
    with pytest.raises(Refused) as caught:
        take(world, init, rewritten_granted(answer, init, PSK, put_ticket(other)))
    assert caught.value.error_no == ErrorNo.INVALID_PRF


def put_ticket(ticket: TICKET) -> Change:
    fields = {name: getattr(ticket, name) for name in ticket.fields if name != "next_payload"}
    lengths = {name: None for name in fields if name.endswith("_length")}
    return putting(TICKET, **{**fields, **lengths})


def test_a_granted_ticket_whose_flags_contradict_each_other(world: World) -> None:
    """RFC 6043 6.10."""
    broken = int(TicketFlag.from_letters("DEGHJNO"))
    refusal = refused(world, putting(TICKET, flags=broken))
    assert refusal.error_no == ErrorNo.INVALID_TPPAR


def test_a_ticket_with_initiator_data_from_the_kms(world: World) -> None:
    """RFC 6043 6.10: Initiator Data is the initiator's."""
    for flags in (PLAIN, FORKING):
        refusal = refused(world, putting(TICKET, initiator_data=b"\0"), flags)
        assert refusal.error_no == ErrorNo.INVALID_TICKET


@pytest.mark.parametrize("kind", [TICKET, KEMAC])
def test_an_answer_misses_nothing_and_has_nothing_twice(
    world: World, kind: type[TICKET] | type[KEMAC]
) -> None:
    """RFC 6043 4.2.1.5, interpretation 25."""
    refused(world, dropping(kind))
    _, answer = exchange(world)
    again = Message.parse(answer).find(kind)
    assert again is not None
    refused(world, inserting(relaxed(again)))


@pytest.mark.parametrize(
    "fields", [{"encr_alg": 0}, {"encr_alg": 3}, {"mac_alg": 1, "mac": bytes(20)}]
)
def test_the_algorithms_of_a_kemac(world: World, fields: dict[str, Any]) -> None:
    """Interpretation 16, RFC 6043 12.1: encrypted, with what goes with the PRF, and no MAC."""
    refused(world, putting(KEMAC, **fields))


def test_garbage_behind_a_good_mac(world: World) -> None:
    init, answer = exchange(world)
    garbage = rewritten_granted(answer, init, PSK, putting(KEMAC, encr_data=b"\x99" * 60))
    with pytest.raises((WireError, Refused)):
        take(world, init, garbage)


def test_two_keys_with_one_spi(world: World) -> None:
    """Interpretation 25."""
    init, answer = exchange(world)

    def same(keys: list[KeyData]) -> list[KeyData]:
        return [*keys, tek(b"same"), tek(b"same")]

    change = other_keys(kms_keys(init, PSK, RandRole.INITIATOR), same)
    with pytest.raises(Refused, match="SPI"):
        take(world, init, rewritten_granted(answer, init, PSK, change))


@pytest.mark.parametrize("fields", [{"csb_id": 5}, {"prf": 1}])
def test_an_answer_to_something_else(world: World, fields: dict[str, int]) -> None:
    """RFC 6043 4.2.1.5: PRF func and CSB ID are those of the request."""
    init, answer = exchange(world)
    with pytest.raises(Refused, match="does not answer"):
        take(world, init, unprotected(answer, setting(**fields)))


def test_an_answer_under_another_key_or_to_another_request(world: World) -> None:
    init, answer = exchange(world)
    other, _ = exchange(world)
    with pytest.raises(Refused):
        take(world, other, answer)
    with pytest.raises(Refused, match="MAC"):
        take(world, init, rewritten_granted(answer, init, psk_of(EVE), untouched))
    with pytest.raises(Refused, match="MAC"):
        take(world, init, rewritten_granted(answer, other, PSK, untouched))


def test_an_old_answer(world: World) -> None:
    """RFC 6043 4.2.1.5: the KMS generates a fresh timestamp."""
    init, answer = exchange(world)
    world.clock.now += 400 * NS
    with pytest.raises(Refused) as caught:
        take(world, init, answer)
    assert caught.value.error_no == ErrorNo.INVALID_TS


def test_null_authentication(world: World) -> None:
    """Interpretation 16."""
    init, answer = exchange(world)
    message = Message.parse(answer)
    *others, _ = map(relaxed, message.payloads)
    null = V(auth_alg=0, ver_data=b"")
    raw = Message(message.header.copy(next_payload=None), [*others, null]).build()
    with pytest.raises(Refused) as caught:
        take(world, init, raw)
    assert caught.value.error_no == ErrorNo.INVALID_MAC


@pytest.mark.parametrize("length", [0, 1, 15])
def test_a_weak_pre_shared_key(world: World, length: int) -> None:
    """RFC 6043 12.1: 128 bits or more."""
    with pytest.raises(UsageError, match=r"12\.1"):
        request_init(
            world.env,
            PROFILE_128,
            world.policy(),
            initiator=ALICE,
            kms=KMS,
            psk=bytes(length),
        )


@pytest.mark.parametrize("length", [16, 32, 100])
def test_randr_i_is_as_long_as_the_key(world: World, length: int) -> None:
    """RFC 6043 12.1."""
    init = request_init(
        world.env,
        PROFILE_128,
        world.policy(),
        initiator=ALICE,
        kms=KMS,
        psk=bytes(length),
    )
    assert [len(rand.rand) >= length for rand in Message.parse(init.raw).all(RANDR)] == [True]


def test_what_the_kms_changed_is_told(world: World) -> None:
    """RFC 6043 4.2.1.6: whether a changed policy is acceptable, the initiator decides; a shorter
    validity does no harm, more of anything does.
    """
    policy = world.policy(PLAIN, rekey=60)
    init = world.asked(policy)
    held = take(world, init, world.handled(init)).held
    for change, harm in (
        ({}, None),
        ({"responders": (EVE,)}, True),
        ({"responders": (*policy.responders, EVE)}, True),
        ({"initiator": EVE}, True),
        ({"rekey": 6000}, True),
        ({"apps": (EVE,)}, True),
        ({"ticket_type": 2}, True),
        ({"subtype": 9}, True),
        ({"flags": policy.flags & ~TicketFlag.G & ~TicketFlag.J}, True),
        ({"valid_to": policy.valid_from}, False),
        ({"valid_to": None}, True),
        ({"valid_from": None}, True),
        ({"valid_from": policy.valid_to}, False),
    ):
        granted = Granted(replace(held, policy=replace(held.policy, **change)), policy)
        found = [difference.harm for difference in granted.differences]
        assert found == ([] if harm is None else [harm]), change
    fewer = replace(policy, keys=(wanted_key(KeyType.TGK, 16, 0),) * 2)
    assert [one.harm for one in Granted(held, fewer).differences] == [True]
