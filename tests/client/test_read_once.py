"""A message is read once on its way through the house, and so is a Ticket Policy."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mikeytool.cli.main import run
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import TICKET
from mikeytool.wire.registry import DataType
from tests.world import BOB, FORKING, PLAIN, Clock, World, psk_of


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[Any]:
    """How often each octet string was read as a message, and each TICKET for its policy."""
    found: Counter[Any] = Counter()
    tickets: list[TICKET] = []
    message, policy = Message.read.__func__, TicketPolicy.of.__func__  # type: ignore[attr-defined]

    def read_message(cls: type[Message], data: bytes) -> Message:
        found[data] += 1
        made: Message = message(cls, data)
        return made

    def read_policy(cls: type[TicketPolicy], payload: TICKET) -> TicketPolicy:
        tickets.append(payload)  # so that no other gets its id
        found[id(payload)] += 1
        made: TicketPolicy = policy(cls, payload)
        return made

    monkeypatch.setattr(Message, "read", classmethod(read_message))
    monkeypatch.setattr(TicketPolicy, "of", classmethod(read_policy))
    return found


@pytest.mark.parametrize("flags", [PLAIN, FORKING])
def test_transfer_respond_reads_everything_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Counter[Any], flags: str
) -> None:
    """The responder reads TRANSFER_INIT and RESOLVE_RESP, and the KMS RESOLVE_INIT."""
    monkeypatch.setenv("MIKEYTOOL_STATE", str(tmp_path / "state.sqlite"))
    with closing(World(tmp_path, Clock(time.time_ns()))) as world:
        init = world.call(world.held(flags))
    read.clear()
    run(["transfer", "respond", init.hex(), "--session", str(tmp_path / "bob.session"),
         "--as", str(BOB), "--psk", psk_of(BOB).hex(), "--kms", str(world.where)])  # fmt: skip
    kinds = [data[1] for data in read if isinstance(data, bytes)]
    assert kinds == [DataType.TRANSFER_INIT, DataType.RESOLVE_INIT_PSK, DataType.RESOLVE_RESP]
    assert len(read) == 5, "the responder and the KMS read the Ticket Policy, each in its message"
    assert set(read.values()) == {1}
