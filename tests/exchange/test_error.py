"""Error messages: which number goes with which fault, who is told, who believes it
(RFC 6043 5.4, interpretation 32).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mikeytool.crypto.derive import MessageKeys
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS
from mikeytool.exchange.error import ErrorReceived, error_message, raise_if_error
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.initiator import finish_transfer
from mikeytool.exchange.responder import check_acceptable, transfer_resp, verify_transfer_init
from mikeytool.exchange.session import Session
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.exchange.update import answer_update, finish_update, update_init
from mikeytool.exchange.update_rules import update_keys
from mikeytool.wire.errors import Refused
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import ERR, IDR, KEMAC, SP, TICKET, Payload, T, V
from mikeytool.wire.registry import CsIdMapType, DataType, ErrorNo, MacAlg, PrfFunc
from tests.world import (
    ALICE,
    BOB,
    EVE,
    FORKING,
    PLAIN,
    POLICY,
    Change,
    World,
    accept_all,
    entries_of,
    inserting,
    policy_with,
    put,
    putting,
    rewritten_answer,
    rewritten_init,
    setting,
    tek,
    unprotected,
    untouched,
)

WITH_KEYS = "DEFGHJLMNO"


def answered(world: World, init: bytes) -> tuple[bytes | None, Session]:
    """All that a responder does with a call."""
    read = read_transfer_init(init)
    check_acceptable(world.env, read, lambda policy: policy.policy_no != 9)
    verified = verify_transfer_init(read, world.resolved(read), BOB)
    return transfer_resp(world.env, verified, accept_all, local=BOB)


def entry(**fields: Any) -> Change:
    """A change of the first crypto session."""

    def apply(header: Any, _payloads: list[Payload]) -> None:
        for name, value in fields.items():
            setattr(entries_of(header)[0], name, value)

    return apply


def of_yesterday(_header: Any, payloads: list[Payload]) -> None:
    t = next(p for p in payloads if isinstance(p, T))
    put(payloads, T, ts_value=(int.from_bytes(t.ts_value) - (86400 << 32)).to_bytes(8))


INITS: dict[str, tuple[Callable[..., bytes], Change, ErrorNo]] = {
    "timestamp": (rewritten_init, of_yesterday, ErrorNo.INVALID_TS),
    "PRF": (unprotected, setting(prf=77), ErrorNo.INVALID_PRF),
    "PRF of the other strength": (
        unprotected,
        setting(prf=PrfFunc.HMAC_SHA_256.value),
        ErrorNo.INVALID_PRF,
    ),
    "encryption": (rewritten_init, putting(KEMAC, encr_alg=3), ErrorNo.INVALID_EA),
    "MAC of a KEMAC": (
        rewritten_init,
        putting(KEMAC, mac_alg=1, mac=bytes(20)),
        ErrorNo.INVALID_MAC,
    ),
    "two IDs of one role": (
        rewritten_init,
        inserting(IDR(id_role=1, id_type=1, id_data=b"sip:eve"), at=1),
        ErrorNo.INVALID_ID,
    ),
    "SP that is not there": (rewritten_init, entry(policies=[7]), ErrorNo.INVALID_SP),
    "two SPs of one number": (rewritten_init, inserting(POLICY, at=1), ErrorNo.INVALID_SP),
    "SP parameters": (
        rewritten_init,
        putting(SP, policy_param=policy_with(0, ENCR_KEY_LENGTH=32).policy_param),
        ErrorNo.INVALID_SPPAR,
    ),
    "data type": (unprotected, setting(data_type=15), ErrorNo.INVALID_DT),
    "ticket type": (rewritten_init, putting(TICKET, ticket_type=77), ErrorNo.INVALID_TICKET),
    "flags": (rewritten_init, putting(TICKET, flags=0), ErrorNo.INVALID_TPPAR),
    "map": (
        rewritten_init,
        setting(cs_id_map_type=CsIdMapType.EMPTY.value, cs_id_map=[]),
        ErrorNo.INVALID_SP,
    ),
    "two crypto sessions of one ID": (rewritten_init, entry(cs_id=2), ErrorNo.UNSPECIFIED),
}


@pytest.mark.parametrize("fault", INITS)
def test_the_number_that_goes_with_a_fault_of_a_call(world: World, fault: str) -> None:
    """Interpretation 32."""
    make, change, error_no = INITS[fault]
    held = world.held(WITH_KEYS)
    init = world.call(held, kemac_keys=[tek(b"spi!")])
    changed = make(init, change) if make is unprotected else make(init, held, change)
    with pytest.raises(Refused) as caught:
        answered(world, changed)
    assert caught.value.error_no == error_no
    answered(world, rewritten_init(init, held, untouched))


def test_a_wrong_mac_and_an_unsupported_one(world: World) -> None:
    """Interpretation 32: 3 means not supported, a MAC that is wrong is 0."""
    init = world.call(world.held(PLAIN))
    v = Message.parse(init).find(V)
    assert v is not None
    for changed, error_no in (
        (init[:-1] + bytes([init[-1] ^ 1]), ErrorNo.AUTH_FAILURE),
        (init[:-21] + bytes([MacAlg.NULL]), ErrorNo.INVALID_MAC),
        (init[:-21] + bytes([MacAlg.HMAC_SHA_256_256]) + bytes(32), ErrorNo.INVALID_MAC),
    ):
        with pytest.raises(Refused) as caught:
            answered(world, changed)
        assert caught.value.error_no == error_no


def test_others_than_the_owner_of_a_forked_ticket(world: World) -> None:
    """Interpretations 18 and 32: the ID is what is wrong."""
    held = world.held(FORKING)
    init = rewritten_init(world.call(held), held, putting(IDR, 0, id_data=EVE.data))
    with pytest.raises(Refused) as caught:
        answered(world, init)
    assert caught.value.error_no == ErrorNo.INVALID_ID


def test_an_expired_ticket(world: World) -> None:
    """Interpretations 20 and 32."""
    held = world.held(PLAIN)
    init = world.call(held)
    world.clock.now += 4000 * NS
    with pytest.raises(Refused) as caught:
        answered(world, rewritten_init(init, held, untouched))
    assert caught.value.error_no == ErrorNo.INVALID_TICKET


# --- errors about answers ---------------------------------------------------------------------


def told(refusal: Refused, about: bytes, keys: MessageKeys, world: World) -> ErrorReceived:
    """The Error message of a refusal as the other end takes it: its MAC is good."""
    assert refusal.answer is not None
    with pytest.raises(ErrorReceived) as caught:
        raise_if_error(world.env, Message.read(refusal.answer), Message.parse(about).header, keys)
    assert caught.value.verified
    assert caught.value.error_no == refusal.error_no
    return caught.value


def test_the_responder_is_told_what_is_wrong_with_the_answer(world: World) -> None:
    """RFC 6043 4.2.2.4, 5.4: under the keys of TRANSFER_RESP, with the policies supported."""
    held = world.held(FORKING)
    init = world.call(held, policies=[])
    answer, theirs = world.answered(init, policies=[POLICY])
    with pytest.raises(Refused) as caught:
        finish_transfer(
            world.env, held, read_transfer_init(init), answer, lambda _: False, [policy_with(3)]
        )
    error = told(caught.value, answer, update_keys(theirs), world)
    assert error.error_no == ErrorNo.INVALID_SPPAR
    assert [sp.policy_no for sp in error.supported] == [3]


def test_nobody_is_told_of_an_answer_that_does_not_verify(world: World) -> None:
    """RFC 6043 5.4: the peer could not be authenticated."""
    held = world.held(FORKING)
    init = world.call(held)
    answer, session = world.answered(init)
    for changed in (
        answer[:-1] + bytes([answer[-1] ^ 1]),
        rewritten_answer(answer, init, bytes(16), untouched),
        rewritten_answer(answer, init, session.mpk, setting(csb_id=1)),
    ):
        with pytest.raises(Refused) as caught:
            finish_transfer(world.env, held, read_transfer_init(init), changed, accept_all)
        assert caught.value.answer is None


def sessions(world: World, flags: str = "DEFGHIJLMNO") -> tuple[Session, Session]:
    held = world.held(flags)
    init = world.call(held)
    answer, theirs = world.answered(init)
    return finish_transfer(world.env, held, read_transfer_init(init), answer, accept_all), theirs


def test_errors_in_an_update_go_both_ways(world: World) -> None:
    """RFC 6043 5.2, 5.4: authenticated with the keys of the session."""
    alice, bob = sessions(world)
    policy = policy_with(8, ENCR_KEY_LENGTH=16)
    key = tek(b"new!")
    init, waiting = update_init(world.env, alice, kemac_keys=[key])
    read = Incoming.read(init.raw, DataType.TRANSFER_INIT)
    with pytest.raises(Refused) as caught:
        answer_update(world.env, bob, read, lambda _: False, supported=[policy])
    assert caught.value.answer is not None
    assert Message.parse(caught.value.answer).header.csb_id == alice.csb_id
    with pytest.raises(ErrorReceived) as received:
        finish_update(world.env, waiting, init, caught.value.answer, accept_all)
    assert received.value.verified
    assert [sp.policy_no for sp in received.value.supported] == [8]
    more = [CsSpec(send=True)]
    answer, bob = answer_update(
        world.env, bob, read, accept_all, crypto_sessions=more, policies=[policy]
    )
    assert answer is not None
    with pytest.raises(Refused) as caught:
        finish_update(world.env, waiting, init, answer, lambda _: False)
    told(caught.value, answer, update_keys(bob), world)


def test_what_an_error_must_have_to_be_believed(world: World) -> None:
    """Interpretation 32: a valid MAC, the CSB ID of the exchange, a T that is acceptable."""
    alice, _bob = sessions(world)
    keys = update_keys(alice)
    init, _ = update_init(world.env, alice, kemac_keys=[tek(b"new!")])
    header = Message.parse(init.raw).header
    good = error_message(world.env, header, 12, keys)
    late = replace(world.env, clock=lambda: world.clock.now + 1000 * NS)
    for error, believed in (
        (good, True),
        (good[:-1] + bytes([good[-1] ^ 1]), False),
        (error_message(world.env, header, 12, None), False),
        (error_message(world.env, header.copy(csb_id=5), 12, keys), False),
        (error_message(late, header, 12, keys), False),
    ):
        with pytest.raises(ErrorReceived) as caught:
            raise_if_error(world.env, Message.read(error), header, keys)
        assert caught.value.verified == believed


def test_an_error_message_has_a_map_that_goes_with_sp(world: World) -> None:
    """Interpretation 32: GENERIC-ID with #CS 0 in Ticket Transfer, else Empty; V is 0."""
    for raw, kind in (
        (world.call(world.held()), CsIdMapType.GENERIC_ID),
        (world.asked(world.policy(), ALICE), CsIdMapType.EMPTY),
    ):
        about = Message.parse(raw).header
        made = Message.parse(error_message(world.env, about, 10, None, [POLICY]))
        assert made.header.cs_id_map_type == kind
        assert (made.header.cs_count, made.header.v) == (0, 0)
        assert (made.header.prf, made.header.csb_id) == (about.prf, about.csb_id)
        assert len(made.all(SP)) == (kind == CsIdMapType.GENERIC_ID)
        assert [one.error_no for one in made.all(ERR)] == [10]


def test_no_error_in_answer_to_an_error(world: World) -> None:
    """RFC 6043 5.4: an Error message is no TRANSFER_INIT, and nothing is said to it."""
    about = Message.parse(world.call(world.held())).header
    error = error_message(world.env, about, 12, None)
    with pytest.raises(Refused) as caught:
        read_transfer_init(error)
    assert (caught.value.error_no, caught.value.answer) == (ErrorNo.INVALID_DT, None)
