"""Media of Diffie-Hellman calls, with keys that are handed in (RFC 3830 3.3, RFC 4650 3)."""

from __future__ import annotations

import json
import struct
from base64 import b64encode

import pytest

from mikeytool.srtp import MasterKey, Sender
from tests.cli.media import SUITE, frame, frames_of, write
from tests.cli.shell import Shell
from tests.exchange import rfc3830 as rfc
from tests.independent.rfc6043 import SUITES, TEK_CONSTANT, TEK_SALT_CONSTANT, prf
from tests.media.test_mikey_contexts import PSK, SHARED, XI, XR, dhhmac
from tests.media.test_signalled_contexts import back, call
from tests.srtp.media import rtp

INIT, ANSWER = (b64encode(one).decode() for one in dhhmac())
ID = f"{rfc.CSB_ID:#x}"
LINES = {
    "tgk": f"tgk {ID} {SHARED.hex()}",
    "xi": f"dh {ID} {XI.hex()}",
    "xr": f"dh {ID} {XR.hex()}",
}


def sender() -> Sender:
    label = struct.pack("!BI", 1, rfc.CSB_ID) + rfc.NONCE
    key, salt = (
        prf(SUITES[0], SHARED, struct.pack("!I", constant) + label, length)
        for constant, length in ((TEK_CONSTANT, 16), (TEK_SALT_CONSTANT, 14))
    )
    return Sender(SUITE, MasterKey(key, salt))


PACKETS = [sender().protect(rtp(1)), sender().protect(rtp(1, ssrc=0xDEADBEEF))]


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("more", ["", f"\npsk sip:alice@example.com {PSK.hex()}"])
def test_a_call_in_a_capture(shell: Shell, line: str, more: str) -> None:
    shell.path("tab").write_text(line + more)
    signalling = [f"a=key-mgmt:mikey {text}" for text in (INIT, ANSWER)]
    media = [frame(PACKETS[0]), back(PACKETS[1])]
    write(shell, "in", [*call(signalling[:1], signalling[1:]), *media])
    ran = shell.ok("mikeytool srtp decrypt in -o out --keys tab")
    assert "cannot be used" not in ran
    assert frames_of(shell, "out")[2:] == [frame(rtp(1)), back(rtp(1, ssrc=0xDEADBEEF))]


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_packets_a_line(shell: Shell, line: str) -> None:
    shell.path("tab").write_text(line)
    shell.path("in").write_text(PACKETS[1].hex() + "\n")
    shell.ok(f"mikeytool srtp decrypt in -o out --mikey {INIT} --mikey {ANSWER} --keys tab")
    assert shell.path("out").read_text().strip() == rtp(1, ssrc=0xDEADBEEF).hex()


def test_one_message_is_enough_for_a_tgk(shell: Shell) -> None:
    shell.path("tab").write_text(LINES["tgk"])
    shell.path("in").write_text(PACKETS[1].hex() + "\n")
    shell.ok(f"mikeytool srtp decrypt in -o out --mikey {INIT} --keys tab")
    shell.path("tab").write_text(LINES["xi"])
    shell.fails(f"mikeytool srtp decrypt in -o o --mikey {INIT} --keys tab", 1, "the answer is")


def test_other_keys_of_a_tab_open_a_message_too(shell: Shell) -> None:
    """A pre-shared key message, whose KEMAC is encrypted (RFC 3830 3.1)."""
    ids = [rfc.identity(rfc.INITIATOR), rfc.identity(rfc.RESPONDER)]
    keys = rfc.Keys(PSK)
    kemac = (rfc.KEMAC, keys.kemac([rfc.tgk(SHARED)]))
    message = keys.sealed(rfc.PSK, [rfc.t, rfc.rand, *ids, rfc.policy, kemac])
    shell.path("tab").write_text(f"psk sip:alice@example.com {PSK.hex()}")
    shell.path("in").write_text(PACKETS[1].hex() + "\n")
    given = f"--mikey {b64encode(message).decode()}"
    shell.fails(f"mikeytool srtp decrypt in -o out {given}", 1, "--keys")
    shell.ok(f"mikeytool srtp decrypt in -o out {given} --keys tab")
    assert shell.path("out").read_text().strip() == rtp(1, ssrc=0xDEADBEEF).hex()


def test_a_ticket_exchange_opens_with_its_keys(shell: Shell) -> None:
    shell.ok(
        "mikeytool keygen tpk -o shared.tpk\n"
        "mikeytool ticket create --as sip:alice@example.com --to sip:bob@example.com"
        " --tpk file:shared.tpk --tpk-id shared --save t\n"
        "mikeytool transfer init --ticket t --to sip:bob@example.com --session alice > init\n"
        "mikeytool transfer respond init --as sip:bob@example.com --tpk file:shared.tpk"
        " --session bob > resp\n"
        "mikeytool transfer finish resp --session alice"
    )
    ssrc = json.loads(shell.ok("mikeytool transfer show alice --json"))["crypto_sessions"][0][
        "ssrc"
    ]
    clear = rtp(1, ssrc=int(ssrc, 16))
    shell.path("in").write_text(clear.hex() + "\n")
    shell.ok("mikeytool srtp encrypt in -o out --session alice")
    shell.path("tab").write_text(f"tpk shared {shell.path('shared.tpk').read_text()}")
    both = "--mikey init --mikey resp"
    shell.ok(f"mikeytool srtp decrypt out -o back {both} --keys tab")
    assert shell.path("back").read_text().strip() == clear.hex()
    shell.fails(f"mikeytool srtp decrypt out -o none {both}", 2, "--keys FILE opens it")


def test_a_tab_goes_with_no_other_form(shell: Shell) -> None:
    shell.path("tab").write_text(LINES["tgk"])
    shell.path("in").write_text("80\n")
    for other in (f"--key {bytes(30).hex()}", f"--mikey {INIT} --key {bytes(30).hex()}"):
        shell.fails(f"mikeytool srtp decrypt in -o out {other} --keys tab", 2, "one form")
