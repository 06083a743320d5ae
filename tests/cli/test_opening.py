"""`decode` and `encode` with keys, as people use them: key tabs, private keys, whole exchanges."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.shell import Shell
from tests.exchange import rfc3830 as rfc
from tests.exchange.rfc3830 import Party
from tests.exchange.test_inspect_legacy import ENVELOPE, SHARED, TGK, pk_init, psk_init
from tests.support import vectors

CASE = vectors("exchanges")[0]
PUBLIC_KEY = vectors("public_key")[0]
NAMES = ("REQUEST_INIT_PSK", "REQUEST_RESP", "TRANSFER_INIT", "RESOLVE_INIT_PSK", "RESOLVE_RESP",
         "TRANSFER_RESP")  # fmt: skip
TAB = f"""\
# a key tab

psk {CASE["initiator"]} {CASE["psk_initiator"]}
psk-id psk-bob {CASE["psk_responder"]}
tpk tpk-1 {CASE["tpk"]}
"""


@pytest.fixture
def lab(shell: Shell) -> Shell:
    """A folder with a whole exchange, a message a line, and its keys."""
    update = CASE["update"]
    raws = [CASE[name] for name in NAMES] + [update["TRANSFER_INIT"], update["TRANSFER_RESP"]]
    shell.path("call").write_text("".join(f"{raw}\n" for raw in raws))
    shell.path("tab").write_text(TAB)
    shell.path("kms.pem").write_text(PUBLIC_KEY["kms_private_key"])
    shell.path("alice.pem").write_text(PUBLIC_KEY["private_key"])
    shell.path("pk").write_text(PUBLIC_KEY["REQUEST_INIT_PK"])
    return shell


def opened(text: str) -> list[dict[str, Any]]:
    return [json.loads(line)["opened"] for line in text.splitlines()]


def test_a_key_tab_opens_a_whole_exchange(lab: Shell) -> None:
    found = opened(lab.ok("mikeytool decode call --json --keys tab"))
    assert [one["mac"] for one in found] == ["verified"] * 8
    assert [one["ticket"] for one in found].count("verified") == 3
    assert TGK.hex() not in json.dumps(found)
    shown = lab.ok("mikeytool decode call --keys tab")
    assert shown.count("  verified") == 8 + 3 + 2  # MACs, tickets, Initiator Data
    assert CASE["mpki"] not in shown
    clear = lab.ok("mikeytool decode call --keys tab --show-keys").split("Keys  opened")
    answers = [part for part in clear[1:] if "MPKi" in part]
    assert len(answers) == 4  # of the KMS to both, and where the ticket is
    assert all(f"MPKi  key {CASE['mpki']}" in part for part in answers)
    for mpkr, count in (("mpkr", 3), ("mpkr_forked", 1)):
        assert sum(f"MPKr  key {CASE[mpkr]}" in part for part in answers) == count
    assert CASE["mpki"] in lab.ok("mikeytool decode call --keys tab --show-keys")


def test_index_knows_what_came_before(lab: Shell) -> None:
    last = lab.ok("mikeytool decode call --index 8 --json --keys tab")
    assert opened(last)[0]["mac"] == "verified"


def test_a_wrong_key_fails(lab: Shell) -> None:
    ran = lab.run("mikeytool decode call --json --index 1 --psk 00112233445566778899aabbccddeeff")
    assert ran.code == 1
    assert opened(ran.out)[0]["mac"] == "FAILED"
    ran = lab.run("mikeytool decode call --json --index 3 --tpk 00112233445566778899aabbccddeeff")
    assert ran.code == 1
    assert opened(ran.out)[0]["ticket"] == "FAILED"


def test_a_signature_needs_no_key(lab: Shell) -> None:
    [found] = opened(lab.ok("mikeytool decode pk --json"))
    assert found["signature"] == "verified"
    assert "whether to trust that is not checked" in found["notes"][0]
    raw = lab.path("pk").read_text()
    lab.path("forged").write_text(raw[:-1] + ("0" if raw[-1] != "0" else "1"))
    ran = lab.run("mikeytool decode forged")
    assert ran.code == 1
    assert "FAILED" in ran.out
    assert json.loads(lab.ok("head -1 call | mikeytool decode --json"))["opened"] is None


def test_a_private_key_opens_an_envelope(lab: Shell) -> None:
    command = "mikeytool decode pk --json --private-key kms.pem"
    [found] = opened(lab.ok(f"{command} --show-keys"))
    assert found["envelope_key"] == PUBLIC_KEY["envelope_key"]
    [masked] = opened(lab.ok(command))
    assert masked["envelope_key"].startswith("sha256:")
    lab.path("tab").write_text("rsa kms.pem\n")
    assert opened(lab.ok("mikeytool decode pk --json --keys tab"))[0] == masked


def test_a_private_key_with_a_passphrase(lab: Shell) -> None:
    lab.ok("openssl rsa -in kms.pem -aes128 -passout pass:secret -out locked.pem")
    command = "mikeytool decode pk --json --private-key locked.pem"
    assert lab.ok(command, MIKEYTOOL_KEY_PASSPHRASE="secret")
    lab.fails(command, 1, "passphrase", MIKEYTOOL_KEY_PASSPHRASE="wrong")
    lab.fails(f"setsid {command}", 2, "MIKEYTOOL_KEY_PASSPHRASE")


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("psk sip:a zz", 3, "line 2: this is no hex"),
        ("psk sip:a", 3, "line 2: a kind, a name and a key"),
        ("psk sip:a 00 11", 3, "line 2: a kind, a name and a key"),
        ("mpki zz 00", 3, "line 2: CSB ID zz"),
        ("mpkr 0x100000000 00", 3, "line 2: CSB ID 0x100000000"),
        ("tpk tpk-1 env:NOPE", 3, "line 2: the environment has no NOPE"),
        ("tpk tpk-1 file:nope", 4, "line 2: nope: No such file"),
        ("rsa", 3, "line 2: rsa takes the file"),
        ("rsa nope.pem", 4, "line 2: nope.pem: No such file"),
        ("rsa call", 3, "line 2: call: this is no private key"),
        ("psc sip:a 00", 3, "line 2: it begins with none of the kinds psk"),
    ],
)
def test_wrong_lines_in_a_key_tab(lab: Shell, line: str, code: int, words: str) -> None:
    lab.path("tab").write_text(f"# keys\n{line}\n")
    ran = lab.fails("mikeytool decode pk --keys tab", code, words)
    assert len(ran.err.splitlines()) == 1
    assert ran.out == ""


def test_files_that_are_no_key_tabs(lab: Shell) -> None:
    lab.fails("mikeytool decode pk --keys nope", 4, "nope: No such file")
    lab.fails(
        "head -c 99 /dev/zero | tr '\\0' '\\377' > ff; mikeytool decode pk --keys ff", 3, "text"
    )
    lab.path("key").write_text(CASE["tpk"])
    ran = lab.fails("mikeytool decode pk --keys key", 3, "line 1", "none of the kinds")
    assert CASE["tpk"][:8] not in ran.err


def test_an_exchange_is_edited_and_protected_again(lab: Shell) -> None:
    """Another RANDRi in the call changes every MAC and key behind it."""
    rand = "00112233445566778899aabbccddeeff"
    lab.ok(
        "mikeytool decode call --json --keys tab --show-keys | jq -c"
        f' \'if .payloads[2].payload=="IDR" and .data_type=="TRANSFER_INIT" then'
        f' (.payloads[] | select(.payload=="RANDR")).rand="{rand}" else . end\''
        " | mikeytool encode -q --keys tab -f hex > again"
    )
    before, after = lab.path("call").read_text().split(), lab.path("again").read_text().split()
    same = [one == other for one, other in zip(before, after, strict=True)]
    assert same == [True, True, False, True, True, False, False, False]
    assert rand in after[2]
    found = opened(lab.ok("mikeytool decode again --json --keys tab"))
    assert [one["mac"] for one in found] == ["verified"] * 8


def test_edited_without_keys_it_fails(lab: Shell) -> None:
    changed = lab.ok(
        "head -1 call | mikeytool decode --json | jq -c '.payloads[0].ts_value={value:"
        '"edc34f41aab72c8e"}\' | mikeytool encode'
    )
    assert lab.run(f"mikeytool decode --keys tab {changed}").code == 1


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> tuple[Party, Party]:
    folder = tmp_path_factory.mktemp("parties")
    return Party(folder, rfc.INITIATOR), Party(folder, rfc.RESPONDER)


def test_a_pre_shared_key_message(shell: Shell) -> None:
    shell.path("psk").write_text(psk_init(SHARED).hex())
    shown = shell.ok(f"mikeytool decode psk --psk {SHARED.hex()} --show-keys")
    assert f"TGK  key {TGK.hex()}, spi 00000001" in shown
    assert "HMAC-SHA-1-160, mac" in shown
    again = shell.ok(
        f"mikeytool decode psk --psk {SHARED.hex()} --show-keys --json"
        ' | jq -c \'(.payloads[]|select(.payload=="KEMAC"))|=(del(.encr_data)|.mac="00"*20)\''
        f" | mikeytool encode --psk {SHARED.hex()} -f hex"
    )
    assert again == psk_init(SHARED).hex()


def test_a_public_key_message_with_another_key(shell: Shell, parties: tuple[Party, Party]) -> None:
    """KEMAC from keys alone; its MAC with the envelope key, SIGN with the key of the sender."""
    alice, bob = parties
    shell.path("pk").write_bytes(pk_init(alice, bob))
    edited = (
        f"mikeytool decode pk --private-key {bob.pem} --show-keys --json | jq -c"
        ' \'(.payloads[]|select(.payload=="KEMAC"))|=(del(.encr_data)|.keys[0].key=("77"*16))\''
    )
    both = f"--private-key {alice.pem} --private-key {bob.pem}"
    again = shell.ok(
        f"{edited} | mikeytool encode {both} | mikeytool decode --json --show-keys {both}"
    )
    [found] = opened(again)
    assert (found["mac"], found["signature"], found["envelope"]) == ("verified",) * 3
    assert found["keys"][0]["key"] == "77" * 16
    assert found["envelope_key"] == ENVELOPE.hex()
    lost = shell.fails(f"{edited} | mikeytool encode --private-key {alice.pem}", 2, "encr_data")
    assert "77" * 8 not in lost.err + lost.out


def test_a_broken_message_is_protected_as_it_was_composed(shell: Shell) -> None:
    """The MAC is right where the next payload number before it is not."""
    shell.path("psk").write_text(psk_init(SHARED).hex())
    broken = shell.ok(
        "mikeytool decode psk --json | jq -c '.payloads[1].next_payload_value=99"
        " | del(.payloads[1].next_payload) | .trailing=null'"
        f" | mikeytool encode -f hex --psk {SHARED.hex()}"
    )
    raw = bytes.fromhex(broken)
    assert raw[-20:] == rfc.Keys(SHARED).mac(raw[:-20])
    assert raw[:-20] != psk_init(SHARED)[:-20]


def test_help_names_every_kind_of_a_key_tab(shell: Shell) -> None:
    text = " ".join(shell.ok("mikeytool decode --help").split())
    for kind in ("psk URI KEY", "psk-id TEXT KEY", "tpk ID KEY", "mpki CSB_ID KEY", "rsa PEM"):
        assert kind in text
