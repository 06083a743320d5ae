"""Ticket files and pending requests: what is in them comes back, and nothing breaks on what is
not theirs.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mikeytool.cli.exit_codes import EXIT_REFUSED, EXIT_STATE
from mikeytool.cli.main import run
from mikeytool.client.ticket_files import (
    Pending,
    TicketFile,
    find_ticket,
    parse_ticket_octets,
    read_ticket,
)
from mikeytool.exchange.environment import NS
from mikeytool.exchange.request import read_request_init
from mikeytool.exchange.resolve import read_resolve_init
from mikeytool.exchange.ticket import TicketKeys, ticket_octets
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.wire.errors import MikeyError, Refused, StateError, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import KeyType
from tests.world import ALICE, BOB, FORKING, KMS, PLAIN, World, psk_of

WRONG: tuple[Any, ...] = (
    *(None, 5, -1, 1.5, True),
    *("", "zz", "00", "ü"),
    *([], [1], ["00"], [[]], [{}]),
    *({}, {"a": 1}),
)
"""Values that some field of a state file may have in place of its own."""


def resolved_file(world: World, flags: str) -> Path:
    init = read_transfer_init(world.call(world.held(flags)))
    path = world.path()
    TicketFile.of_resolved(init.ticket, world.resolved(init), BOB).write(path, force=False)
    return path


def fields_of(content: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is a value in some JSON, the whole ones included."""
    found = [where] if where else []
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for name, value in items:
        found += (
            fields_of(value, (*where, name)) if isinstance(value, dict | list) else [(*where, name)]
        )
    return found


def broken_copies(content: dict[str, Any]) -> list[tuple[str, bytes]]:
    """A state file with every field missing, and of every wrong kind in turn."""
    copies = []
    for where in fields_of(content):
        for value in (..., *WRONG):
            copy = json.loads(json.dumps(content))
            inside = copy
            for name in where[:-1]:
                inside = inside[name]
            if value is ...:
                del inside[where[-1]]
            else:
                inside[where[-1]] = value
            name = f"{'.'.join(map(str, where))} = {value!r}"
            copies.append((name, json.dumps(copy).encode()))
    return copies


def values(keys: TicketKeys) -> list[tuple[int, bytes, bytes | None]]:
    return [(key.type, key.key, key.salt) for key in keys.sub_payloads()]


def spis(keys: TicketKeys) -> list[bytes | None]:
    """Those of the session keys; nobody names an MPK by its SPI."""
    return [key.spi for key in keys.keys]


@pytest.mark.parametrize("flags", [FORKING, PLAIN])
@pytest.mark.parametrize(
    "keys", [(), None, (wanted_key(KeyType.TEK_SALT, 16, 14), wanted_key(KeyType.TGK, 16, 0))]
)
def test_a_ticket_comes_back(world: World, flags: str, keys: tuple[KeyData, ...] | None) -> None:
    held = world.held(flags, keys=keys)
    path = world.ticket_file(held)
    read = read_ticket(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ticket_octets(read.ticket) == ticket_octets(held.ticket)
    assert read.policy == held.policy
    assert values(read.keys) == values(held.keys)
    assert spis(read.keys) == spis(held.keys)
    assert not read.used
    assert read.resolved_by is None


@pytest.mark.parametrize("flags", [FORKING, PLAIN])
def test_a_resolved_ticket_comes_back(world: World, flags: str) -> None:
    init = read_transfer_init(world.call(world.held(flags)))
    resolved = world.resolved(init)
    path = world.path()
    TicketFile.of_resolved(init.ticket, resolved, BOB).write(path, force=False)
    read = read_ticket(path)
    assert read.resolved_by == BOB
    assert read.resolved.modifier == resolved.modifier
    assert read.resolved.policy == resolved.policy
    assert read.ticket.initiator_data == init.ticket.initiator_data
    assert values(read.keys) == values(resolved.keys)
    assert spis(read.keys) == spis(resolved.keys)


@pytest.mark.parametrize("kind", ["initiator", "responder"])
@pytest.mark.parametrize("flags", [FORKING, PLAIN])
def test_broken_ticket_files(world: World, kind: str, flags: str) -> None:
    """They are told as such; whatever can be read is safe to use."""
    path = (
        world.ticket_file(world.held(flags)) if kind == "initiator" else resolved_file(world, flags)
    )
    for name, data in broken_copies(json.loads(path.read_bytes())):
        path.write_bytes(data)
        try:
            ticket = read_ticket(path)
        except (WireError, StateError):
            continue
        try:
            assert TicketFile.of_json(ticket.json()).policy == ticket.policy
            world.start(path)
        except MikeyError:
            pass
        except Exception as error:
            raise AssertionError(name) from error


def test_cut_ticket_files(world: World) -> None:
    path = world.ticket_file(world.held())
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(WireError):
            read_ticket(path)


def test_files_of_another_kind(world: World) -> None:
    ticket, session, pending = world.ticket_file(world.held()), world.path(), world.path()
    world.start(ticket, session=session)
    Pending(read_request_init(world.asked(world.policy())), psk_of(ALICE), KMS).write(
        pending, force=False
    )
    for path in (session, pending, world.store.path):
        with pytest.raises(WireError, match="no ticket file"):
            read_ticket(path)
    for path in (session, ticket):
        with pytest.raises(WireError, match="no pending request"):
            Pending.read(path)
    with pytest.raises(StateError):
        read_ticket(world.path())
    assert stat.S_IMODE(pending.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"junk",
        b'{"mikeytool":"ticket"}',
        b'{"mikeytool":"ticket","ticket":5}',
        b'{"mikeytool":"ticket","ticket":"00"}',
        b'{"mikeytool":"ticket","ticket":"zz"}',
        b'{"ticket":' * 50_000,
        b"[" * 50_000,
        b"\x01\x0e",
        bytes(1000),
        b"\xff" * 1000,
    ],
    ids=lambda data: data[:24].decode("latin-1"),
)
def test_no_ticket_is_found_in_what_has_none(data: bytes) -> None:
    assert find_ticket(data) is None


