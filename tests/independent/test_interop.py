"""The second implementation in one role, mikeytool's commands in the others (RFC 6043 4.2)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.independent.rfc6043 import SUITES, TEK_SALT, TGK, TGK_SALT, Key
from tests.independent.roles import Initiator, Kms, Media, Responder

KMS_ID, ALICE, BOB = b"sip:kms.example.com", b"sip:alice@example.com", b"sip:bob@example.com"
PSKS = {ALICE: bytes(range(16)), BOB: bytes(range(100, 132))}
TPK = bytes(range(200, 232))
NAMES = {ALICE: b"psk-alice", BOB: b"psk-bob"}
CALLS = [
    pytest.param("DEFGHIJNO", 128, TGK, id="forking"),
    pytest.param("DEFGHIJNO", 256, TGK_SALT, id="forking-256-salt"),
    pytest.param("DEFGHJNO", 256, TGK, id="no-forking"),
    pytest.param("DEFHIJNO", 128, TGK, id="no-randr-r"),
    pytest.param("DEFGIJNO", 128, TGK_SALT, id="randr-i-unused"),
    pytest.param("DEHJNO", 128, TGK, id="no-answer"),
]
TYPES = {TGK: "tgk", TGK_SALT: "tgk+salt"}


def b64(message: bytes) -> str:
    return base64.b64encode(message).decode()


def unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def initiator(profile: int) -> Initiator:
    return Initiator(ALICE, KMS_ID, PSKS[ALICE], NAMES[ALICE], SUITES[int(profile == 256)])


def responder(profile: int) -> Responder:
    return Responder(BOB, KMS_ID, PSKS[BOB], NAMES[BOB], SUITES[int(profile == 256)])


@pytest.fixture
def kms(shell: Shell) -> Shell:
    """A KMS of mikeytool's that knows the users' keys by their names."""
    shell.ok(f"mikeytool kms init -q kms.db --id {KMS_ID.decode()} --tpk {TPK.hex()}")
    for who, psk in PSKS.items():
        name = NAMES[who].decode()
        shell.ok(f"mikeytool kms user add kms.db {who.decode()} --psk {psk.hex()} --psk-id {name}")
    return shell


def as_user(who: bytes) -> str:
    return f"--as {who.decode()} --psk {PSKS[who].hex()} --psk-id {NAMES[who].decode()}"


def cs(flags: str) -> str:
    """Crypto sessions to offer: without an answer, all are the initiator's."""
    return "--cs dir=send,ssrc=0x11111111" + (" --cs dir=recv" if "F" in flags else "")


def media_of(shell: Shell, session: str) -> Media:
    """What the tool says of the keys of a session file."""
    shown = json.loads(shell.ok(f"mikeytool transfer show {session} --json --show-keys"))
    return {
        one["cs_id"]: (
            bytes.fromhex(one["mki"]),
            bytes.fromhex(one["master_key"]),
            bytes.fromhex(one["master_salt"]),
        )
        for one in shown["crypto_sessions"]
    }


@pytest.mark.parametrize(("flags", "profile", "key_type"), CALLS)
def test_the_second_initiator(kms: Shell, flags: str, profile: int, key_type: int) -> None:
    alice = initiator(profile)
    request = alice.request_init(BOB, flags, key_type)
    alice.request_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(request)}")))
    assert alice.held.ticket.flags == flags
    theirs = [None] if "F" in flags else []
    init = alice.transfer_init(BOB, [0x11111111, *theirs])
    answer = kms.ok(
        f"mikeytool transfer respond {b64(init)} {as_user(BOB)} --kms kms.db --session bob.session"
    )
    media = alice.transfer_resp(unb64(answer)) if "F" in flags else alice.media_without_answer()
    assert media_of(kms, "bob.session") == media


@pytest.mark.parametrize(("flags", "profile", "key_type"), CALLS)
def test_the_second_responder(kms: Shell, flags: str, profile: int, key_type: int) -> None:
    kms.ok(
        f"mikeytool ticket request {as_user(ALICE)} --to {BOB.decode()} --kms kms.db"
        f" --save alice.ticket --flags {flags} --profile {profile}"
        f" --key-type {TYPES[key_type]}"
    )
    suite = "" if profile == 128 else "--suite AES_256_CM_HMAC_SHA1_80"
    init = kms.ok(
        f"mikeytool transfer init --ticket alice.ticket --to {BOB.decode()} {cs(flags)} {suite}"
        " --session alice.session"
    )
    bob = responder(profile)
    resolve = bob.receive(unb64(init))
    bob.resolve_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(resolve)}")))
    if "F" not in flags:
        assert media_of(kms, "alice.session") == bob.media_without_answer()
        return
    answer, media = bob.transfer_resp(0x22222222)
    kms.ok(f"mikeytool transfer finish {b64(answer)} --session alice.session")
    assert media_of(kms, "alice.session") == media


