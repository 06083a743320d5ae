"""A user's side of Ticket Transfer: the order of checks, what is remembered, who is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mikeytool.client.initiate import Media
from mikeytool.client.session_files import SessionFile
from mikeytool.client.ticket_files import TicketFile, read_ticket
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import DEFAULT_SKEW, NS
from mikeytool.exchange.error import ErrorReceived, error_message
from mikeytool.exchange.initiator import finish_transfer, transfer_init
from mikeytool.exchange.request import HeldTicket
from mikeytool.exchange.resolve import ResolvedTicket
from mikeytool.exchange.responder import transfer_resp, verify_transfer_init
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.exchange.transfer import TransferInit, read_transfer_init
from mikeytool.exchange.update_rules import update_keys
from mikeytool.wire.errors import MikeyError, Refused, StateError, UsageError, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import ERR, KEMAC, TICKET
from mikeytool.wire.registry import DataType, ErrorNo, KeyType
from tests.world import (
    ALICE,
    BOB,
    BOTH_WAYS,
    CAROL,
    FORKING,
    HALF_TRIP,
    PLAIN,
    POLICY,
    Counting,
    World,
    accept_all,
    putting,
    rewritten,
    rewritten_init,
    tek,
    untouched,
)

WITH_KEYS = "DEFGHJLMNO"
SINGLE = FORKING.replace("J", "")
SINGLE_PLAIN = PLAIN.replace("J", "")
SEND = (CsSpec(send=True, ssrc=0x11111111),)
BOSS = Identity.from_text("sip:boss@trusted.example")


def never(_init: TransferInit) -> ResolvedTicket:
    raise AssertionError("the KMS is asked")


def known(resolved: ResolvedTicket) -> Callable[[TransferInit], ResolvedTicket]:
    """A ticket that was resolved before, as `transfer respond --ticket` has it."""
    return lambda _init: resolved


def refused(world: World, init: bytes, *, told: bool, **how: Any) -> Refused:
    """Why a call is refused. No session file is left, and who may know is told why."""
    session = world.path()
    with pytest.raises(Refused) as caught:
        world.respond(init, session=session, **how)
    assert not session.exists()
    assert (caught.value.answer is not None) == told
    return caught.value


def believed(world: World, held: HeldTicket, init: bytes, refusal: Refused) -> ErrorReceived:
    """The Error message in a refusal as the caller reads it: its MAC verifies under MPKi."""
    assert refusal.answer is not None
    error = Message.parse(refusal.answer)
    assert error.header.data_type == DataType.ERROR
    assert error.header.csb_id == Message.parse(init).header.csb_id
    assert [one.error_no for one in error.all(ERR)] == [refusal.error_no]
    with pytest.raises(ErrorReceived) as caught:
        finish_transfer(world.env, held, read_transfer_init(init), refusal.answer, accept_all)
    assert caught.value.verified
    return caught.value


# --- replay -----------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [FORKING, PLAIN, HALF_TRIP])
def test_a_replay_is_refused_before_the_kms_is_asked(world: World, flags: str) -> None:
    """RFC 3830 5.4; RFC 6043 4.2.2.2: no needless signalling with the KMS."""
    init = world.call(world.held(flags))
    world.respond(init)
    assert "replay" in str(refused(world, init, told=False, resolve=never))


def test_a_window_that_ends_while_the_kms_is_asked(world: World) -> None:
    """Interpretation 30: what is forgotten is not accepted any more. While the KMS takes its
    time, the same call is answered elsewhere, its window ends, and the cache forgets it.
    """
    held = world.held(PLAIN)
    init = world.call(held)
    resolved = world.resolved(init)
    sent = read_transfer_init(init).incoming.t.unix_ns or 0

    def slow(_init: TransferInit) -> ResolvedTicket:
        world.respond(init, resolve=known(resolved))
        world.clock.now = sent + (DEFAULT_SKEW + 1) * NS
        world.respond(world.call(held))
        return resolved

    world.clock.now = sent + (DEFAULT_SKEW - 1) * NS
    refusal = refused(world, init, told=True, resolve=slow)
    assert refusal.error_no == ErrorNo.INVALID_TS


def test_a_clock_that_jumps_back(world: World) -> None:
    """Interpretation 30: it lets no old message in again."""
    held = world.held(PLAIN)
    init = world.call(held)
    resolved = world.resolved(init)
    world.respond(init)
    world.clock.now += 1000 * NS
    world.respond(world.call(held))  # the first is forgotten now
    world.clock.now -= 1000 * NS
    refusal = refused(world, init, told=True, resolve=known(resolved))
    assert refusal.error_no == ErrorNo.INVALID_TS


def test_what_follows_a_clock_that_was_ahead(world: World) -> None:
    """Interpretation 30: once it is right again, calls are taken again, each once."""
    held = world.held(PLAIN, valid_to=None)
    world.respond(world.call(held))
    there = world.clock.now
    world.clock.now += 20 * 3600 * NS
    world.respond(world.call(held))
    world.clock.now = there + 60 * NS
    init = world.call(held)
    world.respond(init)
    refused(world, init, told=False)


def test_counters_grow(world: World) -> None:
    """Interpretation 31: only larger than the last of that sender and key."""
    held, other = world.held(PLAIN), world.held(PLAIN)

    def call(ticket: HeldTicket, counter: int) -> bytes:
        return world.call(ticket, env=Counting(world.clock, os.urandom, counter=counter))

    first = call(held, 7)
    world.respond(first)
    for again in (first, call(held, 7), call(held, 6), call(held, 0)):
        refusal = refused(world, again, told=True)
        assert refusal.error_no == ErrorNo.INVALID_TS
    world.respond(call(held, 8))
    world.respond(call(other, 1))


def test_a_replay_under_another_session_name(world: World, tmp_path: Path) -> None:
    """A message seen before is refused whatever the SESSION."""
    init = world.call(world.held(PLAIN))
    world.respond(init, session=tmp_path / "one")
    for name in ("two", "three"):
        with pytest.raises(Refused, match="replay"):
            world.respond(init, session=tmp_path / name)
    with pytest.raises(StateError, match="exists already"):
        world.respond(world.call(world.held(PLAIN)), session=tmp_path / "one")


def test_a_stranger_leaves_nothing_behind(world: World) -> None:
    """What does not verify is not remembered: else a forger could block the real message."""
    held = world.held(PLAIN)
    init = world.call(held)
    tampered = init[:-1] + bytes([init[-1] ^ 1])
    assert "MAC" in str(refused(world, tampered, told=False))
    world.respond(init)


# --- refused after authentication -------------------------------------------------------------


def test_a_refused_call_is_remembered_and_told(world: World) -> None:
    """RFC 6043 5.4, interpretation 32: the Error message is under MPKi; and what was refused
    once must not come back when the reason has passed.
    """
    held = world.held(PLAIN)
    init = world.call(held, policies=[])  # and Bob has no policy either
    refusal = refused(world, init, told=True)
    assert believed(world, held, init, refusal).error_no == ErrorNo.INVALID_SPPAR
    world.clock.now += 240 * NS
    again = refused(world, init, told=False, resolve=never, media=Media(policies=[POLICY]))
    assert "replay" in str(again)


@pytest.mark.parametrize("flags", [WITH_KEYS, FORKING + "L"])
@pytest.mark.parametrize("content", [{"encr_data": b"\x99" * 40}, {"encr_alg": 0}, {"encr_alg": 3}])
def test_garbage_in_a_kemac_is_told(world: World, flags: str, content: dict[str, Any]) -> None:
    """RFC 6043 5.4: its MAC is good, so the sender is authenticated and is told."""
    held = world.held(flags)
    init = world.call(held, kemac_keys=[tek(b"tek!")])
    forged = rewritten_init(init, held, putting(KEMAC, **content))
    believed(world, held, forged, refused(world, forged, told=True))
    assert "replay" in str(refused(world, forged, told=False, resolve=never))


def test_remembered_before_anything_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong once the MAC is good, the message is not taken a second time."""
    init = world.call(world.held(WITH_KEYS), kemac_keys=[tek(b"tek!")])

    def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("mikeytool.client.respond.transfer_resp", breaks)
        with pytest.raises(ZeroDivisionError):
            world.respond(init)
    assert "replay" in str(refused(world, init, told=False, resolve=never))


