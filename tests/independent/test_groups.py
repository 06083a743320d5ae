"""Who answers: a member of a group, anyone a pattern admits (RFC 6043 4.2.2.3, 5.5).

The second implementation answers or calls; `transfer finish` says what proves who answered.
"""

from __future__ import annotations

import json

import pytest

from tests.cli.shell import Shell
from tests.independent.bundle import Bundle, ntp
from tests.independent.rfc6043 import I_ROLE, R_ROLE
from tests.independent.roles import Responder
from tests.independent.test_interop import (
    ALICE,
    BOB,
    NAMES,
    PSKS,
    as_user,
    b64,
    cs,
    initiator,
    kms,
    media_of,
    responder,
    unb64,
)
from tests.independent.test_updates import rekeyed

__all__ = ["kms"]

TEAM = b"sip:team@example.com"
FORKING, PLAIN = "DEFGHIJLMNO", "DEFGHJLMNO"
PROOFS = {FORKING: ("MPKr'", "MPKr' proves"), PLAIN: ("KMS", "only the KMS vouches")}


@pytest.fixture
def team(kms: Shell) -> Shell:
    """The KMS with a group of which Bob is a member."""
    kms.ok(f"mikeytool kms group add kms.db {TEAM.decode()} {BOB.decode()}")
    return kms


def called(kms: Shell, flags: str, to: bytes) -> Responder:
    """Bob with the keys of a ticket with which the tool's Alice calls `to`."""
    kms.ok(
        f"mikeytool ticket request {as_user(ALICE)} --to {to.decode()}"
        f" --kms kms.db --save alice.ticket --flags {flags}"
    )
    init = kms.ok(
        f"mikeytool transfer init --ticket alice.ticket --to {to.decode()} {cs(flags)}"
        " --session alice.session"
    )
    bob = responder(128)
    bob.resolve_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(bob.receive(unb64(init)))}")))
    return bob


@pytest.mark.parametrize("flags", [FORKING, PLAIN])
def test_a_member_answers_as_themselves(team: Shell, flags: str) -> None:
    """Interpretation 43: IDRr may differ from the one called, with key forking and without."""
    bob = called(team, flags, TEAM)
    if "I" not in flags:
        assert not bob.named
        bob.named = BOB
    answer, media = bob.transfer_resp(0x22222222)
    ran = team.run(f"mikeytool transfer finish {b64(answer)} --session alice.session")
    assert ran.code == 0, ran.err
    who = bob.named.decode()
    assert f"session with {who} is set up" in ran.err
    assert PROOFS[flags][1] in ran.err
    shown = json.loads(team.ok("mikeytool transfer show alice.session --json"))
    assert (shown["remote"], shown["remote_proof"]) == (who, PROOFS[flags][0])
    assert media_of(team, "alice.session") == media
    # Updates have the identity of the one who answered.
    bundle = Bundle.of_responder(bob, answer)
    rekeyed(team, bundle, "alice.session", ntp(), 1)
    update = unb64(team.ok("mikeytool transfer update --session alice.session --kemac tek+salt"))
    raw = bundle.answer(update, ntp(seconds=1), list(bundle.sessions.values()))
    team.ok(f"mikeytool transfer finish {b64(raw)} --session alice.session")


@pytest.mark.parametrize("name", [BOB, TEAM, b"sip:anyone@example.org", b""])
def test_any_name_without_forking(team: Shell, name: bytes) -> None:
    """It proves nothing, and is told as that; without IDRr it is the one who was called."""
    bob = called(team, PLAIN, TEAM)
    bob.named = name or TEAM
    answer, _ = bob.transfer_resp(0x22222222)
    ran = team.run(f"mikeytool transfer finish {b64(answer)} --session alice.session")
    assert f"session with {(name or TEAM).decode()} is set up" in ran.err
    assert "only the KMS vouches" in ran.err


def test_no_other_name_with_forking(team: Shell) -> None:
    """MPKr' is made for one identity (5.1.1)."""
    bob = called(team, FORKING, TEAM)
    bob.named = b"sip:anyone@example.org"
    answer, _ = bob.transfer_resp(0x22222222)
    team.fails(f"mikeytool transfer finish {b64(answer)} --session alice.session", 1, "MAC")


def test_whoever_has_no_leave_gets_no_keys(kms: Shell) -> None:
    """The KMS is what proves it: someone who is no member cannot answer at all."""
    with pytest.raises(AssertionError, match=r"kms handle|not"):
        called(kms, PLAIN, TEAM)


@pytest.mark.parametrize("flags", [FORKING, PLAIN])
def test_a_pattern_admits_who_answers(kms: Shell, flags: str) -> None:
    """Interpretation 17: Bob may act as all of the help desk."""
    kms.ok(
        f"mikeytool kms user remove kms.db {BOB.decode()}\n"
        f"mikeytool kms user add kms.db {BOB.decode()} --psk {PSKS[BOB].hex()}"
        f" --psk-id {NAMES[BOB].decode()} --act-as 'sip:help-*@example.com'"
    )
    bob = called(kms, flags, b"sip:help-7@example.com")
    bob.named = bob.named or BOB
    answer, media = bob.transfer_resp(0x22222222)
    kms.ok(f"mikeytool transfer finish {b64(answer)} --session alice.session")
    assert media_of(kms, "alice.session") == media


@pytest.mark.parametrize("flags", [FORKING, PLAIN])
@pytest.mark.parametrize("roles", [(I_ROLE, R_ROLE), (I_ROLE,), (R_ROLE,), ()])
def test_the_tool_is_the_member(team: Shell, flags: str, roles: tuple[int, ...]) -> None:
    """It answers a call to its group, which the call need not name: the ticket does (5.5)."""
    alice = initiator(128)
    request = alice.request_init(TEAM, flags)
    alice.request_resp(unb64(team.ok(f"mikeytool kms handle kms.db {b64(request)}")))
    init = alice.transfer_init(TEAM, [0x11111111, None], roles=roles)
    answer = team.ok(
        f"mikeytool transfer respond {b64(init)} {as_user(BOB)} --kms kms.db --session bob.session"
    )
    media = alice.transfer_resp(unb64(answer))
    assert media_of(team, "bob.session") == media
