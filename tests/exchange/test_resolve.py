"""Ticket Resolve: what a responder refuses of the answer (RFC 6043 4.2.3.5, 4.2.3.6)."""

from __future__ import annotations

import os

import pytest

from mikeytool.exchange.environment import NS
from mikeytool.exchange.profile import PROFILE_128
from mikeytool.exchange.resolve import (
    ResolvedTicket,
    accept_resolve_resp,
    read_resolve_init,
    resolve_init,
)
from mikeytool.exchange.ticket import new_key
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.wire.errors import Refused, UsageError, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import IDR, KEMAC, RANDR, KeyData
from mikeytool.wire.registry import ErrorNo, IdRole, KeyType, RandRole
from tests.world import (
    BOB,
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
    rewritten_resolved,
    setting,
    tek,
    unprotected,
    untouched,
)

PSK = psk_of(BOB)
RANDR_KMS = {"rand_role": RandRole.KMS.value}
IDR_R = {"id_role": IdRole.RESPONDER.value}


def exchange(world: World, flags: str, **policy: object) -> tuple[bytes, bytes]:
    init = world.resolving(read_transfer_init(world.call(world.held(flags, **policy))).ticket)
    return init, world.handled(init)


def take(world: World, init: bytes, answer: bytes) -> ResolvedTicket:
    return accept_resolve_resp(world.env, read_resolve_init(init), PSK, answer)


def refused(world: World, flags: str, change: Change) -> Refused:
    """Why an answer that is changed but has a good MAC is refused; unchanged it is not."""
    init, answer = exchange(world, flags)
    take(world, init, rewritten_resolved(answer, init, PSK, untouched))
    with pytest.raises(Refused) as caught:
        take(world, init, rewritten_resolved(answer, init, PSK, change))
    return caught.value


@pytest.mark.parametrize(
    "half",
    [dropping(IDR, **IDR_R), dropping(RANDR, **RANDR_KMS), dropping(RANDR)],
    ids=["no IDRr", "no RANDRkms", "no RAND"],
)
def test_half_a_modifier(world: World, half: Change) -> None:
    """Interpretation 27: one of IDRr and RANDRkms missing with I is refused."""
    assert "RANDRkms" in str(refused(world, FORKING, half))


def test_randr_kms_without_forking(world: World) -> None:
    """Interpretation 27."""
    rand = RANDR(**RANDR_KMS, rand=bytes(16))
    assert "RANDRkms" in str(refused(world, PLAIN, inserting(rand)))
    both = inserting(BOB.idr(IdRole.RESPONDER), rand)
    assert "RANDRkms" in str(refused(world, PLAIN, both))


def test_idr_r_without_forking_is_taken(world: World) -> None:
    """Interpretation 27: not written, echoed when received."""
    init, answer = exchange(world, PLAIN)
    assert take(world, init, answer).responder is None
    support = Identity.from_text("sip:it-support@example.com")
    named = rewritten_resolved(answer, init, PSK, inserting(support.idr(IdRole.RESPONDER)))
    assert take(world, init, named).responder == support


@pytest.mark.parametrize(
    ("prf", "tgk", "longest"), [(0, 16, 16), (1, 32, 32), (1, 16, 32), (1, 64, 64)]
)
def test_randr_kms_is_as_long_as_the_keys_that_it_forks(
    world: World, prf: int, tgk: int, longest: int
) -> None:
    """RFC 6043 12.1: at least as long as the longest MPKr or TGK."""
    keys = (wanted_key(KeyType.TGK, tgk, 0),)
    init, answer = exchange(world, FORKING, prf=prf, keys=keys)
    modifier = take(world, init, answer).modifier
    assert modifier is not None
    assert len(modifier.randr_kms) >= longest
    for length in (0, 1, longest - 1):
        short = rewritten_resolved(answer, init, PSK, putting(RANDR, rand=bytes(length)))
        with pytest.raises(Refused, match="RANDRkms"):
            take(world, init, short)
    good = rewritten_resolved(answer, init, PSK, putting(RANDR, rand=bytes(longest)))
    assert take(world, init, good).modifier is not None


def test_keys_that_are_not_forked_do_not_count(world: World) -> None:
    """RFC 6043 5.1.1: TEKs and GTGKs are handed out as they are."""
    keys = (wanted_key(KeyType.GTGK, 64, 0),)
    init, answer = exchange(world, FORKING, prf=1, keys=keys)
    take(world, init, rewritten_resolved(answer, init, PSK, putting(RANDR, rand=bytes(32))))