@pytest.mark.parametrize(
    "media",
    [
        Media([CsSpec(send=True, cs_id=1, ssrc=5)], [POLICY]),
        Media([CsSpec(send=False)], [POLICY]),
        Media([CsSpec(send=True, roc=1)], [POLICY]),
        Media([CsSpec(send=True, protocol=7, ssrc=5)], [POLICY]),
        Media([CsSpec(send=True, cs_id=2, protocol=7)], [POLICY]),
        Media([CsSpec(send=True, cs_id=2, policies=(9,))], [POLICY]),
        Media([CsSpec(send=True, cs_id=3, policies=(9,))], [POLICY]),
    ],
    ids=[
        "another's",
        "receive",
        "ROC alone",
        "SSRC of another protocol",
        "another protocol",
        "no such policy",
        "no such policy of one's own",
    ],
)
def test_a_usage_error_does_not_burn_the_message(world: World, media: Media) -> None:
    """It is found before the KMS is asked, and the call is answered with the right options."""
    init = world.call(world.held(SINGLE_PLAIN), crypto_sessions=BOTH_WAYS)
    session = world.path()
    with pytest.raises(UsageError):
        world.respond(init, session=session, media=media, resolve=never)
    assert not session.exists()
    world.respond(init)


def test_nor_does_one_that_takes_the_ticket_to_find(world: World) -> None:
    init = world.call(world.held(PLAIN), crypto_sessions=BOTH_WAYS)
    with pytest.raises(UsageError, match="SPI"):
        world.respond(init, media=Media([CsSpec(send=True, cs_id=2, spi=b"none")], [POLICY]))
    world.respond(init)
    assert "replay" in str(refused(world, init, told=False, resolve=never))


