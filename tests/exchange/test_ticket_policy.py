"""The Ticket Policy: flags, validity, and what may stand in it (RFC 6043 6.10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest

from mikeytool.exchange.environment import NS
from mikeytool.exchange.initiator import transfer_init
from mikeytool.exchange.responder import check_acceptable
from mikeytool.exchange.ticket_policy import TicketPolicy, wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import build_leading, leading_chain
from mikeytool.wire.payloads import IDR, KEMAC, TICKET, TP, TR, Chained, Payload
from mikeytool.wire.registry import (
    ErrorNo,
    IdRole,
    KeyType,
    TicketFlag,
    TsRole,
    TsType,
)
from mikeytool.wire.timestamp import Timestamp
from tests.world import (
    ALICE,
    BOB,
    FORKING,
    PLAIN,
    World,
    accept_all,
    putting,
    relaxed,
    unprotected,
)

F = TicketFlag
LETTERS = "DEFGHIJKLMNO"

# RFC 6043 6.10, word for word: "NOT D implies L, G implies F, NOT G implies H, NOT H implies
# G, I implies E, K implies D, and M implies F."
RULES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("not D implies L", lambda f: "D" in f or "L" in f),
    ("G implies F", lambda f: "G" not in f or "F" in f),
    ("not G implies H", lambda f: "G" in f or "H" in f),
    ("I implies E", lambda f: "I" not in f or "E" in f),
    ("K implies D", lambda f: "K" not in f or "D" in f),
    ("M implies F", lambda f: "M" not in f or "F" in f),
)
ONE_BROKEN = {
    "not D implies L": "EFGHIJNO",
    "G implies F": "DEGHJNO",
    "not G implies H": "DEFJNO",
    "I implies E": "DFGHIJNO",
    "K implies D": "EFGHJKLNO",
    "M implies F": "DEHJMNO",
}


def made(tp: TP, *inside: Payload) -> TP:
    """A TP or TICKET with other TP Data."""
    return relaxed(tp, tp_data=build_leading(inside))


def inside(tp: TP) -> list[Payload]:
    return [
        payload.copy(next_payload=None) if isinstance(payload, Chained) else payload
        for payload in leading_chain(tp.tp_data)
    ]


def test_every_combination_of_flags(world: World) -> None:
    """RFC 6043 6.10: 4096 of them, and which contradict themselves."""
    policy = world.policy()
    for count in range(len(LETTERS) + 1):
        for letters in map("".join, combinations(LETTERS, count)):
            good = all(holds(letters) for _, holds in RULES)
            asked = replace(policy, flags=F.from_letters(letters))
            if good:
                asked.check_flags()
                continue
            with pytest.raises(Refused) as caught:
                asked.check_flags()
            assert caught.value.error_no == ErrorNo.INVALID_TPPAR


@pytest.mark.parametrize("rule", ONE_BROKEN)
def test_each_rule_alone_is_held_by_every_role(world: World, rule: str) -> None:
    """RFC 6043 6.10, interpretation 21: neither written nor taken."""
    letters = ONE_BROKEN[rule]
    assert [name for name, holds in RULES if not holds(letters)] == [rule]
    flags = F.from_letters(letters)
    with pytest.raises(Refused) as caught:
        world.asked(world.policy(letters))
    assert caught.value.error_no == ErrorNo.INVALID_TPPAR
    held = world.held(PLAIN)
    broken = replace(held, policy=replace(held.policy, flags=flags))
    with pytest.raises(Refused) as caught:
        world.call(broken)
    assert caught.value.error_no == ErrorNo.INVALID_TPPAR
    raw = unprotected(world.call(held), putting(TICKET, flags=int(flags)))
    with pytest.raises(Refused) as caught:
        read_transfer_init(raw)
    assert caught.value.error_no == ErrorNo.INVALID_TPPAR


def test_forking_a_tgk_takes_an_answer(world: World) -> None:
    """RFC 6043 6.10: F SHALL be 1 with the I flag and a TGK in the ticket."""
    held = world.held(FORKING)
    half = replace(held, policy=replace(held.policy, flags=F.from_letters("DEHIJNO")))
    with pytest.raises(Refused, match="F flag"):
        world.call(half)
    granted = world.held("DEHIJNO")
    assert F.F in granted.policy.flags
    gtgk = world.held("DEHIJNO", keys=(wanted_key(KeyType.GTGK, 16, 0),))
    assert F.F not in gtgk.policy.flags
    world.call(gtgk)


@pytest.mark.parametrize("flag", [F.N, F.O])
def test_processing_beyond_the_rfc(world: World, flag: TicketFlag) -> None:
    """RFC 6043 6.10: N = 0 and O = 0 want what is not specified there."""
    held = world.held(PLAIN)
    without = replace(held, policy=replace(held.policy, flags=held.policy.flags & ~flag))
    if flag == F.N:
        with pytest.raises(Refused, match="N flag"):
            world.call(without)
        return
    init = world.call(held)
    flags = int(held.policy.flags & ~flag)
    read = read_transfer_init(unprotected(init, putting(TICKET, flags=flags)))
    with pytest.raises(Refused, match="O flag"):
        check_acceptable(world.env, read, accept_all)


@pytest.mark.parametrize(
    "form", [{"ticket_type": 7}, {"ticket_type": 2}, {"subtype": 2}, {"version": 2}]
)
def test_other_ticket_types(world: World, form: dict[str, int]) -> None:
    """RFC 6043 6.10: Subtype 1 and Version 1 are the MIKEY base ticket."""
    held = world.held(PLAIN)
    changed = replace(held.policy, **form)  # type: ignore[arg-type]
    with pytest.raises(Refused) as caught:
        world.call(replace(held, policy=changed))
    assert caught.value.error_no == ErrorNo.INVALID_TICKET
    read = read_transfer_init(unprotected(world.call(held), putting(TICKET, **form)))
    with pytest.raises(Refused) as caught:
        check_acceptable(world.env, read, accept_all)
    assert caught.value.error_no == ErrorNo.INVALID_TICKET


@pytest.mark.parametrize("end", ["valid_from", "valid_to"])
def test_a_validity_that_is_no_time(world: World, end: str) -> None:
    """Interpretation 20: COUNTER is refused there, by whoever acts on the ticket."""
    counter = Timestamp(TsType.COUNTER, b"\xff\xff\xff\xff")
    held = world.held(PLAIN)
    changed = (
        replace(held.policy, valid_from=counter)
        if end == "valid_from"
        else replace(held.policy, valid_to=counter)
    )
    with pytest.raises(Refused) as caught:
        world.call(replace(held, policy=changed))
    assert caught.value.error_no == ErrorNo.INVALID_TPPAR
    tp_data = changed.ticket(b"").tp_data
    read = read_transfer_init(unprotected(world.call(held), putting(TICKET, tp_data=tp_data)))
    with pytest.raises(Refused) as caught:
        check_acceptable(world.env, read, accept_all)
    assert caught.value.error_no == ErrorNo.INVALID_TPPAR


@pytest.mark.parametrize("ts_type", [TsType.NTP_UTC, TsType.NTP, TsType.NTP_UTC_32])
def test_validity_begins_and_ends_with_its_moments(world: World, ts_type: TsType) -> None:
    """Interpretation 20; RFC 6043 6.10: without TRs or TRe there is no beginning or no end."""
    now = world.clock.now
    start, end = Timestamp.at(now + 10 * NS, ts_type), Timestamp.at(now + 20 * NS, ts_type)
    policy = world.policy(valid_from=start, valid_to=end)
    for off, good in ((9, False), (11, True), (19, True), (21, False)):
        if good:
            policy.check_validity(now + off * NS)
            continue
        with pytest.raises(Refused) as caught:
            policy.check_validity(now + off * NS)
        assert caught.value.error_no == ErrorNo.INVALID_TICKET
    replace(policy, valid_from=None).check_validity(now - 1000 * NS)
    replace(policy, valid_to=None).check_validity(now + 10**9 * NS)


@pytest.mark.parametrize("ts_type", [TsType.NTP_UTC, TsType.NTP, TsType.COUNTER])
def test_a_rekeying_interval_of_another_type(world: World, ts_type: TsType) -> None:
    """RFC 6043 6.10: the TS Type of TRr SHALL be NTP-UTC-32."""
    tp = world.policy(rekey=60, keys=None).tp()
    assert TicketPolicy.of(tp).rekey == 60
    length = 4 if ts_type == TsType.COUNTER else 8
    other = TR(ts_role=TsRole.REKEY.value, ts_type=ts_type.value, ts_value=bytes(length))
    changed = [
        other if isinstance(one, TR) and one.ts_role == TsRole.REKEY else one for one in inside(tp)
    ]
    with pytest.raises(Refused) as caught:
        TicketPolicy.of(made(tp, *changed))
    assert caught.value.error_no == ErrorNo.INVALID_TPPAR


def test_what_stands_in_a_policy_once(world: World) -> None:
    """RFC 6043 6.10: [IDRkms], [IDRi], [TRs], [TRe], [TRr], [KEMAC]; {IDRapp} and (IDRr) may
    be several.
    """
    app = Identity.from_text("urn:app")
    tp = world.policy(rekey=60, apps=(app,)).tp()
    for payload in inside(tp):
        doubled = made(tp, *inside(tp), relaxed(payload))
        if isinstance(payload, IDR) and payload.id_role in (IdRole.APPLICATION, IdRole.RESPONDER):
            read = TicketPolicy.of(doubled)
            assert len(read.apps) + len(read.responders) == 3
            continue
        with pytest.raises(Refused) as caught:
            TicketPolicy.of(doubled)
        assert caught.value.error_no == ErrorNo.INVALID_TPPAR


def test_the_kemac_of_a_policy(world: World) -> None:
    """RFC 6043 6.10: NULL encryption and NULL MAC in a TP, none in a granted policy."""
    policy = world.policy()
    tp = policy.tp()
    kemac = next(one for one in inside(tp) if isinstance(one, KEMAC))
    rest = [one for one in inside(tp) if not isinstance(one, KEMAC)]
    for wrong in (
        relaxed(kemac, encr_alg=1),
        relaxed(kemac, mac_alg=1, mac=bytes(20)),
    ):
        with pytest.raises(Refused) as caught:
            TicketPolicy.of(made(tp, wrong, *rest))
        assert caught.value.error_no == ErrorNo.INVALID_TPPAR
    with pytest.raises(WireError):
        TicketPolicy.of(made(tp, relaxed(kemac, encr_data=b"junk"), *rest))
    ticket = relaxed(policy.ticket(b""), tp_data=tp.tp_data)
    with pytest.raises(Refused) as caught:
        TicketPolicy.of(ticket)
    assert caught.value.error_no == ErrorNo.INVALID_TPPAR


def test_applications(world: World) -> None:
    """RFC 6043 6.10: without IDRapp all applications are authorized, with some only those."""
    video, chat = Identity.from_text("urn:video"), Identity.from_text("urn:chat")
    free, bound = world.held(PLAIN), world.held(PLAIN, apps=(video,))
    for held, apps, good in (
        (free, (), True),
        (free, (chat,), True),
        (bound, (), False),
        (bound, (chat,), False),
        (bound, (video,), True),
        (bound, (chat, video), True),
    ):
        init = read_transfer_init(world.call(held))
        if good:
            check_acceptable(world.env, init, accept_all, apps)
            continue
        with pytest.raises(Refused) as caught:
            check_acceptable(world.env, init, accept_all, apps)
        assert caught.value.error_no == ErrorNo.INVALID_TPPAR


def test_a_ticket_for_nobody(world: World) -> None:
    """Interpretation 17: no IDRr in the policy is refused."""
    held = world.held(PLAIN)
    with pytest.raises(Refused, match="no responder"):
        transfer_init(
            world.env,
            replace(held, policy=replace(held.policy, responders=())),
            initiator=ALICE,
            responder=BOB,
            crypto_sessions=(),
            policies=(),
        )