def test_a_ticket_is_found_in_every_form(world: World) -> None:
    """A TRANSFER_INIT, a TICKET payload or a ticket file."""
    held = world.held()
    init = world.call(held)
    octets = ticket_octets(held.ticket)
    for data in (init, octets, world.ticket_file(held).read_bytes()):
        found = find_ticket(data)
        assert found is not None
        assert ticket_octets(found) == octets
    assert find_ticket(init).initiator_data  # type: ignore[union-attr]
    for cut in range(len(octets)):
        with pytest.raises(WireError):
            parse_ticket_octets(octets[:cut])
    with pytest.raises(WireError):
        parse_ticket_octets(octets + b"\0")


# --- pending requests -------------------------------------------------------------------------


def test_broken_pending_files(world: World) -> None:
    path = world.path()
    init = world.asked(world.policy())
    answer = world.handled(init)
    Pending(read_request_init(init), psk_of(ALICE), KMS).write(path, force=False)
    for name, data in broken_copies(json.loads(path.read_bytes())):
        path.write_bytes(data)
        try:
            Pending.read(path).accept(world.env, answer)
        except MikeyError:
            pass
        except Exception as error:
            raise AssertionError(name) from error


def test_a_pending_request_takes_its_own_answer_only(world: World) -> None:
    one, other = (world.asked(world.policy()) for _ in range(2))
    pending = Pending(read_request_init(one), psk_of(ALICE), KMS)
    answer = world.handled(one)
    wrong = world.handled(other)
    with pytest.raises(Refused):
        pending.accept(world.env, wrong)
    ticket, differences = pending.accept(world.env, answer)
    assert not ticket.used
    assert list(differences) == []
    world.clock.now += 400 * NS
    with pytest.raises(Refused):
        pending.accept(world.env, answer)


def test_a_pending_resolve(world: World) -> None:
    init = world.call(world.held())
    asked = world.resolving(read_transfer_init(init).ticket)
    ticket, _ = Pending(read_resolve_init(asked), psk_of(BOB), KMS).accept(
        world.env, world.handled(asked)
    )
    assert ticket.resolved_by == BOB
    assert world.respond(init, resolve=lambda _: ticket.resolved)[0] is not None


@pytest.fixture
def accepting(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path, list[str]]:
    """A pending request, where its ticket shall go, and the command that takes its answer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIKEYTOOL_NOW", str(world.clock.now // NS))
    pending, ticket = tmp_path / "pending", tmp_path / "ticket"
    init = world.asked(world.policy("DEFGHINO"))
    Pending(read_request_init(init), psk_of(ALICE), KMS).write(pending, force=False)
    (tmp_path / "answer").write_bytes(world.handled(init))
    return pending, ticket, ["ticket", "accept", "answer", "--pending", str(pending), "--save"]


def test_an_answer_is_accepted_once(accepting: tuple[Path, Path, list[str]]) -> None:
    """Interpretation 22: a second ticket file would be a second use of a ticket for one."""
    pending, ticket, command = accepting
    assert run([*command, str(ticket)]) == 0
    assert not read_ticket(ticket).used
    assert not pending.exists()
    assert run([*command, f"{ticket}2"]) == EXIT_STATE
    assert run([*command, str(ticket), "--force"]) == EXIT_STATE
    assert not Path(f"{ticket}2").exists()


def test_what_is_not_accepted_is_still_pending(
    accepting: tuple[Path, Path, list[str]], tmp_path: Path
) -> None:
    """An answer that does not verify, or a file in the way, does not lose the request."""
    pending, ticket, command = accepting
    good = (tmp_path / "answer").read_bytes()
    (tmp_path / "answer").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert run([*command, str(ticket)]) == EXIT_REFUSED
    (tmp_path / "answer").write_bytes(good)
    ticket.write_bytes(b"mine")
    assert run([*command, str(ticket)]) == EXIT_STATE
    assert run([*command, str(tmp_path / "nowhere" / "ticket")]) == EXIT_STATE
    assert ticket.read_bytes() == b"mine"
    assert pending.exists()
    ticket.unlink()
    assert run([*command, str(ticket)]) == 0


def test_identities_come_back_octet_for_octet(world: World) -> None:
    """RFC 6043 6.5: a byte string need not be text."""
    odd = Identity(os.urandom(8) + b"\xff", 2)
    held = world.held(PLAIN, apps=(odd,))
    assert read_ticket(world.ticket_file(held)).policy.apps == (odd,)


def test_a_resolved_ticket_has_a_resolver(world: World) -> None:
    """A request without IDRr, which the KMS answers by the name of the key."""
    call = read_transfer_init(world.call(world.held(FORKING)))
    pending = Pending(read_resolve_init(world.resolving(call.ticket)), psk_of(BOB), KMS)
    answer = world.handled(pending.init.incoming.raw)
    assert pending.accept(world.env, answer)[0].resolved_by == BOB
    nameless = replace(pending, init=replace(pending.init, sender=None))
    with pytest.raises(MikeyError):
        nameless.accept(world.env, answer)