def test_keys_without_leave_are_not_told_to_the_caller(world: World) -> None:
    """It is the responder's own mistake."""
    init = world.call(world.held(PLAIN))
    refused(world, init, told=False, media=Media(kemac_keys=[tek(b"tek!")]), resolve=never)
    world.respond(init)


def test_who_is_not_authenticated_is_not_told(world: World) -> None:
    """Interpretation 32: errors are sent when the other side was authenticated."""
    held = world.held(PLAIN)
    init = world.call(held)
    refused(world, init, told=False, accept_policy=lambda _: False, resolve=never)
    refused(world, init, told=False, accept_from=["sip:*@else.example"], resolve=never)
    refused(world, world.call(held, called=CAROL), told=False, by=CAROL)
    world.clock.now += 400 * NS
    refused(world, init, told=False, resolve=never)


def test_a_folder_that_is_not_there(world: World, tmp_path: Path) -> None:
    """Nothing is asked or remembered for a session that cannot be written."""
    init = world.call(world.held(PLAIN))
    with pytest.raises(StateError):
        world.respond(init, session=tmp_path / "nowhere" / "session", resolve=never)
    world.respond(init)


# --- single use -------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [SINGLE, SINGLE_PLAIN])
def test_a_ticket_for_one_use_comes_once(world: World, flags: str) -> None:
    """Interpretation 22: the responder remembers it, also if it does not ask the KMS."""
    held = world.held(flags)
    first, second, third = (world.call(held) for _ in range(3))
    resolved = world.resolved(first)
    world.respond(first, resolve=known(resolved))
    refusal = refused(world, second, told=True, resolve=known(resolved))
    assert refusal.error_no == ErrorNo.INVALID_TICKET
    assert "J flag" in str(refusal)
    assert "J flag" in str(refused(world, third, told=False))  # the KMS says so, too


def test_a_ticket_for_many_uses_comes_often(world: World) -> None:
    held = world.held(PLAIN)
    resolved = world.resolved(world.call(held))
    for _ in range(3):
        world.respond(world.call(held), resolve=known(resolved))


def test_the_initiator_uses_a_ticket_once(world: World) -> None:
    """Interpretation 22: with J = 0 the tool refuses a second use."""
    ticket = world.ticket_file(world.held(SINGLE))
    assert not read_ticket(ticket).used
    world.start(ticket)
    assert read_ticket(ticket).used
    session = world.path()
    with pytest.raises(Refused, match="J flag"):
        world.start(ticket, session=session)
    assert not session.exists()
    often = world.ticket_file(world.held(FORKING))
    for _ in range(3):
        world.start(often)