@pytest.mark.parametrize(
    ("flags", "lengths"),
    [
        (PLAIN, ()),
        (PLAIN, (15,)),
        (PLAIN, (16, 16)),
        (FORKING, (16,)),
        (FORKING, (16, 0)),
        (FORKING, (15, 16)),
        (FORKING, (16, 16, 16)),
    ],
)
def test_the_mpks_of_an_answer(world: World, flags: str, lengths: tuple[int, ...]) -> None:
    """Interpretation 19, RFC 6043 12.1."""
    init, answer = exchange(world, flags)

    def change(keys: list[KeyData]) -> list[KeyData]:
        mpks = [new_key(KeyType.MPK, os.urandom(n), None, os.urandom(4)) for n in lengths]
        return [*mpks, *(key for key in keys if key.type != KeyType.MPK)]

    sealed = other_keys(kms_keys(init, PSK, RandRole.RESPONDER), change)
    with pytest.raises(Refused, match="MPK"):
        take(world, init, rewritten_resolved(answer, init, PSK, sealed))


def test_two_keys_with_one_spi(world: World) -> None:
    """Interpretation 25."""
    init, answer = exchange(world, PLAIN)
    keys = kms_keys(init, PSK, RandRole.RESPONDER)
    change = other_keys(keys, lambda held: [*held, tek(b"same"), tek(b"same")])
    with pytest.raises(Refused, match="SPI"):
        take(world, init, rewritten_resolved(answer, init, PSK, change))


def test_crypto_sessions_in_an_answer(world: World) -> None:
    """RFC 6043 4.2.3.5: #CS and the type of the map are those of RESOLVE_INIT."""
    refused(world, PLAIN, setting(cs_count=1))
    refused(world, PLAIN, setting(cs_id_map_type=2))


@pytest.mark.parametrize("fields", [{"encr_alg": 0}, {"encr_alg": 3}])
def test_the_algorithm_of_a_kemac(world: World, fields: dict[str, int]) -> None:
    """Interpretation 16, RFC 6043 12.1."""
    assert refused(world, PLAIN, putting(KEMAC, **fields)).error_no == ErrorNo.INVALID_EA


def test_garbage_behind_a_good_mac(world: World) -> None:
    init, answer = exchange(world, PLAIN)
    garbage = rewritten_resolved(answer, init, PSK, putting(KEMAC, encr_data=b"\x99" * 60))
    with pytest.raises((WireError, Refused)):
        take(world, init, garbage)


@pytest.mark.parametrize("fields", [{"csb_id": 5}, {"prf": 1}])
def test_an_answer_to_something_else(world: World, fields: dict[str, int]) -> None:
    """RFC 6043 4.2.3.5: PRF func and CSB ID are those of RESOLVE_INIT."""
    init, answer = exchange(world, PLAIN)
    with pytest.raises(Refused, match="does not answer"):
        take(world, init, unprotected(answer, setting(**fields)))


def test_an_answer_to_another_request_or_under_another_key(world: World) -> None:
    init, answer = exchange(world, PLAIN)
    other, _ = exchange(world, PLAIN)
    with pytest.raises(Refused):
        take(world, other, answer)
    with pytest.raises(Refused, match="MAC"):
        take(world, init, rewritten_resolved(answer, init, psk_of(EVE), untouched))


def test_an_old_answer(world: World) -> None:
    """RFC 6043 4.2.3.5: the KMS generates a fresh timestamp."""
    init, answer = exchange(world, PLAIN)
    world.clock.now += 400 * NS
    with pytest.raises(Refused) as caught:
        take(world, init, answer)
    assert caught.value.error_no == ErrorNo.INVALID_TS


@pytest.mark.parametrize("length", [0, 1, 15])
def test_a_weak_pre_shared_key(world: World, length: int) -> None:
    """RFC 6043 12.1: 128 bits or more."""
    ticket = world.held(PLAIN).ticket
    with pytest.raises(UsageError, match=r"12\.1"):
        resolve_init(world.env, PROFILE_128, ticket, responder=BOB, kms=KMS, psk=bytes(length))


@pytest.mark.parametrize("length", [16, 32, 100])
def test_randr_r_is_as_long_as_the_key(world: World, length: int) -> None:
    """RFC 6043 12.1."""
    ticket = world.held(PLAIN).ticket
    init = resolve_init(world.env, PROFILE_128, ticket, responder=BOB, kms=KMS, psk=bytes(length))
    assert [len(rand.rand) >= length for rand in Message.parse(init.raw).all(RANDR)] == [True]


def test_each_resolving_forks_anew(world: World) -> None:
    """RFC 6043 4.2.3.5: RANDRkms is fresh, and MPKi, which verifies the call, is not forked."""
    call = world.call(world.held(FORKING))
    first, second = world.resolved(call), world.resolved(call)
    assert first.modifier != second.modifier
    assert first.keys.mpkr != second.keys.mpkr
    assert first.keys.mpki.key == second.keys.mpki.key
