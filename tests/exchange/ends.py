"""The two ends of Ticket Transfer, files and replay cache apart."""

from __future__ import annotations

from mikeytool.exchange.initiator import finish_transfer
from mikeytool.exchange.request import HeldTicket
from mikeytool.exchange.responder import check_acceptable, transfer_resp, verify_transfer_init
from mikeytool.exchange.session import Session
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import RANDR
from mikeytool.wire.registry import RandRole
from tests.world import (
    BOB,
    World,
    accept_all,
)

WITH_KEYS = "DEFGHJLMNO"
BOSS = Identity.from_text("sip:boss@trusted.example")


def respond(world: World, init: bytes, **how: object) -> tuple[bytes | None, Session]:
    """Everything that a responder does, files and replay cache apart."""
    read = read_transfer_init(init)
    check_acceptable(world.env, read, accept_all)
    verified = verify_transfer_init(read, world.resolved(init), BOB)
    return transfer_resp(world.env, verified, accept_all, local=BOB, **how)  # type: ignore[arg-type]


def finish(world: World, held: HeldTicket, init: bytes, answer: bytes) -> Session:
    return finish_transfer(world.env, held, read_transfer_init(init), answer, accept_all)


def rand_in(answer: bytes, role: RandRole) -> bytes:
    return next(p.rand for p in Message.parse(answer).all(RANDR) if p.rand_role == role)
