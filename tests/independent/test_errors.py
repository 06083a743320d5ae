"""What a KMS answers to a sender whose MAC or signature is right and whose message is not (5.4)."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import NamedTuple

import pytest

from tests.cli.shell import Shell
from tests.independent.rfc6043 import (
    ERR,
    GENERAL_EXT,
    I_ROLE,
    KEMAC,
    KMS_ROLE,
    R_ROLE,
    RANDR,
    TICKET,
    TP,
    TR,
    Chain,
    Parsed,
    T,
    V,
    check,
    idr,
    leading,
    message_protection,
    now,
    randr,
    read,
    t_payload,
    unchain,
)
from tests.independent.roles import Edit, Ticket
from tests.independent.test_interop import ALICE, BOB, KMS_ID, b64, initiator, kms, responder, unb64

__all__ = ["kms"]

ERROR = 6
OTHER_KMS = b"sip:kms.example.net"
FLAGS = "DEFGHIJNO"


class Case(NamedTuple):
    """What is changed in REQUEST_INIT, and the number of the error."""

    number: int
    edit: Edit | None = None
    edit_tp: Edit | None = None
    rand_size: int | None = None


def adding(*payloads: tuple[int, bytes], at: int = 1) -> Edit:
    return lambda chain: [*chain[:at], *payloads, *chain[at:]]


def without(kind: int) -> Edit:
    return lambda chain: [one for one in chain if one[0] != kind]


def changing(kind: int, content: bytes) -> Edit:
    return lambda chain: [(one[0], content if one[0] == kind else one[1]) for one in chain]


def cut(kind: int, octets: int = 3) -> Edit:
    """Take the last octets of TP Data; the length field is right, what is in it breaks off."""

    def edit(chain: Chain) -> Chain:
        made = []
        for number, content in chain:
            if number == kind:
                policy = Ticket.of(content + (bytes(4) if kind == TP else b""))
                short = policy.tp_data[:-octets]
                rest = content[9 + len(policy.tp_data) :]
                content = content[:7] + struct.pack("!H", len(short)) + short + rest
            made.append((number, content))
        return made

    return edit


def time_of_role(role: int, kind: int) -> tuple[int, bytes]:
    return TR, bytes([role, kind]) + now()[: 8 if kind < 2 else 4]


ENCRYPTED = struct.pack("!BH", 1, 16) + bytes(16) + b"\0"
WITH_MAC = struct.pack("!BH", 0, 0) + b"\1" + bytes(20)
CASES = {
    "TRr as NTP-UTC": Case(15, edit_tp=adding(time_of_role(4, 0))),
    "TRr as NTP": Case(15, edit_tp=adding(time_of_role(4, 1))),
    "TRr as COUNTER": Case(15, edit_tp=adding(time_of_role(4, 2))),
    "two TRr": Case(15, edit_tp=adding(time_of_role(4, 3), time_of_role(4, 3))),
    "two TRs": Case(15, edit_tp=adding(time_of_role(2, 3))),
    "two IDRkms": Case(7, adding(idr(KMS_ROLE, OTHER_KMS), at=2)),
    "two IDRkms, the same": Case(7, adding(idr(KMS_ROLE, KMS_ID), at=2)),
    "two IDRi": Case(7, adding(idr(I_ROLE, BOB), at=2)),
    "two IDRkms in TP Data": Case(15, edit_tp=adding(idr(KMS_ROLE, KMS_ID))),
    "two IDRi in TP Data": Case(15, edit_tp=adding(idr(I_ROLE, BOB))),
    "a long identity": Case(7, adding(idr(R_ROLE, b"sip:" + bytes(1021)))),
    "an encrypted KEMAC in TP": Case(15, edit_tp=changing(KEMAC, ENCRYPTED)),
    "a MAC in the KEMAC of TP": Case(15, edit_tp=changing(KEMAC, WITH_MAC)),
    "two KEMACs in TP": Case(15, edit_tp=adding((KEMAC, struct.pack("!BH", 0, 0) + b"\0"))),
    "cut TP Data": Case(15, cut(TP)),
    "TP Data with one octet less": Case(15, cut(TP, 1)),
    "an unknown payload in TP Data": Case(15, edit_tp=adding((200, bytes(9)))),
    "RANDRi of 8 octets": Case(12, rand_size=8),
    "RANDRi of 15 octets": Case(12, rand_size=15),
    "no RANDRi": Case(12, without(RANDR), rand_size=0),
    "an empty RANDRi": Case(12, rand_size=0),
    "two RANDRi": Case(12, adding(randr(I_ROLE, bytes(16)), at=2)),
    "no T": Case(12, without(T)),
    "two Ts": Case(12, adding(t_payload(now()))),
    "an old T": Case(1, changing(T, b"\0" + bytes(8))),
    "no TP": Case(12, without(TP)),
    "two TPs": Case(12, lambda chain: [*chain, next(one for one in chain if one[0] == TP)]),
    "V in the middle": Case(12, adding((V, b"\0"))),
    "an unknown payload": Case(12, adding((200, bytes(9)), at=3)),
    "ticket type 2": Case(14, lambda chain: [
        (kind, b"\0\2" + content[2:] if kind == TP else content) for kind, content in chain
    ]),
    "no responder": Case(15, edit_tp=lambda chain: chain[:-1]),
}  # fmt: skip


def refused(kms: Shell, message: bytes) -> Parsed:
    """The Error message to a message that the KMS refuses."""
    ran = kms.run(f"mikeytool kms handle kms.db {b64(message)}")
    assert ran.code == 1, ran.err
    assert "Traceback" not in ran.err
    answer = read(unb64(ran.out.strip()))
    asked = struct.unpack_from("!BBBBI", message)
    assert (answer.header.data_type, answer.header.prf) == (ERROR, asked[3] & 127)
    assert answer.header.csb_id == asked[4]
    return answer


def number_of(answer: Parsed) -> int:
    return answer.get(ERR)[0]


@pytest.mark.parametrize("profile", [128, 256])
@pytest.mark.parametrize("name", CASES)
def test_a_request_that_breaks_one_rule(kms: Shell, name: str, profile: int) -> None:
    """Interpretation 32: the number tells the reason as closely as numbers can."""
    case, alice = CASES[name], initiator(profile)
    alice.edit, alice.edit_tp = case.edit or alice.edit, case.edit_tp or alice.edit_tp
    alice.rand_size = case.rand_size
    message = alice.request_init(BOB, FLAGS)
    answer = refused(kms, message)
    assert number_of(answer) == case.number
    keys = message_protection(
        alice.suite, alice.psk, answer.header.csb_id, False, alice.sent_rand, b""
    )
    check(alice.suite, keys.auth, answer.raw)


RESOLVES = {
    "two IDRkms": Case(7, adding(idr(KMS_ROLE, OTHER_KMS), at=3)),
    "two IDRr": Case(7, adding(idr(R_ROLE, ALICE), at=3)),
    "RANDRr of 8 octets": Case(12, rand_size=8),
    "no TICKET": Case(14, without(TICKET)),
    "cut TP Data": Case(14, cut(TICKET)),
    "a KEMAC in TP Data": Case(15, lambda chain: rewritten(chain, (KEMAC, bytes(4)))),
    "TRr as NTP": Case(15, lambda chain: rewritten(chain, time_of_role(4, 1))),
    "another PRF": Case(3, lambda chain: [
        (kind, content[:4] + bytes([content[4] ^ 2]) + content[5:] if kind == TICKET else content)
        for kind, content in chain
    ]),
    "an unknown payload": Case(12, adding((200, bytes(9)), at=3)),
    "General Extensions are no fault": Case(-1, adding((GENERAL_EXT, bytes(3)), at=3)),
}  # fmt: skip


def rewritten(chain: Chain, more: tuple[int, bytes]) -> Chain:
    """With another payload at the beginning of TP Data of the TICKET."""
    made = []
    for kind, content in chain:
        if kind == TICKET:
            ticket = Ticket.of(content)
            inside = [more, *unchain(ticket.tp_data[0], ticket.tp_data[1:])]
            content = replace(ticket, tp_data=leading(inside)).content
        made.append((kind, content))
    return made


@pytest.mark.parametrize("name", RESOLVES)
def test_a_resolve_that_breaks_one_rule(kms: Shell, name: str) -> None:
    case, alice, bob = RESOLVES[name], initiator(128), responder(128)
    asked = alice.request_init(BOB, FLAGS)
    alice.request_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(asked)}")))
    bob.edit, bob.rand_size = case.edit or bob.edit, case.rand_size
    message = bob.receive(alice.transfer_init(BOB, [0x11111111, None]))
    if case.number < 0:
        kms.ok(f"mikeytool kms handle kms.db {b64(message)}")
        return
    answer = refused(kms, message)
    assert number_of(answer) == case.number
    keys = message_protection(bob.suite, bob.psk, answer.header.csb_id, False, b"", bob.sent_rand)
    check(bob.suite, keys.auth, answer.raw)


def test_each_is_in_the_log_of_the_kms(kms: Shell) -> None:
    """Every refusal of somebody known is."""
    alice = initiator(128)
    alice.edit_tp = CASES["cut TP Data"].edit_tp or alice.edit_tp
    alice.edit = CASES["cut TP Data"].edit or alice.edit
    refused(kms, alice.request_init(BOB, FLAGS))
    (entry,) = map(json.loads, kms.ok("mikeytool kms log kms.db --json").splitlines()[-1:])
    assert (entry["by"], entry["outcome"]) == (ALICE.decode(), "refused")


@pytest.mark.parametrize("name", CASES)
def test_who_is_not_proven_gets_no_answer(kms: Shell, name: str) -> None:
    """The same messages of somebody without the key: no answer, and nothing is remembered."""
    case, eve = CASES[name], initiator(128)
    eve.psk = bytes(16)
    eve.edit, eve.edit_tp = case.edit or eve.edit, case.edit_tp or eve.edit_tp
    eve.rand_size = case.rand_size
    ran = kms.run(f"mikeytool kms handle kms.db {b64(eve.request_init(BOB, FLAGS))}")
    assert (ran.code in (1, 3), ran.out) == (True, "")


def test_octets_behind_the_mac_prove_nothing(kms: Shell) -> None:
    message = initiator(128).request_init(BOB, FLAGS) + b"\0"
    kms.fails(f"mikeytool kms handle kms.db {b64(message)}", 3)