def test_a_use_that_goes_wrong_is_a_use(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpretation 22: the ticket is marked before anything that could get out is written."""
    ticket = world.ticket_file(world.held(SINGLE))

    def breaks(*_: object, **__: object) -> None:
        raise StateError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(SessionFile, "write", breaks)
        with pytest.raises(StateError, match="full"):
            world.start(ticket)
    with pytest.raises(Refused, match="J flag"):
        world.start(ticket)


def test_what_cannot_be_used_is_not_marked(world: World, tmp_path: Path) -> None:
    """A refusal before the message is made uses nothing up."""
    ticket = world.ticket_file(world.held(SINGLE))
    with pytest.raises(Refused):
        world.start(ticket, initiator=BOSS)
    with pytest.raises(StateError):
        world.start(ticket, session=tmp_path / "nowhere" / "session")
    with pytest.raises(StateError):
        world.start(ticket, session=ticket)
    assert not read_ticket(ticket).used
    world.start(ticket)


@pytest.mark.parametrize("flags", [SINGLE, SINGLE_PLAIN])
def test_two_uses_at_once(world: World, monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    """Interpretation 22: of two that begin together, one makes a call."""
    ticket = world.ticket_file(world.held(flags))
    together = threading.Barrier(2)

    def slow(*given: Any, **how: Any) -> TransferInit:
        made = transfer_init(*given, **how)
        with suppress(threading.BrokenBarrierError):
            together.wait(0.3)  # until both are here, which a lock prevents
        return made

    monkeypatch.setattr("mikeytool.client.initiate.transfer_init", slow)
    sessions = [world.path(), world.path()]

    def call(session: Path) -> bytes | None:
        try:
            return world.start(ticket, session=session)
        except Refused:
            return None

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(call, sessions))
    assert [one is None for one in made].count(True) == 1
    assert [session.exists() for session in sessions].count(True) == 1


def test_of_many_copies_of_a_call_one_is_answered(world: World) -> None:
    """RFC 3830 5.4: the replay cache decides, however close together they come."""
    init = world.call(world.held(PLAIN))
    resolved = world.resolved(init)
    sessions = [world.path() for _ in range(6)]
    together = threading.Barrier(len(sessions))

    def resolve(_init: TransferInit) -> ResolvedTicket:
        together.wait(10)
        return resolved

    def respond(session: Path) -> bool:
        try:
            world.respond(init, session=session, resolve=resolve)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(len(sessions)) as pool:
        assert sum(pool.map(respond, sessions)) == 1
    assert [session.exists() for session in sessions].count(True) == 1


# --- who --------------------------------------------------------------------------------------


def test_accept_from_holds_for_the_initiator_of_the_ticket_too(world: World) -> None:
    """Interpretation 18: without forking whoever may resolve a ticket, and so knows its MPK, can
    call in any name; the KMS vouches only for who requested the ticket.
    """
    held = world.held(PLAIN, responders=(BOB, CAROL))
    carols = world.resolved(world.call(held, called=CAROL), CAROL)
    posing = world.call(HeldTicket(held.ticket, held.policy, carols.keys), caller=BOSS)
    trusted = ["sip:*@trusted.example"]
    refused(world, posing, told=False, accept_from=trusted, resolve=never)
    refused(world, posing, told=False, accept_from=["sip:*@example.com"], resolve=never)
    both = [*trusted, "sip:alice@*"]
    _, session = world.respond(posing, accept_from=both)
    assert session.remote == BOSS


@pytest.mark.parametrize(
    ("patterns", "good"),
    [
        ([], True),
        (["sip:*@example.com"], True),
        (["sip:x", "sip:alice@example.com"], True),
        (["sip:*@Example.com"], False),
        (["alice"], False),
        (["sip:bob@*"], False),
        (["sip:?lice@example.com"], False),  # only * stands for anything, as at the KMS
        (["sip:[a-z]*@example.com"], False),
    ],
)
def test_accept_from(world: World, patterns: list[str], good: bool) -> None:
    for flags in (PLAIN, FORKING):
        init = world.call(world.held(flags))
        if good:
            world.respond(init, accept_from=patterns)
        else:
            refused(world, init, told=False, accept_from=patterns, resolve=never)


def resolved_file(world: World, flags: str, **changes: Any) -> Path:
    """The file of a ticket of Alice that Bob has resolved."""
    init = read_transfer_init(world.call(world.held(flags, **changes)))
    path = world.path()
    TicketFile.of_resolved(init.ticket, world.resolved(init), BOB).write(path, force=False)
    return path


def test_a_resolved_ticket_does_not_call_in_the_name_of_others(world: World) -> None:
    """Responders know MPKi: their ticket files must not make calls in the initiator's name."""
    path = resolved_file(world, PLAIN)
    with pytest.raises(Refused, match="resolved this ticket"):
        world.start(path, initiator=ALICE)


@pytest.mark.parametrize(("flags", "words"), [(FORKING, "key forking"), ("DEFHNO", "no J flag")])
def test_resolved_tickets_that_are_for_answering(world: World, flags: str, words: str) -> None:
    """RFC 6043 9.1, 5.3: with forking only who requested it calls; without J nobody again."""
    with pytest.raises(Refused, match=words):
        world.start(resolved_file(world, flags))


def test_a_responder_calls_the_next_of_a_group(world: World) -> None:
    """RFC 6043 9, decentralized, interpretation 18: B calls C with the ticket of A, as B."""
    path = resolved_file(world, "DEFHJNO", responders=(BOB, CAROL))
    init = world.start(path, called=CAROL)
    read = read_transfer_init(init)
    assert (read.initiator, read.policy.initiator) == (BOB, ALICE)
    _, session = world.answered(init, CAROL)
    assert (session.local, session.remote) == (CAROL, BOB)


def test_applications_are_held_by_both_ends(world: World) -> None:
    """RFC 6043 6.10: IDRapp."""
    video = Identity.from_text("urn:video")
    held = world.held(PLAIN, apps=(video,))
    ticket = world.ticket_file(held)
    with pytest.raises(Refused, match="application"):
        world.start(ticket)
    init = world.start(ticket, apps=[video])
    refused(world, init, told=False, resolve=never)
    world.respond(init, apps=[video])


# --- Initiator Data with a ticket resolved before ---------------------------------------------


def test_initiator_data_without_forking_and_a_ticket_at_hand(world: World) -> None:
    """Interpretation 19: the responder holds to it when no KMS does."""
    held = world.held(PLAIN)
    init = world.call(held)
    resolved = world.resolved(init)
    for data in (b"\0", b"junkjunk"):
        header, payloads = rewritten(init, putting(TICKET, initiator_data=data))
        v = Message.parse(init).payloads[-1]
        forged = Message(header, [*payloads, v]).build()
        refusal = refused(world, forged, told=False, resolve=known(resolved))
        assert refusal.error_no == ErrorNo.INVALID_TICKET
    world.respond(init, resolve=known(resolved))


def test_forking_without_initiator_data_and_a_ticket_at_hand(world: World) -> None:
    """Interpretation 19."""
    held = world.held(FORKING)
    init = world.call(held)
    resolved = world.resolved(init)
    bare = rewritten_init(init, held, untouched, signed=False)
    refusal = refused(world, bare, told=False, resolve=known(resolved))
    assert refusal.error_no == ErrorNo.INVALID_TICKET
    world.respond(init, resolve=known(resolved))


# --- streams ----------------------------------------------------------------------------------


def sessions_of(world: World, held: HeldTicket, ssrc: int | None) -> list[MikeyError | None]:
    """What comes of two calls with one ticket and one SSRC to send."""
    ticket = world.ticket_file(held)
    outcomes: list[MikeyError | None] = []
    for _ in range(2):
        session = world.path()
        init = world.start(ticket, [CsSpec(send=True, ssrc=ssrc)], session=session)
        try:
            answer, _ = world.respond(init)
            world.finish(answer or b"", session)
            outcomes.append(None)
        except MikeyError as error:
            outcomes.append(error)
    return outcomes


def test_one_ssrc_under_one_tek_in_two_sessions(world: World) -> None:
    """RFC 3711 9.1: a TEK from the ticket is the same in every session, so an SSRC that is
    sent twice would be encrypted twice with one key stream.
    """
    held = world.held(PLAIN, keys=(wanted_key(KeyType.TEK_SALT, 16, 14),))
    first, second = sessions_of(world, held, 0x11111111)
    assert first is None
    assert isinstance(second, Refused)
    assert "0x11111111" in str(second)
    assert sessions_of(world, held, None) == [None, None]


def test_one_ssrc_under_a_tgk_in_two_sessions(world: World) -> None:
    """A TGK gives every session a TEK of its own through its RANDs (5.1.3)."""
    assert sessions_of(world, world.held(PLAIN), 0x11111111) == [None, None]


def test_one_ssrc_under_one_tek_without_an_answer(world: World) -> None:
    """RFC 3711 9.1, F = 0: here the session is there with the call."""
    held = world.held(HALF_TRIP, keys=(wanted_key(KeyType.TEK_SALT, 16, 14),))
    ticket, spec = world.ticket_file(held), [CsSpec(send=True, ssrc=5)]
    world.start(ticket, spec)
    with pytest.raises(Refused, match="SSRC"):
        world.start(ticket, spec)
    world.start(ticket, [CsSpec(send=True, ssrc=6)])


def test_a_responder_sends_one_ssrc_under_one_tek_once(world: World) -> None:
    """RFC 3711 9.1: the caller is told, and the session is not written."""
    held = world.held(PLAIN, keys=(wanted_key(KeyType.TEK_SALT, 16, 14),))
    media = Media([CsSpec(send=True, ssrc=9)])
    world.respond(world.call(held, [CsSpec(send=False)]), media=media)
    init = world.call(held, [CsSpec(send=False)])
    believed(world, held, init, refused(world, init, told=True, media=media))


def test_a_repeated_answer_gives_no_second_session(world: World) -> None:
    """Responses are matched to the outstanding exchange (interpretation 30), which is over."""
    ticket, session, another = world.ticket_file(world.held(FORKING)), world.path(), world.path()
    init = world.start(ticket, session=session)
    answer, _ = world.respond(init)
    assert answer is not None
    world.finish(answer, session)
    before = session.read_bytes()
    with pytest.raises(Refused, match="has its answer"):
        world.finish(answer, session)
    with pytest.raises(Refused):
        world.finish(answer, session, another)
    assert session.read_bytes() == before
    assert not another.exists()


def test_a_second_answer_to_a_forked_call(world: World) -> None:
    """Interpretation 28: each is a result of its own."""
    ticket = world.ticket_file(world.held(FORKING, responders=(BOB, CAROL)))
    session, another = world.path(), world.path()
    init = world.start(ticket, session=session)
    answers = [_answer(world, init, who) for who in (BOB, CAROL)]
    assert world.finish(answers[0], session).remote == BOB
    with pytest.raises(Refused, match="--save-as"):
        world.finish(answers[1], session)
    second = world.finish(answers[1], session, another)
    assert second.remote == CAROL
    assert SessionFile.read(session).established.remote == BOB
    assert SessionFile.read(another).established.remote == CAROL


def _answer(world: World, init: bytes, who: Identity) -> bytes:
    read = read_transfer_init(init)
    verified = verify_transfer_init(read, world.resolved(init, who), who)
    answer, _ = transfer_resp(world.env, verified, accept_all, local=who)
    assert answer is not None
    return answer


def test_only_who_waits_takes_an_answer(world: World) -> None:
    session = world.path()
    init = world.call(world.held(PLAIN))
    answer, _ = world.respond(init, session=session)
    assert answer is not None
    with pytest.raises(Refused, match="does not wait"):
        world.finish(answer, session)
    with pytest.raises(StateError):
        world.finish(answer, world.path())


def test_an_error_ends_no_session(world: World) -> None:
    """Interpretation 32: after a hint that anybody can send, the real answer is still taken."""
    ticket, session = world.ticket_file(world.held(PLAIN)), world.path()
    init = world.start(ticket, session=session)
    answer, _ = world.respond(init)
    assert answer is not None
    before = session.read_bytes()
    for junk in (b"", b"junk", init, answer[:-1], answer[:-1] + bytes([answer[-1] ^ 1])):
        with pytest.raises((Refused, WireError)):
            world.finish(junk, session)
    assert session.read_bytes() == before
    assert world.finish(answer, session).remote == BOB


def test_both_ends_have_the_same_keys(world: World) -> None:
    for flags in (FORKING, PLAIN, HALF_TRIP):
        ticket, session, theirs = world.ticket_file(world.held(flags)), world.path(), world.path()
        sessions = BOTH_WAYS if "F" in flags else BOTH_WAYS[:1]
        init = world.start(ticket, sessions, session=session)
        answer, _ = world.respond(init, session=theirs)
        if answer is not None:
            world.finish(answer, session)
        ours, other = (SessionFile.read(one).established for one in (session, theirs))
        assert [ours.media_key(one) for one in ours.crypto_sessions] == [
            other.media_key(one) for one in other.crypto_sessions
        ]
        assert (ours.local, ours.remote) == (other.remote, other.local) == (ALICE, BOB)
        assert replace(ours, role=other.role).csb_id == other.csb_id


def test_a_file_in_the_way_of_another_answer_costs_nothing(world: World) -> None:
    """The answer can still be taken afterwards, into the session itself."""
    ticket = world.ticket_file(world.held(FORKING))
    session, busy = world.path(), world.path()
    answer, _ = world.respond(world.start(ticket, session=session))
    assert answer is not None
    busy.write_bytes(b"mine")
    with pytest.raises(StateError):
        world.finish(answer, session, busy)
    world.finish(answer, session)


def test_a_refused_second_use_is_remembered(world: World) -> None:
    """Interpretation 22: the KMS is not asked again for a message that was refused."""
    held = world.held(PLAIN.replace("J", ""))
    first, second = world.call(held), world.call(held)
    resolved = world.resolved(first)
    world.respond(first, resolve=lambda _: resolved)
    with pytest.raises(Refused, match="J flag"):
        world.respond(second, resolve=lambda _: resolved)
    with pytest.raises(Refused, match="replay"):
        world.respond(second, resolve=never)


# --- what a session file waits for ------------------------------------------------------------


def test_a_session_that_has_its_answer_takes_no_other(world: World) -> None:
    """Interpretation 28: one more answer to a forked call goes to another file."""
    held = world.held(FORKING, responders=(BOB, CAROL))
    session = world.path()
    init = world.start(world.ticket_file(held), session=session)
    answers = [world.answered(init, who)[0] for who in (BOB, CAROL)]
    first = world.finish(answers[0], session)
    before = session.read_bytes()
    for answer in answers:
        with pytest.raises(Refused, match="it has its answer"):
            world.finish(answer, session)
        assert session.read_bytes() == before
    second = world.path()
    assert world.finish(answers[1], session, second).keys != first.keys
    with pytest.raises(StateError, match="exists already"):
        world.finish(answers[1], session, second)
    assert session.read_bytes() == before


def test_an_error_message_about_ones_own_answer(world: World) -> None:
    """RFC 6043 5.4: it is believed only with a MAC under the keys of the answer."""
    path = world.path()
    answer, session = world.respond(world.call(world.held(FORKING)), session=path)
    header = Message.parse(answer or b"").header
    for keys, verified in ((update_keys(session), True), (None, False)):
        error = error_message(world.env, header, ErrorNo.INVALID_SP, keys)
        with pytest.raises(ErrorReceived) as caught:
            world.finish(error, path)
        assert caught.value.verified == verified


def test_a_session_that_waits_for_nothing(world: World) -> None:
    """The responder's session, and that of a call without the F flag."""
    held, answered = world.held(FORKING), world.path()
    init = world.call(held)
    answer, _ = world.respond(init, session=answered)
    with pytest.raises(Refused, match="does not wait"):
        world.finish(answer or b"", answered)
    session = world.path()
    world.start(world.ticket_file(world.held(HALF_TRIP)), session=session, crypto_sessions=SEND)
    with pytest.raises(Refused, match="does not wait"):
        world.finish(answer or b"", session)


def test_a_ticket_that_names_no_initiator_takes_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.ticket_file(world.held(PLAIN))
    found = read_ticket(path)
    nobodys = replace(found, policy=replace(found.policy, initiator=None))
    monkeypatch.setattr("mikeytool.client.initiate.read_ticket", lambda _path: nobodys)
    with pytest.raises(Refused, match="--as"):
        world.start(path)
    assert not read_ticket(path).used
