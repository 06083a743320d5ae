"""What both ends of Ticket Transfer hold to (RFC 6043 4.2.2, 6.10)."""

from __future__ import annotations

import pytest

from mikeytool.exchange.profile import PROFILE_256
from mikeytool.exchange.protection import protect
from mikeytool.exchange.resolve import initiator_data
from mikeytool.exchange.responder import check_acceptable, verify_transfer_init
from mikeytool.exchange.ticket import new_key
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.wire.errors import Refused
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import ID, RANDR, TICKET, T, V
from mikeytool.wire.registry import CsIdMapType, ErrorNo, KeyType, NextPayload, RandRole
from tests.exchange.ends import WITH_KEYS, finish, rand_in, respond
from tests.world import (
    ALICE,
    BOB,
    CAROL,
    FORKING,
    HALF_TRIP,
    PLAIN,
    World,
    accept_all,
    init_keys,
    putting,
    rewritten,
    rewritten_answer,
    rewritten_init,
    setting,
    tek,
    untouched,
    with_initiator_data,
)


@pytest.mark.parametrize("length", [16, 32, 64])
def test_rands_are_as_long_as_the_longest_key(world: World, length: int) -> None:
    """RFC 6043 12.1: of MPK, TGK and GTGK, those that either end brings included."""
    keys = (wanted_key(KeyType.TGK, length, 0),)
    held = world.held(WITH_KEYS, prf=PROFILE_256.prf, keys=keys)
    init = world.call(held)
    assert len(read_transfer_init(init).randr_i) >= max(32, length)
    short = rewritten_init(init, held, putting(RANDR, rand=bytes(16)))
    answer, _ = respond(world, short)
    assert answer is not None
    assert len(rand_in(answer, RandRole.RESPONDER)) >= max(32, length)
    finish(world, held, short, answer)


def test_header_and_ticket_of_different_strength(world: World) -> None:
    """Interpretation 5, RFC 6043 12.1: 128 and 256 bits are not mixed."""
    for prf in (0, 1):
        init = world.call(world.held(PLAIN, prf=prf))
        header, payloads = rewritten(init, setting(prf=1 - prf))
        mixed = Message(header, [*payloads, Message.parse(init).payloads[-1]]).build()
        with pytest.raises(Refused) as caught:
            read_transfer_init(mixed)
        assert caught.value.error_no == ErrorNo.INVALID_PRF


def test_initiator_data_without_forking(world: World) -> None:
    """Interpretation 19: Initiator Data with I = 0 is refused, junk and the real thing."""
    held = world.held(PLAIN)
    init = world.call(held)
    for data in (b"\0", b"junkjunk", with_initiator_data(init, bytes(16))):
        forged = rewritten(init, putting(TICKET, initiator_data=data[:60]))
        raw = Message(forged[0], [*forged[1], Message.parse(init).payloads[-1]]).build()
        with pytest.raises(Refused, match="Initiator Data") as caught:
            read_transfer_init(raw)
        assert caught.value.error_no == ErrorNo.INVALID_TICKET


def test_forking_without_initiator_data(world: World) -> None:
    """Interpretation 19: none with I = 1. The keys are known to the responder already."""
    held = world.held(FORKING)
    init = world.call(held)
    resolved = world.resolved(init)
    bare = read_transfer_init(rewritten_init(init, held, untouched, signed=False))
    for check in (
        lambda: check_acceptable(world.env, bare, accept_all),
        lambda: verify_transfer_init(bare, resolved, BOB),
    ):
        with pytest.raises(Refused, match="Initiator Data") as caught:
            check()
        assert caught.value.error_no == ErrorNo.INVALID_TICKET


def test_a_ticket_taken_from_another_call(world: World) -> None:
    """RFC 6043 4.2.3.6: Vi is the V of the message. Carol, who may resolve the ticket as well,
    knows MPKi and so can make any call but not the Initiator Data for it.
    """
    held = world.held(FORKING, responders=(BOB, CAROL))
    init = world.call(held)
    header, payloads = rewritten(init, setting(csb_id=7))
    known = world.resolved(init, CAROL).keys.mpki.key
    profile = read_transfer_init(init).incoming.profile
    keys = init_keys(header, payloads, known)
    spliced = read_transfer_init(protect(header, payloads, profile, keys, ALICE.data + BOB.data))
    with pytest.raises(Refused, match="Vi") as caught:
        check_acceptable(world.env, spliced, accept_all)
    assert caught.value.error_no == ErrorNo.AUTH_FAILURE
    with pytest.raises(Refused, match="Vi"):
        verify_transfer_init(spliced, world.resolved(init), BOB)


