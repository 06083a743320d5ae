"""What a KMS keeps in memory between messages is never older than the last change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from mikeytool.exchange.request import accept_request_resp, read_request_init
from mikeytool.exchange.ticket import BaseTicket
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.kms.kms_policy import Rule
from mikeytool.kms.service import handle
from mikeytool.kms.store import memory
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import TicketFlag
from tests.support import TESTS
from tests.world import ALICE, BOB, CAROL, FORKING, PLAIN, World, psk_of

DESK = Identity.from_text("sip:desk@example.com")
DESKS = Identity.from_text("sip:desks@example.com")


class Node:
    """Another process that answers messages from the store of a world."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def says(self, message: bytes) -> str:
        """Its answer in hex, or why it refuses."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{message.hex()}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def answers(self, message: bytes) -> bool:
        said = self.says(message)
        assert said
        return not said.startswith("refused")


@contextmanager
def node(world: World) -> Iterator[Node]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.kms.answering", str(world.where)],
        cwd=TESTS.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Node(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


def resolving(world: World, by: Identity = BOB, **changes: Any) -> bytes:
    """RESOLVE_INIT for a new call."""
    call = read_transfer_init(world.call(world.held(PLAIN, **changes)))
    return world.resolving(call.ticket, by)


Change = Callable[[Store], object]

CHANGES: dict[str, tuple[Change, Change]] = {
    "disabled": (lambda s: s.enable(ALICE, False), lambda s: s.enable(ALICE, True)),
    "removed": (lambda s: s.remove_user(ALICE), lambda s: s.add_user(ALICE, psk_of(ALICE))),
    "another key": (lambda s: s.rekey(ALICE, b"n" * 32), lambda s: s.rekey(ALICE, psk_of(ALICE))),
    "a rule": (
        lambda s: s.add_rule(Rule(False, "sip:alice@*", "*")),
        lambda s: s.remove_rule("sip:alice@*", "*"),
    ),
    "key types": (
        lambda s: s.set_policy(key_types=("tek",)),
        lambda s: s.set_policy(key_types=("tgk", "tek")),
    ),
    "profiles": (
        lambda s: s.set_policy(profiles=(256,)),
        lambda s: s.set_policy(profiles=(128, 256)),
    ),
}


def test_the_next_message_after_a_change_by_another_process(world: World) -> None:
    """Each change counts for the very next message, and so does what undoes it."""
    with node(world) as other:
        assert other.answers(world.asked(world.policy()))
        for name, (change, undo) in CHANGES.items():
            change(world.store)
            assert not other.answers(world.asked(world.policy())), name
            assert not other.answers(world.asked(world.policy())), name
            undo(world.store)
            assert other.answers(world.asked(world.policy())), name


def test_who_resolves_after_a_change_by_another_process(world: World) -> None:
    with node(world) as other:
        assert other.answers(resolving(world))
        changes: list[tuple[Change, Change]] = [
            (lambda s: s.enable(BOB, False), lambda s: s.enable(BOB, True)),
            CHANGES["disabled"],
            (lambda s: s.rekey(BOB, b"n" * 32), lambda s: s.rekey(BOB, psk_of(BOB))),
        ]
        for change, undo in changes:
            message = resolving(world)
            change(world.store)
            assert not other.answers(message)
            undo(world.store)
            assert other.answers(resolving(world))
        # Whoever acts for another, or is in a group, may resolve only as long as that is so.
        world.store.add_members(DESKS, [CAROL])
        assert other.answers(resolving(world, CAROL, responders=(DESKS,)))
        message = resolving(world, CAROL, responders=(DESKS,))
        world.store.remove_members(DESKS, [CAROL])
        assert not other.answers(message)


def test_new_tickets_after_the_key_was_rotated_by_another_process(world: World) -> None:
    def key_of(said: str) -> str:
        granted = accept_request_resp(
            world.env, read_request_init(init), psk_of(ALICE), bytes.fromhex(said)
        )
        return str(BaseTicket.of(granted.held.ticket).tpk_id)

    with node(world) as other:
        for name in ("tpk-1", "tpk-2", "tpk-3"):
            if name != "tpk-1":
                world.store.add_tpk(Tpk(Identity.key_name(name), b"r" * 32))
            init = world.asked(world.policy())
            assert key_of(other.says(init)) == name
        # A ticket under a key that is removed is not resolved any more.
        message = resolving(world)
        world.store.add_tpk(Tpk(Identity.key_name("tpk-4"), b"r" * 32))
        world.store.remove_tpk(Identity.key_name("tpk-3"))
        assert not other.answers(message)


def test_the_validity_that_is_granted_follows_the_policy(world: World) -> None:
    with node(world) as other:
        for seconds in (60, 1200, 30):
            world.store.set_policy(max_validity=seconds)
            init = world.asked(world.policy())
            held = accept_request_resp(
                world.env,
                read_request_init(init),
                psk_of(ALICE),
                bytes.fromhex(other.says(init)),
            ).held
            assert held.policy.seconds is not None
            assert abs(held.policy.seconds - seconds) <= 1
            assert TicketFlag.K in held.policy.flags


def test_a_change_while_a_message_is_handled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction of the message finds it out, whatever was read before."""
    with closing(Store(world.where)) as operator:
        enter = Store.exchange
        for change, undo in CHANGES.values():
            assert handle(world.store, world.env, world.asked(world.policy())).refusal is None

            def overtaken(store: Store, change: Change = change) -> Any:
                monkeypatch.undo()
                change(operator)
                return enter(store)

            monkeypatch.setattr(Store, "exchange", overtaken)
            assert handle(world.store, world.env, world.asked(world.policy())).refusal is not None
            undo(operator)


def test_a_user_who_was_just_added_is_known(world: World) -> None:
    """Nobody is refused because of what the memory does not have."""
    new = Identity.from_text("sip:new@example.com")
    world.held()
    with closing(Store(world.where)) as operator:
        operator.add_user(new, b"n" * 32, psk_id=DESK)
        operator.add_user(DESKS, b"d" * 32, act_as=["sip:room*@example.com"])
    message = world.asked(world.policy(initiator=new), by=new)
    assert handle(world.store, world.env, message).refusal is not None  # of another key
    world.store.rekey(new, psk_of(new))
    message = world.asked(world.policy(initiator=new), by=new)
    assert handle(world.store, world.env, message).refusal is None


def test_a_store_that_is_replaced_is_not_taken_for_the_one_before(world: World) -> None:
    """Numbers are random: a new store has none that another one had."""
    numbers = set()
    for number in range(5):
        where = world.folder / f"store-{number}"
        with Store.init(where, ALICE, world.store.profile, Tpk(BOB, b"t" * 32)) as store:
            numbers.add(store.renewed().number)
    assert len(numbers - {0}) == 5


def test_the_memory_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither users nor strangers fill it, and all are answered as ever."""
    monkeypatch.setattr(memory, "MOST", 10)

    def count() -> int:
        known = world.store.memory.known
        assert known is not None
        return len(known._values)

    for who in (ALICE, BOB, CAROL) * 4:
        world.handled(world.asked(world.policy(FORKING, initiator=who), by=who))
        assert count() <= 10
    before = count()
    for number in range(20):
        stranger = Identity.from_text(f"sip:stranger{number}@example.com")
        message = world.asked(world.policy(initiator=stranger), by=stranger)
        assert handle(world.store, world.env, message).refusal is not None
    assert count() <= before + 1
