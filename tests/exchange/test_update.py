"""CSB updating (RFC 6043 5.2, interpretations 1 and 29), with the known answers and beyond.

The updates in the known runs carry keys whatever the L flag of the ticket says. Where it is
not set their keys and MACs are held, and that the roles refuse them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mikeytool.exchange import update as exchange_update
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.initiator import finish_transfer
from mikeytool.exchange.protection import protect
from mikeytool.exchange.responder import transfer_resp, verify_transfer_init
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket import new_key
from mikeytool.exchange.transfer import AcceptPolicy, read_transfer_init
from mikeytool.exchange.update import finish_update, update_init
from mikeytool.exchange.update_rules import update_keys
from mikeytool.wire.errors import MikeyError, Refused, UsageError
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import is_update
from mikeytool.wire.payloads import IDR, RAND, RANDR, TICKET, KeyData, T
from mikeytool.wire.registry import DataType, ErrorNo, IdRole, KeyType, RandRole, TicketFlag
from tests.exchange.test_vectors import (
    Run,
    anything,
    flips,
    key_octets,
    media_of,
    sent_keys,
    shown,
)
from tests.support import at, message_t, scripted, vectors
from tests.world import (
    Change,
    dropping,
    identities,
    inserting,
    putting,
    rewritten,
    setting,
)


def incoming(raw: bytes) -> Incoming:
    return Incoming.read(raw, DataType.TRANSFER_INIT)


def answer_update(
    env: Environment, session: Session, raw: bytes, accept: AcceptPolicy, **how: Any
) -> tuple[bytes | None, Session]:
    """The answer to an update that is read first."""
    return exchange_update.answer_update(env, session, incoming(raw), accept, **how)


CASES = [case for case in vectors("exchanges") if "update" in case]
WITH_L = [case for case in CASES if "L" in case["flags"]]
WITHOUT_L = [case for case in CASES if "L" not in case["flags"]]


def named(cases: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


def initiator(run: Run) -> Session:
    return finish_transfer(
        at(run.now),
        run.held,
        read_transfer_init(run.raw("TRANSFER_INIT")),
        run.raw("TRANSFER_RESP"),
        anything,
    )


def responder(run: Run) -> Session:
    init = read_transfer_init(run.raw("TRANSFER_INIT"))
    verified = verify_transfer_init(init, run.resolved, run.identity("responder"))
    answer = Message.parse(run.raw("TRANSFER_RESP"))
    draws = [p.rand for p in answer.all(RANDR) if p.rand_role == RandRole.RESPONDER]
    _, session = transfer_resp(
        scripted(run.now, draws, message_t(run.raw("TRANSFER_RESP"))),
        verified,
        anything,
        local=run.identity("responder"),
        crypto_sessions=[CsSpec(send=True, cs_id=2, ssrc=0x22222222)],
        kemac_keys=sent_keys(run, "TRANSFER_RESP"),
    )
    return session


def update(case: dict[str, Any]) -> tuple[bytes, bytes]:
    return tuple(bytes.fromhex(case["update"][name]) for name in ("TRANSFER_INIT", "TRANSFER_RESP"))  # type: ignore[return-value]  # fmt: skip


def keys_of(case: dict[str, Any]) -> tuple[KeyData, ...]:
    return tuple(key_octets(key) for key in case["update"]["keys"])


@named(WITH_L)
def test_an_update_is_made_again_answered_and_finished(case: dict[str, Any]) -> None:
    run = Run(case)
    init, answer = update(case)
    assert is_update(Message.parse(init))
    assert not is_update(Message.parse(run.raw("TRANSFER_INIT")))
    alice, bob = initiator(run), responder(run)
    env = scripted(run.now, [], message_t(init))
    made, alice = update_init(env, alice, kemac_keys=keys_of(case))
    assert made.raw.hex() == init.hex()
    env = scripted(run.now, [], message_t(answer))
    answered, bob = answer_update(env, bob, init, anything)
    assert answered == answer
    alice = finish_update(
        at(run.now), alice, Incoming.read(init, DataType.TRANSFER_INIT), answer, anything
    )
    assert media_of(alice) == media_of(bob)
    new = case["update"]["keys"][0]
    for one in media_of(alice):
        assert (one["tek"], one["salt"], one["spi"]) == (new["key"], new["salt"], new["spi"])
    assert shown(alice.keys[:1]) == shown(keys_of(case))
    assert {key.spi for key in bob.keys} == {key.spi for key in alice.keys}


@named(WITHOUT_L)
def test_keys_without_the_l_flag_are_refused(case: dict[str, Any]) -> None:
    run = Run(case)
    init, _ = update(case)
    with pytest.raises(Refused, match="L flag") as caught:
        answer_update(at(run.now), responder(run), init, anything)
    assert caught.value.error_no == ErrorNo.INVALID_TPPAR
    with pytest.raises(Refused, match="L flag"):
        update_init(at(run.now), initiator(run), kemac_keys=keys_of(case))


@named(CASES)
def test_every_update_is_accepted_where_keys_are_allowed(case: dict[str, Any]) -> None:
    run = Run(case)
    session = responder(run)
    permitted = replace(session, policy=replace(session.policy, flags=_with_l(session)))
    init, answer = update(case)
    answered, bob = answer_update(
        scripted(run.now, [], message_t(answer)), permitted, init, anything
    )
    assert answered == answer
    assert shown(bob.keys[:1]) == shown(keys_of(case))


def _with_l(session: Session) -> TicketFlag:
    return session.policy.flags | TicketFlag.L


def pair(case: dict[str, Any]) -> tuple[Session, Session]:
    """Both ends, with leave for both to send keys."""
    run = Run(case)
    both = []
    for session in (initiator(run), responder(run)):
        flags = session.policy.flags | TicketFlag.L | TicketFlag.M
        both.append(replace(session, policy=replace(session.policy, flags=flags)))
    return both[0], both[1]


def ticking(case: dict[str, Any]) -> Environment:
    """A clock that goes on from the T of the last message."""
    moment = message_t(update(case)[0]).unix_ns
    assert moment is not None
    count = iter(range(1, 1000))
    drawn = iter(range(1, 1000))
    return Environment(
        clock=lambda: moment + next(count) * 1000,
        random=lambda length: next(drawn).to_bytes(length),
    )


@named(CASES[:4])
@pytest.mark.parametrize("by_responder", [False, True], ids=["initiator", "responder"])
def test_either_end_updates_and_again(case: dict[str, Any], by_responder: bool) -> None:
    env = ticking(case)
    starter, other = pair(case)
    if by_responder:
        starter, other = other, starter
    for spi in (b"\0\0\2\1", b"\0\0\3\1"):
        key = keys_of(case)[0].copy(spi=spi)
        init, starter = update_init(env, starter, kemac_keys=[key])
        t = Message.parse(init.raw).find(T)
        assert t is not None
        assert t.ts_value[-1] & 1 == by_responder
        answer, other = answer_update(env, other, init.raw, anything)
        assert answer is not None
        starter = finish_update(env, starter, init, answer, anything)
        assert media_of(starter) == media_of(other)
        assert {one["spi"] for one in media_of(starter)} == {spi.hex()}
        starter, other = other, starter
        by_responder = not by_responder


@named(CASES[:2])
def test_a_stream_is_added_by_either_end(case: dict[str, Any]) -> None:
    env = ticking(case)
    alice, bob = pair(case)
    for adder, other in ((alice, bob), (bob, alice)):
        spec = CsSpec(send=True, ssrc=0x33333333, cs_id=3)
        init, adder = update_init(env, adder, crypto_sessions=[spec])
        answer, other = answer_update(env, other, init.raw, anything)
        assert answer is not None
        adder = finish_update(env, adder, init, answer, anything)
        assert media_of(adder) == media_of(other)
        new = adder.crypto_sessions[2]
        assert (new.ssrc, len(adder.crypto_sessions)) == (0x33333333, 3)
        assert adder.is_local(new)
        assert not other.is_local(other.crypto_sessions[2])


@named(CASES[:2])
def test_what_is_refused(case: dict[str, Any]) -> None:
    env = ticking(case)
    alice, bob = pair(case)
    init, waiting = update_init(env, alice, kemac_keys=keys_of(case))
    with pytest.raises(Refused, match="one's own"):
        answer_update(env, waiting, init.raw, anything)
    answer, newer = answer_update(env, bob, init.raw, anything)
    assert answer is not None
    with pytest.raises(Refused, match="seen already"):
        answer_update(env, newer, init.raw, anything)
    with pytest.raises(Refused, match="SPI"):
        update_init(env, newer, kemac_keys=keys_of(case))
    with pytest.raises(UsageError):
        update_init(env, alice)
    finish_update(env, waiting, init, answer, anything)
    with pytest.raises(Refused, match="another session"):
        answer_update(env, replace(bob, csb_id=1), init.raw, anything)
    with pytest.raises(Refused, match="MAC"):
        answer_update(env, replace(bob, mpk=bytes(16)), init.raw, anything)
    late = replace(env, clock=lambda: 1 << 62)
    with pytest.raises(Refused, match="expired"):
        update_init(late, alice, kemac_keys=keys_of(case))


@named(WITH_L[:1])
def test_a_flipped_bit_is_never_accepted(case: dict[str, Any]) -> None:
    run = Run(case)
    init, answer = update(case)
    for raw in flips(init):
        with pytest.raises(MikeyError):
            answer_update(scripted(run.now, [], message_t(answer)), responder(run), raw, anything)
    env = scripted(run.now, [], message_t(init))
    _, alice = update_init(env, initiator(run), kemac_keys=keys_of(case))
    for raw in flips(answer):
        with pytest.raises(MikeyError):
            finish_update(
                at(run.now), alice, Incoming.read(init, DataType.TRANSFER_INIT), raw, anything
            )


@named(WITH_L)
def test_nothing_static_comes_again(case: dict[str, Any]) -> None:
    """RFC 6043 5.2: no new RAND and no new ticket, and the CSB ID is the same."""
    run = Run(case)
    init, _ = update(case)
    made = Message.parse(init)
    assert made.header.csb_id == Message.parse(run.raw("TRANSFER_INIT")).header.csb_id
    assert not made.all(RANDR)
    assert not made.all(TICKET)
    ticket = Message.parse(run.raw("TRANSFER_INIT")).find(TICKET)
    assert ticket is not None
    rand = RANDR(rand_role=RandRole.INITIATOR.value, rand=bytes(16))
    bob = responder(run)
    other = ticket.copy(next_payload=None, tp_data=ticket.tp_data[:-1] + b"?")
    for extra in (rand, RAND(rand=bytes(16)), other):
        header, payloads = rewritten(init, inserting(extra))
        behind = identities(payloads, IdRole.INITIATOR, IdRole.RESPONDER)
        keys = update_keys(bob)
        changed = protect(header, payloads, run.profile, keys, behind)
        with pytest.raises(Refused, match="no new") as caught:
            answer_update(at(run.now), bob, changed.raw, anything)
        assert caught.value.answer is not None


@named(CASES[:2])
def test_an_update_may_want_no_answer(case: dict[str, Any]) -> None:
    """RFC 6043 5.2: the V flag says whether a response is expected."""
    run = Run(case)
    env = ticking(case)
    alice, bob = pair(case)
    init, _ = update_init(env, alice, kemac_keys=keys_of(case))
    assert Message.parse(init.raw).header.v == 1
    header, payloads = rewritten(init.raw, setting(v=0))
    behind = identities(payloads, IdRole.INITIATOR, IdRole.RESPONDER)
    quiet = protect(header, payloads, run.profile, update_keys(alice), behind)
    answer, bob = answer_update(env, bob, quiet.raw, anything)
    assert answer is None
    assert bob.keys[0].spi == keys_of(case)[0].spi


@named(CASES[:2])
@pytest.mark.parametrize("role", [IdRole.INITIATOR, IdRole.RESPONDER])
def test_identities_of_an_update_are_those_of_the_session(
    case: dict[str, Any], role: IdRole
) -> None:
    """Interpretation 44: what the MAC covers is not enough, as IDRs may be left out."""
    env = ticking(case)
    alice, bob = pair(case)
    init, waiting = update_init(env, alice, kemac_keys=keys_of(case))
    behind = alice.local.data + alice.remote.data
    nth = (IdRole.INITIATOR, IdRole.RESPONDER).index(role)

    def update_with(change: Change) -> bytes:
        made = protect(
            *rewritten(init.raw, change), Run(case).profile, update_keys(alice),
            behind,
        )  # fmt: skip
        return made.raw

    for name in (b"sip:eve@example.com", alice.local.data, alice.remote.data, b""):
        changed = update_with(putting(IDR, nth, id_data=name))
        if name == (alice.local, alice.remote)[nth].data:
            answer_update(env, bob, changed, anything)
            continue
        with pytest.raises(Refused, match="other parties") as caught:
            answer_update(env, bob, changed, anything)
        assert caught.value.error_no == ErrorNo.INVALID_ID
    with pytest.raises(Refused, match="other parties"):
        answer_update(env, bob, update_with(putting(IDR, nth, id_role=IdRole.KMS.value)), anything)
    answer_update(env, bob, update_with(dropping(IDR)), anything)
    answer, _ = answer_update(env, bob, init.raw, anything)
    assert answer is not None
    forged = protect(
        *rewritten(answer, putting(IDR, 0, id_data=b"sip:eve@example.com")), Run(case).profile,
        update_keys(bob), init.raw,
    )  # fmt: skip
    with pytest.raises(Refused, match="other parties"):
        finish_update(env, waiting, init, forged.raw, anything)


@named(CASES[:1])
def test_keys_of_an_update(case: dict[str, Any]) -> None:
    """RFC 6043 5.2: a TGK is not forked, an MPK is none, and every stream has a key."""
    env = ticking(case)
    alice, bob = pair(case)
    tgk = new_key(KeyType.TGK, bytes(range(16)), None, b"tgk!")
    init, alice = update_init(env, alice, kemac_keys=[tgk])
    answer, bob = answer_update(env, bob, init.raw, anything)
    assert answer is not None
    alice = finish_update(env, alice, init, answer, anything)
    for session in (alice, bob):
        assert session.keys[0].key == tgk.key
        assert all(session.media_key(one).spi == b"tgk!" for one in session.crypto_sessions)
    mpk = new_key(KeyType.MPK, bytes(range(16)), None, b"mpk!")
    init, alice = update_init(env, alice, kemac_keys=[mpk])
    with pytest.raises(Refused, match="MPK"):
        answer_update(env, bob, init.raw, anything)
