"""Tickets that a responder has resolved before, Error messages on request, answers that are
not lost (RFC 6043 5.3, 5.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mikeytool.client import state as client_state
from mikeytool.client.initiate import Media
from mikeytool.client.resolvers import Resolve, with_ticket_file
from mikeytool.client.respond import Callee, answer_call, answer_message, answer_session_update
from mikeytool.client.state import MAX_KEPT, open_state
from mikeytool.client.ticket_files import TicketFile
from mikeytool.exchange.environment import NS
from mikeytool.exchange.error import ErrorReceived, error_message
from mikeytool.exchange.initiator import finish_transfer
from mikeytool.exchange.resolve import ResolvedTicket
from mikeytool.exchange.transfer import TransferInit, read_transfer_init
from mikeytool.exchange.update import update_init
from mikeytool.storage.private_files import staged
from mikeytool.wire.errors import Refused, StateError, UsageError
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import SP, V
from mikeytool.wire.registry import DataType, ErrorNo
from tests.world import BOB, CAROL, EVE, FORKING, PLAIN, POLICY, World, accept_all, psk_of, tek

SINGLE = PLAIN.replace("J", "")
HOUR = 3600 * NS


class Kms:
    """Resolves tickets for Bob and counts how often it is asked."""

    def __init__(self, world: World) -> None:
        self.world, self.asked = world, 0

    def __call__(self, init: TransferInit) -> ResolvedTicket:
        self.asked += 1
        return self.world.resolved(init)


@pytest.fixture
def kms(world: World) -> Kms:
    return Kms(world)


def callee(resolve: Resolve | None, **how: Any) -> Callee:
    how.setdefault("caches", True)
    return Callee(how.pop("by", BOB), resolve, how.pop("accept_policy", accept_all), **how)


def answer(world: World, init: bytes, resolve: Resolve | None, **how: Any) -> bytes:
    made, _ = answer_call(
        world.env,
        read_transfer_init(init),
        world.path(),
        callee(resolve, **how),
        Media(),
        force=False,
    )
    assert made is not None
    return made


def kept(world: World) -> int:
    with closing(open_state()) as state, state.transaction() as db:
        count: int = db.execute("SELECT count(*) FROM resolved").fetchone()[0]
    return count


# --- tickets resolved before (5.3, interpretation 22) ------------------------------------------


def test_a_ticket_that_was_resolved_is_not_resolved_again(world: World, kms: Kms) -> None:
    """RFC 6043 5.3, interpretation 22."""
    held = world.held(PLAIN)
    answer(world, world.call(held), kms)
    for _ in range(2):
        init = world.call(held)
        made = answer(world, init, kms)
        finish_transfer(world.env, held, read_transfer_init(init), made, accept_all)
    answer(world, world.call(held), None)
    assert kms.asked == 1
    answer(world, world.call(world.held(PLAIN)), kms)
    assert kms.asked == 2


def test_with_forking_every_call_is_resolved(world: World, kms: Kms) -> None:
    """Interpretation 22: the KMS alone can check Vr, and the modifier is new."""
    held = world.held(FORKING)
    for times in (1, 2):
        answer(world, world.call(held), kms)
        assert kms.asked == times
    assert kept(world) == 0


def test_a_ticket_resolved_in_two_steps_is_at_hand(world: World) -> None:
    """RFC 6043 5.3: the same modifier is used; for the message that it was resolved for."""
    held = world.held(FORKING)
    init = world.call(held)
    read = read_transfer_init(init)
    resolved = world.resolved(read)
    with closing(open_state()) as state:
        state.keep(world.env, TicketFile.of_resolved(read.ticket, resolved, BOB))
    session = finish_transfer(
        world.env, held, read_transfer_init(init), answer(world, init, None), accept_all
    )
    assert resolved.keys.mpkr is not None
    assert session.mpk == resolved.keys.mpkr.key
    with pytest.raises(UsageError, match="not resolved before"):
        answer(world, world.call(held), None)


def test_a_ticket_for_one_use_is_not_kept(world: World, kms: Kms) -> None:
    """RFC 6043 6.10: only with the J flag it MAY be cached."""
    answer(world, world.call(world.held(SINGLE)), kms)
    assert kept(world) == 0


def test_what_others_resolved_is_not_ones_own(world: World, kms: Kms) -> None:
    held = world.held(PLAIN, responders=(BOB, CAROL))
    answer(world, world.call(held), kms)
    with pytest.raises(UsageError):
        answer(world, world.call(held, called=CAROL), None, by=CAROL)


def test_without_leave_the_kms_is_asked(world: World, kms: Kms) -> None:
    """As with `--ticket` and `--tpk`."""
    held = world.held(PLAIN)
    for times in (1, 2):
        answer(world, world.call(held), kms, caches=False)
        assert kms.asked == times
    assert kept(world) == 0


def test_a_forged_call_leaves_nothing(world: World, kms: Kms) -> None:
    """Nothing is kept before the message has verified with what the KMS gave."""
    init = bytearray(world.call(world.held(PLAIN)))
    init[-1] ^= 1
    with pytest.raises(Refused, match="MAC"):
        answer(world, bytes(init), kms)
    assert kept(world) == 0


def test_what_has_ended_is_forgotten(world: World, kms: Kms) -> None:
    """Interpretation 20: validity is checked each time; what is over is pruned."""
    held = world.held(PLAIN)  # for an hour
    answer(world, world.call(held), kms)
    late = world.call(held)
    world.clock.now += 2 * HOUR
    with pytest.raises(Refused, match="expired"):
        answer(world, late, None)
    answer(world, world.call(world.held(PLAIN)), kms)
    assert kept(world) == 1


def test_a_ticket_without_end_is_resolved_again_after_a_day(world: World, kms: Kms) -> None:
    init = read_transfer_init(world.call(world.held(PLAIN)))
    found = TicketFile.of_resolved(init.ticket, world.resolved(init), BOB)
    with closing(open_state()) as state:
        endless = world.policy(PLAIN, valid_to=None)
        state.keep(world.env, replace(found, policy=endless))
        assert state.resolved(world.env, init.ticket, BOB) is not None
        world.clock.now += MAX_KEPT
        assert state.resolved(world.env, init.ticket, BOB) is None


def test_only_so_many_are_kept(world: World, kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_state, "MAX_RESOLVED", 3)
    for _ in range(5):
        answer(world, world.call(world.held(PLAIN)), kms)
    assert kept(world) == 3


# --- Error messages (5.4, interpretation 32) ---------------------------------------------------


def refusal(world: World, init: bytes, **how: Any) -> Refused:
    supported = how.pop("supported", ())
    with pytest.raises(Refused) as caught:
        answer_call(
            world.env,
            read_transfer_init(init),
            world.path(),
            callee(how.pop("resolve", world.resolved), **how),
            Media(supported=supported),
            force=False,
        )
    return caught.value


def none_of_them(_policy: SP) -> bool:
    return False


def test_an_early_reject_asks_no_kms(world: World) -> None:
    """RFC 6043 4.2.2.2, interpretation 32: nobody is told who was not authenticated."""
    init = world.call(world.held())

    def never(_init: TransferInit) -> ResolvedTicket:
        raise AssertionError("the KMS is asked")

    for how, error_no in (
        ({"accept_policy": none_of_them}, ErrorNo.INVALID_SPPAR),
        ({"accept_from": ["sip:nobody@*"]}, ErrorNo.UNSPECIFIED),
    ):
        refused = refusal(world, init, resolve=never, **how)
        assert (refused.error_no, refused.answer) == (error_no, None)


def test_errors_on_request_have_no_mac_and_name_what_is_supported(world: World) -> None:
    """RFC 6043 5.4, interpretation 32: when policies are refused, those that are supported."""
    held = world.held()
    init = world.call(held)
    refused = refusal(
        world, init, accept_policy=none_of_them, sends_errors=True, supported=[POLICY]
    )
    assert refused.answer is not None
    error = Message.parse(refused.answer)
    assert error.header.data_type == DataType.ERROR
    assert error.find(V) is None
    with pytest.raises(ErrorReceived) as caught:
        finish_transfer(world.env, held, read_transfer_init(init), refused.answer, accept_all)
    assert (caught.value.error_no, caught.value.verified) == (ErrorNo.INVALID_SPPAR, False)
    (named,) = caught.value.supported
    assert [(one.type, one.value) for one in named.policy_param] == [
        (one.type, one.value) for one in POLICY.policy_param
    ]


def test_policies_are_named_only_when_they_are_refused(world: World) -> None:
    refused = refusal(
        world, world.call(world.held()), accept_from=["x"], sends_errors=True, supported=[POLICY]
    )
    assert refused.answer is not None
    assert Message.parse(refused.answer).all(SP) == []


def test_what_the_kms_refuses_is_passed_on(world: World) -> None:
    """Eve may not resolve it: the caller learns the number alone."""
    init = world.call(world.held())
    refused = refusal(
        world, init, by=EVE, resolve=lambda read: world.resolved(read, EVE), sends_errors=True
    )
    assert refused.error_no == ErrorNo.UNSPECIFIED
    assert refused.answer is not None
    assert psk_of(EVE) not in refused.answer


# --- the answer and the session (write order) --------------------------------------------------


def test_an_answer_that_cannot_be_written_leaves_no_session(world: World, tmp_path: Path) -> None:
    """It is on disk before the session is: what a session says was sent can be sent."""
    init = read_transfer_init(world.call(world.held()))
    session, missing = world.path(), tmp_path / "gone" / "answer"
    with pytest.raises(StateError, match="gone"):
        answer_call(
            world.env, init, session, callee(world.resolved), Media(), force=False,
            stage=lambda message: staged(missing, message),
        )  # fmt: skip
    assert not session.exists()


def test_an_answer_is_not_there_without_its_session(world: World, tmp_path: Path) -> None:
    out = tmp_path / "answer"
    out.write_bytes(b"before")
    with suppress(ZeroDivisionError), staged(out, b"after"):
        raise ZeroDivisionError
    assert out.read_bytes() == b"before"
    with staged(out, b"after"):
        assert out.read_bytes() == b"before"
    assert out.read_bytes() == b"after"
    assert {path.name for path in tmp_path.iterdir() if "answer" in path.name} == {"answer"}


def test_errors_for_what_cannot_be_read_are_made_on_request(world: World) -> None:
    """Interpretation 32: never in answer to an Error message."""
    init = world.call(world.held(FORKING))
    granted = world.answered(init)[0]
    error = error_message(world.env, Message.parse(init).header, ErrorNo.UNSPECIFIED, None)

    def refused(message: bytes, *, sends_errors: bool) -> Refused:
        with pytest.raises(Refused) as caught:
            answer_message(
                world.env, message, world.path(), callee=lambda: callee(None),
                call_media=lambda _policy: Media(), update_policy=accept_all,
                update_media=lambda _session: Media(), sends_errors=sends_errors,
            )  # fmt: skip
        return caught.value

    assert refused(granted, sends_errors=True).answer is not None
    assert refused(granted, sends_errors=False).answer is None
    assert refused(error, sends_errors=True).answer is None


def test_a_ticket_file_is_for_one_call_with_forking(world: World, tmp_path: Path) -> None:
    for flags, good in ((FORKING, False), (PLAIN, True)):
        held = world.held(flags)
        first, second = world.call(held), world.call(held)
        path = tmp_path / flags
        resolved = world.resolved(first)
        kept = TicketFile.of_resolved(read_transfer_init(first).ticket, resolved, BOB)
        kept.write(path, force=False)
        resolve = with_ticket_file(path, BOB)
        assert resolve(read_transfer_init(first)).keys.mpki.key == resolved.keys.mpki.key
        if good:
            assert resolve(read_transfer_init(second)).keys.mpki.key == resolved.keys.mpki.key
        else:
            with pytest.raises(Refused, match="for another TRANSFER_INIT"):
                resolve(read_transfer_init(second))
        with pytest.raises(Refused, match="another ticket"):
            resolve(read_transfer_init(world.call(world.held(flags))))
        with pytest.raises(Refused, match="resolved this ticket, not"):
            with_ticket_file(path, CAROL)
    with pytest.raises(Refused, match="is for calling"):
        with_ticket_file(world.ticket_file(held), BOB)(read_transfer_init(first))


def test_the_answer_to_an_update_is_handed_out_before_the_session_is_written(
    world: World, tmp_path: Path
) -> None:
    path, held = tmp_path / "session", world.held(FORKING + "L")
    init = world.call(held)
    answered, _ = world.respond(init, session=path)
    caller = finish_transfer(world.env, held, read_transfer_init(init), answered or b"", accept_all)
    update, _ = update_init(world.env, caller, kemac_keys=[tek(b"new!")])
    before = path.read_bytes()

    @contextmanager
    def stage(message: bytes) -> Iterator[None]:
        assert Message.parse(message).header.data_type == DataType.TRANSFER_RESP
        assert path.read_bytes() == before
        raise StateError("it cannot be handed out")
        yield

    with pytest.raises(StateError, match="handed out"):
        answer_session_update(
            world.env, update, path, accept_policy=accept_all, media=lambda _session: Media(),
            stage=stage,
        )  # fmt: skip
    assert path.read_bytes() == before
