"""The KMS decides: who is answered, who is refused with which number, what is written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.error import ErrorReceived
from mikeytool.exchange.initiator import transfer_init
from mikeytool.exchange.profile import PROFILE_128, PROFILE_256, Profile
from mikeytool.exchange.request import (
    HeldTicket,
    accept_request_resp,
    read_request_init,
    request_init,
)
from mikeytool.exchange.resolve import accept_resolve_resp, read_resolve_init, resolve_init
from mikeytool.exchange.ticket_policy import TicketPolicy, wanted_key
from mikeytool.kms.service import handle
from mikeytool.kms.store.records import Handled
from mikeytool.kms.store.schema import TABLES
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.wire.errors import Refused, StateError, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import ERR, TICKET, KeyData, V
from mikeytool.wire.registry import ErrorNo, KeyType, TicketFlag, TsType
from mikeytool.wire.timestamp import Timestamp
from tests.support import message_t
from tests.world import World

F = TicketFlag
KMS = Identity.from_text("sip:kms.example.com")
ALICE = Identity.from_text("sip:alice@example.com")
BOB = Identity.from_text("sip:bob@example.com")
EVE = Identity.from_text("sip:eve@example.com")
KEYS = {ALICE: b"a" * 16, BOB: b"b" * 16, EVE: b"e" * 16}


class Clock:
    def __init__(self) -> None:
        self.now = time.time_ns()

    def __call__(self) -> int:
        self.now += 1_000_000  # no two messages are of the same moment
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def env(clock: Clock) -> Environment:
    import os

    return Environment(clock=clock, random=os.urandom)


@pytest.fixture
def store(world: World) -> Iterator[Store]:
    made = Store.init(
        world.where,
        KMS,
        PROFILE_256,
        Tpk(Identity.key_name("tpk-1"), b"t" * 32),
        how=world.how,
        force=True,
    )
    for who, key in KEYS.items():
        made.add_user(who, key, Identity.key_name(f"key of {who}"))
    yield made
    made.close()


def policy(env: Environment, **changes: object) -> TicketPolicy:
    now = env.clock()
    base = TicketPolicy(
        prf=PROFILE_128.prf,
        flags=F.from_letters("DEFGHIJNO"),
        responders=(BOB,),
        initiator=ALICE,
        valid_from=Timestamp.at(now, TsType.NTP_UTC_32),
        valid_to=Timestamp.at(now + 3600 * NS, TsType.NTP_UTC_32),
        keys=(wanted_key(KeyType.TGK, 16, 0),),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def ask(
    env: Environment,
    asked: TicketPolicy,
    *,
    by: Identity = ALICE,
    psk: bytes | None = None,
    psk_id: Identity | None = None,
    profile: Profile = PROFILE_128,
    kms: Identity = KMS,
) -> bytes:
    return request_init(
        env, profile, asked, initiator=by, kms=kms, psk=psk or KEYS[by], psk_id=psk_id
    ).raw


def granted(store: Store, env: Environment, asked: TicketPolicy, **how: object) -> HeldTicket:
    init = ask(env, asked, **how)  # type: ignore[arg-type]
    answer = handle(store, env, init).answer
    assert answer is not None
    return accept_request_resp(env, read_request_init(init), KEYS[ALICE], answer).held


def refused(handled: Handled, number: ErrorNo, *, told: bool = True) -> None:
    assert handled.refusal is not None
    assert handled.refusal.error_no == number, str(handled.refusal)
    assert (handled.answer is not None) == told
    if handled.answer is not None:
        error = Message.parse(handled.answer).find(ERR)
        assert error is not None
        assert error.error_no == number


def rows(store: Store, but: str | None = None) -> list[object]:
    """Everything that is written in a store, but for one table."""
    with store.snapshot() as db:
        return [
            db.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()
            for table, order in TABLES.items()
            if table != but
        ]


def spoilt(data: bytes) -> bytes:
    """The octets with another one at their end."""
    return data[:-1] + bytes([data[-1] ^ 1])


def call(env: Environment, held: HeldTicket) -> TICKET:
    """The ticket as a TRANSFER_INIT carries it, Initiator Data included."""
    raw = transfer_init(env, held, initiator=ALICE, responder=BOB, crypto_sessions=(), policies=())
    ticket = Message.parse(raw.raw).find(TICKET)
    assert ticket is not None
    return ticket


def resolve(env: Environment, ticket: TICKET, by: Identity = BOB) -> bytes:
    return resolve_init(env, PROFILE_128, ticket, responder=by, kms=KMS, psk=KEYS[by]).raw


def test_a_ticket_is_granted_and_resolved(store: Store, env: Environment) -> None:
    held = granted(store, env, policy(env))
    assert F.K not in held.policy.flags
    init = resolve(env, call(env, held))
    answer = handle(store, env, init).answer
    assert answer is not None
    resolved = accept_resolve_resp(env, read_resolve_init(init), KEYS[BOB], answer)
    assert resolved.keys.mpki.key == held.keys.mpki.key
    assert resolved.keys.mpkr is not None
    assert held.keys.mpkr is not None
    assert resolved.keys.mpkr.key != held.keys.mpkr.key
    assert resolved.responder == BOB


def test_every_key_has_an_spi_of_its_own(store: Store, env: Environment) -> None:
    asked = policy(env, keys=tuple(wanted_key(kind, 16, 14) for kind in KeyType if kind < 6))
    held = granted(store, env, asked)
    spis = [key.spi for key in held.keys.keys]
    assert len(set(spis)) == 6
    assert all(spi and len(spi) == 4 for spi in spis)
    assert [key.salt is not None for key in held.keys.keys] == [False, True] * 3


def test_without_kemac_one_tgk_and_with_an_empty_one_none(store: Store, env: Environment) -> None:
    assert [k.type for k in granted(store, env, policy(env, keys=None)).keys.keys] == [0]
    assert granted(store, env, policy(env, keys=())).keys.keys == ()


def test_unknown_senders_leave_no_trace(store: Store, env: Environment) -> None:
    asked = policy(env)
    stranger = Identity.from_text("sip:stranger@example.com")
    nobody = Identity.key_name("key of nobody")
    for init in (
        ask(env, asked, by=stranger, psk=b"x" * 16),
        ask(env, replace(asked, initiator=stranger), by=stranger, psk=b"x" * 16, psk_id=nobody),
    ):
        before = rows(store)
        refused(handle(store, env, init), ErrorNo.AUTH_FAILURE, told=False)
        refused(handle(store, env, init, send_errors=True), ErrorNo.AUTH_FAILURE)
        assert rows(store) == before
    assert list(store.log()) == []


def test_a_known_name_without_the_key_leaves_a_line_in_the_log(
    store: Store, env: Environment
) -> None:
    for init, why in (
        (ask(env, policy(env), psk=b"x" * 16), "the MAC of REQUEST_INIT_PSK is wrong"),
        (ask(env, policy(env), psk_id=Identity.key_name("nobody's")), "is not known"),
    ):
        before = rows(store, but="log")
        refused(handle(store, env, init), ErrorNo.AUTH_FAILURE, told=False)
        assert rows(store, but="log") == before
        entry = list(store.log())[-1]
        assert (entry.user, entry.outcome, entry.exchange) == (str(ALICE), "refused", "request")
        assert why in entry.reason
        assert entry.reason.endswith("; anyone may have sent it")


def test_a_user_with_the_name_of_another(store: Store, env: Environment) -> None:
    init = ask(env, policy(env), psk=KEYS[BOB], psk_id=Identity.key_name(f"key of {BOB}"))
    refused(handle(store, env, init), ErrorNo.AUTH_FAILURE)
    assert [entry.outcome for entry in store.log()] == ["refused"]


def test_an_error_to_a_stranger_has_no_mac(store: Store, env: Environment) -> None:
    init = ask(env, policy(env), psk=b"x" * 16)
    answer = handle(store, env, init, send_errors=True).answer
    assert answer is not None
    assert Message.parse(answer).find(V) is None
    with pytest.raises(ErrorReceived) as caught:
        accept_request_resp(env, read_request_init(init), b"x" * 16, answer)
    assert not caught.value.verified


def test_a_replay_is_refused_and_told(store: Store, env: Environment) -> None:
    init = ask(env, policy(env))
    assert handle(store, env, init).refusal is None
    again = handle(store, env, init)
    refused(again, ErrorNo.AUTH_FAILURE)
    with pytest.raises(ErrorReceived) as caught:
        accept_request_resp(env, read_request_init(init), KEYS[ALICE], again.answer or b"")
    assert caught.value.verified
    assert [entry.outcome for entry in store.log()] == ["answered", "refused"]


def test_old_and_early_messages_are_refused(store: Store, env: Environment, clock: Clock) -> None:
    init = ask(env, policy(env))
    for off in (-301, 301):
        clock.now += off * NS
        refused(handle(store, env, init), ErrorNo.INVALID_TS)
        clock.now -= off * NS
    clock.now += 299 * NS
    assert handle(store, env, init).refusal is None


def test_a_clock_that_jumps_back_lets_no_replay_in(
    store: Store, env: Environment, clock: Clock
) -> None:
    first = ask(env, policy(env))
    assert handle(store, env, first).refusal is None
    clock.now += 1000 * NS
    assert handle(store, env, ask(env, policy(env))).refusal is None  # first is forgotten now
    clock.now -= 1000 * NS
    refused(handle(store, env, first), ErrorNo.INVALID_TS)


def test_counters_must_grow(store: Store, env: Environment) -> None:
    def init(counter: int) -> bytes:
        class Counting(Environment):
            def timestamp(self, like: Timestamp | None = None) -> Timestamp:
                return Timestamp(TsType.COUNTER, counter.to_bytes(4))

        return ask(Counting(env.clock, env.random), policy(env))

    # Interpretation 42: answers and Error messages have the type of what they answer.
    answers = [handle(store, env, init(number)) for number in (7, 7, 6, 8)]
    for one in answers[1:3]:
        refused(one, ErrorNo.INVALID_TS)
    assert [one.refusal is None for one in answers] == [True, False, False, True]
    stamps = [message_t(one.answer or b"") for one in answers]
    assert [t.counter for t in stamps] == [7, 7, 6, 8]


@pytest.mark.parametrize(
    ("change", "number"),
    [
        (lambda env: {"responders": ()}, ErrorNo.INVALID_TPPAR),
        (lambda env: {"ticket_type": 7}, ErrorNo.INVALID_TICKET),
        (lambda env: {"version": 2}, ErrorNo.INVALID_TICKET),
        (lambda env: {"prf": PROFILE_256.prf}, ErrorNo.INVALID_PRF),
        (lambda env: {"kms": EVE}, ErrorNo.INVALID_TPPAR),
        (lambda env: {"valid_to": Timestamp.at(env.clock() - NS)}, ErrorNo.INVALID_TPPAR),
        (lambda env: {"valid_to": Timestamp(TsType.COUNTER, bytes(4))}, ErrorNo.INVALID_TPPAR),
        (lambda env: {"keys": (wanted_key(KeyType.TGK, 8, 0),)}, ErrorNo.INVALID_TPPAR),
        (lambda env: {"keys": (wanted_key(KeyType.TGK, 32, 0),)}, ErrorNo.INVALID_TPPAR),
        (lambda env: {"keys": (wanted_key(KeyType.MPK, 16, 0),)}, ErrorNo.INVALID_TPPAR),
        (
            lambda env: {"keys": (wanted_key(KeyType.TEK, 16, 0, b"\1"),) * 2},
            ErrorNo.INVALID_TPPAR,
        ),
        (lambda env: {"keys": (wanted_key(KeyType.TEK, 16, 0),) * 65}, ErrorNo.INVALID_TPPAR),
    ],
)
def test_what_nobody_is_granted(
    store: Store,
    env: Environment,
    change: Callable[[Environment], dict[str, object]],
    number: ErrorNo,
) -> None:
    refused(handle(store, env, ask(env, policy(env, **change(env)))), number)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("DEFGHIJNO", "DEFGHIJNO"),
        ("EFGHIJLNO", "DEFGHIJKLNO"),  # D = 0 is repaired
        ("DFGHJNO", "DEFGHJKNO"),  # nobody shares the TPK
    ],
)
def test_flags_are_repaired_and_k_says_so(
    store: Store, env: Environment, asked: str, given: str
) -> None:
    held = granted(store, env, policy(env, flags=F.from_letters(asked)))
    assert held.policy.flags.letters == given


def test_neither_g_nor_h_is_refused(store: Store, env: Environment) -> None:
    """request_init refuses to write it, so the octets are made another way."""
    asked = policy(env, flags=F.from_letters("DEJNO"))
    with pytest.raises(Refused):
        ask(env, asked)
    from mikeytool.kms.grant import repaired

    with pytest.raises(Refused):
        repaired(asked.flags, ())


def test_validity_is_cut_to_a_day(store: Store, env: Environment) -> None:
    week = Timestamp.at(env.clock() + 7 * 86400 * NS, TsType.NTP_UTC_32)
    held = granted(store, env, policy(env, valid_to=week))
    assert F.K in held.policy.flags
    assert held.policy.seconds is not None
    assert 86390 <= held.policy.seconds <= 86410
    forever = granted(store, env, policy(env, valid_to=None))
    assert forever.policy.valid_to is not None


def test_the_sender_is_the_initiator_of_the_ticket(store: Store, env: Environment) -> None:
    held = granted(store, env, policy(env, initiator=EVE))
    assert held.policy.initiator == ALICE
    assert F.K in held.policy.flags


def test_256_bits_need_a_kms_that_serves_them(tmp_path: Path, env: Environment) -> None:
    with pytest.raises(UsageError):
        Store.init(tmp_path / "a", KMS, PROFILE_256, Tpk(Identity.key_name("t"), b"t" * 16))
    tpk = Tpk(Identity.key_name("t"), b"t" * 16)
    with closing(Store.init(tmp_path / "b", KMS, PROFILE_128, tpk)) as small:
        small.add_user(ALICE, KEYS[ALICE])
        asked = policy(env, prf=PROFILE_256.prf)
        refused(handle(small, env, ask(env, asked, profile=PROFILE_256)), ErrorNo.INVALID_PRF)


@pytest.mark.parametrize(
    ("by", "spoil", "number"),
    [
        (EVE, lambda ticket: ticket, ErrorNo.UNSPECIFIED),
        (ALICE, lambda ticket: ticket, ErrorNo.UNSPECIFIED),
        (
            BOB,
            lambda t: t.copy(initiator_data=b"", initiator_data_length=None),
            ErrorNo.INVALID_TICKET,
        ),
        (
            BOB,
            lambda t: t.copy(initiator_data=spoilt(t.initiator_data)),
            ErrorNo.INVALID_TICKET,
        ),
        (BOB, lambda t: t.copy(ticket_data=spoilt(t.ticket_data)), ErrorNo.INVALID_TICKET),
        (BOB, lambda t: t.copy(flags=int(t.flags & ~F.J)), ErrorNo.INVALID_TICKET),
        (BOB, lambda t: t.copy(version=2), ErrorNo.INVALID_TICKET),
    ],
)
def test_what_is_not_resolved(
    store: Store,
    env: Environment,
    by: Identity,
    spoil: Callable[[TICKET], TICKET],
    number: ErrorNo,
) -> None:
    ticket = spoil(call(env, granted(store, env, policy(env))))
    refused(handle(store, env, resolve(env, ticket, by)), number)


def test_an_expired_ticket_is_not_resolved(store: Store, env: Environment, clock: Clock) -> None:
    ticket = call(env, granted(store, env, policy(env)))
    clock.now += 3700 * NS
    refused(handle(store, env, resolve(env, ticket)), ErrorNo.INVALID_TICKET)


def test_a_ticket_of_another_kms_is_not_resolved(
    store: Store, env: Environment, tmp_path: Path
) -> None:
    tpk = Tpk(Identity.key_name("tpk-9"), b"o" * 32)
    with closing(Store.init(tmp_path / "o", KMS, PROFILE_256, tpk)) as other:
        other.add_user(ALICE, KEYS[ALICE])
        ticket = call(env, granted(other, env, policy(env)))
    refused(handle(store, env, resolve(env, ticket)), ErrorNo.INVALID_TICKET)


def test_a_disabled_user_is_refused(store: Store, env: Environment) -> None:
    with store.transaction() as db:
        db.execute("UPDATE users SET enabled = 0 WHERE id = ?", (ALICE.data,))
    refused(handle(store, env, ask(env, policy(env))), ErrorNo.UNSPECIFIED)


def test_a_message_that_is_no_request(store: Store, env: Environment) -> None:
    held = granted(store, env, policy(env))
    raw = transfer_init(env, held, initiator=ALICE, responder=BOB, crypto_sessions=(), policies=())
    refused(handle(store, env, raw.raw), ErrorNo.INVALID_DT, told=False)


def test_users_and_keys_are_checked(store: Store) -> None:
    with pytest.raises(StateError, match="exists already"):
        store.add_user(ALICE, b"z" * 16)
    with pytest.raises(UsageError, match="at least 16"):
        store.add_user(Identity.from_text("sip:new@example.com"), b"short")


def test_no_key_shows_in_a_representation(store: Store, env: Environment) -> None:
    held = granted(store, env, policy(env))
    shown = repr(held) + repr(store.users()) + repr(store.tpk())
    keys: list[KeyData] = held.keys.sub_payloads()
    for secret in (*KEYS.values(), *(key.key for key in keys)):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