@pytest.mark.parametrize(("flags", "profile", "key_type"), CALLS)
def test_the_second_kms(
    shell: Shell, flags: str, profile: int, key_type: int, tmp_path: Path
) -> None:
    tpk = TPK if profile == 256 else TPK[:16]
    kms = Kms(KMS_ID, tpk, {NAMES[who]: (who, psk) for who, psk in PSKS.items()})
    kms_id = f"--kms-id {KMS_ID.decode()}"
    request = shell.ok(
        f"mikeytool ticket request {as_user(ALICE)} --to {BOB.decode()} {kms_id} --pending p1"
        f" --flags {flags} --profile {profile} --key-type {TYPES[key_type]}"
    )
    (tmp_path / "answer").write_bytes(kms.handle(unb64(request)))
    shell.ok("mikeytool ticket accept answer --pending p1 --save alice.ticket")
    suite = "" if profile == 128 else "--suite AES_256_CM_HMAC_SHA1_80"
    init = shell.ok(
        f"mikeytool transfer init --ticket alice.ticket --to {BOB.decode()} {cs(flags)} {suite}"
        " --session alice.session | tee init"
    )
    resolve = shell.ok(f"mikeytool ticket resolve init {as_user(BOB)} {kms_id} --pending p2")
    (tmp_path / "resolved").write_bytes(kms.handle(unb64(resolve)))
    shell.ok("mikeytool ticket accept resolved --pending p2 --save bob.ticket")
    answer = shell.ok(
        f"mikeytool transfer respond {init} --as {BOB.decode()} --ticket bob.ticket"
        " --session bob.session"
    )
    if "F" in flags:
        shell.ok(f"mikeytool transfer finish {answer} --session alice.session")
    assert media_of(shell, "alice.session") == media_of(shell, "bob.session")


KEY = Key(TEK_SALT, bytes(range(16)), bytes(range(14)), b"\0\0\0\7")


def test_the_second_initiator_sends_a_key(kms: Shell) -> None:
    alice = initiator(128)
    request = alice.request_init(BOB, "DEFGHIJLNO")
    alice.request_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(request)}")))
    init = alice.transfer_init(BOB, [0x11111111, None], [KEY])
    answer = kms.ok(
        f"mikeytool transfer respond {b64(init)} {as_user(BOB)} --kms kms.db --session bob.session"
    )
    media = alice.transfer_resp(unb64(answer))
    assert media_of(kms, "bob.session") == media
    assert media[1] == (KEY.spi, KEY.key, KEY.salt)


def test_the_second_responder_sends_a_key(kms: Shell) -> None:
    kms.ok(
        f"mikeytool ticket request {as_user(ALICE)} --to {BOB.decode()} --kms kms.db"
        " --save alice.ticket --flags DEFGHIJMNO --key-type none"
    )
    init = kms.ok(
        f"mikeytool transfer init --ticket alice.ticket --to {BOB.decode()} {cs('F')}"
        " --session alice.session"
    )
    bob = responder(128)
    resolve = bob.receive(unb64(init))
    bob.resolve_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(resolve)}")))
    answer, media = bob.transfer_resp(0x22222222, [KEY])
    kms.ok(f"mikeytool transfer finish {b64(answer)} --session alice.session")
    assert media_of(kms, "alice.session") == media
    assert media[2] == (KEY.spi, KEY.key, KEY.salt)


def test_an_impostor_is_refused_at_every_door(kms: Shell) -> None:
    """Someone who has no key of the KMS, and someone whose ticket is another's."""
    eve = initiator(128)
    eve.psk = bytes(16)
    request = eve.request_init(BOB, "DEFGHIJNO")
    kms.fails(f"mikeytool kms handle kms.db {b64(request)}", 1, "MAC")

    alice = initiator(128)
    request = alice.request_init(BOB, "DEFGHIJNO")
    answer = kms.ok(f"mikeytool kms handle kms.db {b64(request)}")
    kms.fails(f"mikeytool kms handle kms.db {b64(request)}", 1, "seen before")
    alice.request_resp(unb64(answer))
    # With MPKi alone, as every responder has it, no TRANSFER_INIT can be made.
    alice.held.mpkr = bytes(16)
    init = alice.transfer_init(BOB, [0x11111111, None])
    kms.fails(f"mikeytool transfer respond {b64(init)} {as_user(BOB)} --kms kms.db --session s", 1)