def test_vi_is_the_v_of_the_message(world: World) -> None:
    """RFC 6043 6.10, interpretation 6: algorithm and MAC are the same, and V comes next."""
    message = Message.parse(world.call(world.held(FORKING)))
    ticket, v = message.find(TICKET), message.find(V)
    assert ticket is not None
    assert v is not None
    vi, vr = initiator_data(ticket)
    assert (vi.auth_alg, vi.ver_data) == (v.auth_alg, v.ver_data)
    assert vi.next_payload == NextPayload.V
    assert vr.auth_alg == v.auth_alg


def test_what_forking_changes(world: World) -> None:
    """RFC 6043 5.1.1, interpretation 8: the TGKs of the ticket, but no salt, SPI, TEK or GTGK,
    and no key of a KEMAC in the transfer.
    """
    kinds = (KeyType.TGK, KeyType.TGK_SALT, KeyType.TEK_SALT, KeyType.GTGK_SALT)
    wanted = tuple(wanted_key(kind, 16, 14) for kind in kinds)
    held = world.held("DEFGHIJLMNO", keys=wanted)
    sent, answered = new_key(KeyType.TGK, bytes(range(16)), None, b"sent"), tek(b"back")
    init = world.call(held, kemac_keys=[sent])
    answer, theirs = world.answered(init, kemac_keys=[answered])
    ours = finish(world, held, init, answer)
    both = [(one.key, one.salt, one.spi) for one in ours.keys]
    assert both == [(one.key, one.salt, one.spi) for one in theirs.keys]
    assert both[:2] == [(one.key, one.salt, one.spi) for one in (answered, sent)]
    for before, after in zip(held.keys.keys, ours.keys[2:], strict=True):
        forked = before.type in (KeyType.TGK, KeyType.TGK_SALT)
        assert (before.key != after.key) == forked
        assert (before.salt, before.spi) == (after.salt, after.spi)


@pytest.mark.parametrize("flags", [FORKING, HALF_TRIP])
def test_the_v_flag_of_the_header(world: World, flags: str) -> None:
    """Interpretation 11: 1 to the KMS, F in TRANSFER_INIT, 0 in answers; read it is ignored."""
    held = world.held(flags)
    init = world.call(held)
    assert Message.parse(init).header.v == ("F" in flags)
    assert Message.parse(world.asked(world.policy())).header.v == 1
    assert Message.parse(world.resolving(held.ticket)).header.v == 1
    for v in (0, 1):
        answer, session = respond(world, rewritten_init(init, held, setting(v=v)))
        assert (answer is None) == ("F" not in flags)
        if answer is not None:
            assert Message.parse(answer).header.v == 0
            changed = rewritten_init(init, held, setting(v=v))
            answer, session = respond(world, changed)
            odd = rewritten_answer(answer or b"", changed, session.mpk, setting(v=1))
            finish(world, held, changed, odd)


def test_a_ticket_that_is_used_again(world: World) -> None:
    """RFC 6043 5.3: new CSB ID, timestamp and RANDs each time."""
    held = world.held(PLAIN)
    first, second = (read_transfer_init(world.call(held)) for _ in range(2))
    assert first.incoming.csb_id != second.incoming.csb_id
    assert first.incoming.t.value < second.incoming.t.value
    assert first.randr_i != second.randr_i
    answers = [world.answered(one.incoming.raw)[0] for one in (first, second)]
    assert len({rand_in(one, RandRole.RESPONDER) for one in answers}) == 2


def test_what_all_messages_have_in_common(world: World) -> None:
    """RFC 6043 4.2, 5.4, 6.6: answers echo version, PRF func and CSB ID, have a T of their own,
    no V flag and, from the KMS, an Empty map; identities are IDR, V is last.
    """
    held = world.held(FORKING)
    request, call = world.asked(world.policy()), world.call(held)
    resolving = world.resolving(read_transfer_init(call).ticket)
    for first, answer in (
        (request, world.handled(request)),
        (resolving, world.handled(resolving)),
        (call, world.answered(call)[0]),
    ):
        asked, told = Message.parse(first), Message.parse(answer)
        for name in ("version", "prf", "csb_id"):
            assert getattr(asked.header, name) == getattr(told.header, name)
        assert told.header.v == 0
        if first is not call:
            assert (told.header.cs_count, told.header.cs_id_map_type) == (0, CsIdMapType.EMPTY)
            assert (asked.header.cs_count, asked.header.cs_id_map_type) == (0, CsIdMapType.EMPTY)
        t, fresh = asked.find(T), told.find(T)
        assert t is not None
        assert fresh is not None
        assert fresh.ts_value > t.ts_value
        for message in (asked, told):
            assert not message.all(ID)
            assert isinstance(message.payloads[-1], V)
