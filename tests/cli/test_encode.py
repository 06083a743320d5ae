"""`encode` turns what `decode --json` prints into messages again, edited or not."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

import pytest

from tests.cli.shell import Shell, with_sessions, with_ticket
from tests.support import vectors

CASE = vectors("exchanges")[0]
OFFER = CASE["TRANSFER_INIT"]


def test_a_pipe_and_back(shell: Shell) -> None:
    lines = [value for case in vectors("exchanges") for name, value in case.items()
             if name.isupper() and isinstance(value, str) and value]  # fmt: skip
    shell.path("messages").write_text("\n".join(lines) + "\n")
    out = shell.ok("mikeytool decode --json messages | mikeytool encode -f hex")
    assert out.split() == lines


@pytest.mark.parametrize("octets", [1, 3, 8, 9, 30, 200])
def test_what_breaks_off(shell: Shell, octets: int) -> None:
    broken = OFFER[: 2 * octets]
    shell.path("in.bin").write_bytes(bytes.fromhex(broken))
    command = "mikeytool decode --json in.bin"
    shown = shell.run(command)
    assert shown.code == 3
    assert json.loads(shown.out)["error"]
    assert shown.err.startswith("mikeytool: ")
    assert shell.run(f"{command} | mikeytool encode -f hex").out.strip() == broken


def test_one_field_edited(shell: Shell) -> None:
    """Pretty-printed over many lines, as jq prints it."""
    edited = json.loads(shell.ok(f"mikeytool decode --json {OFFER}"))
    edited["csb_id"] = "0x12345678"
    shell.path("edited.json").write_text(json.dumps(edited, indent=2))
    out = shell.ok("mikeytool encode edited.json -f hex")
    assert out == OFFER[:8] + "12345678" + OFFER[16:]


def test_forms_of_output(shell: Shell) -> None:
    shell.path("m.json").write_text(shell.ok(f"mikeytool decode --json {OFFER}"))
    text = base64.b64encode(bytes.fromhex(OFFER)).decode()
    assert shell.ok("mikeytool encode m.json") == text
    assert shell.ok("mikeytool encode -f sdp - < m.json") == f"a=key-mgmt:mikey {text}"
    shell.ok("mikeytool encode m.json -f raw -o m.bin")
    assert shell.path("m.bin").read_bytes().hex() == OFFER
    assert shell.ok('mikeytool encode "$(cat m.json)" -f hex') == OFFER


def test_several_with_bad_ones_between(shell: Shell) -> None:
    good = shell.ok(f"mikeytool decode --json {OFFER}")
    shell.path("lines").write_text(f'{good}\n{{"error": "no"}}\n{{"a\n{good}\n')
    ran = shell.fails("mikeytool encode lines -f hex", 3, "item 3", "line 3", "no JSON")
    assert ran.out.split() == [OFFER, OFFER]
    assert "item 2: this was no message before" in ran.err
    both = json.dumps([json.loads(good)] * 2)
    shell.path("list").write_text(both)
    assert shell.ok("mikeytool encode list -f hex").split() == [OFFER, OFFER]


HEADER = '"prf": "MIKEY-1", "csb_id": "0x00000001", "cs_id_map_type": "Empty map"'


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('{"data_type": "TRANSFER_INIT", "data_type_value": 13, ' + HEADER + "}", 2,
         ["data_type 'TRANSFER_INIT' means 14", "data_type_value is 13"]),
        ('{"data_type": "Nonsense", ' + HEADER + "}", 2, ["'Nonsense' is not a name"]),
        ("{" + HEADER + "}", 2, ["data_type is missing"]),
        ('{"data_type_value": 0, "colour": 1, ' + HEADER + "}", 2, ["'colour' is not a field"]),
        ('{"data_type_value": 0, "payloads": [{"payload": "T"}], ' + HEADER + "}", 2,
         ["payloads[0] (T)", "ts_type is missing"]),
        ("[1]", 3, ["JSON object"]),
        ("{", 3, ["line 1", "no JSON"]),
        ("[" * 100_000, 3, ["nested too deep"]),
        ('{"version": 1,\n "csb_id": NaN}', 3, ["line 1", "no JSON: NaN and Infinity"]),
        ('{"version": Infinity}', 3, ["no JSON: NaN and Infinity are no numbers there"]),
        ('{"payloads": [{"offset": -Infinity}]}', 3, ["NaN and Infinity"]),
        ('{"version": 1e999}', 2, ["version inf"]),
        ('{"a": ' + "9" * 5000 + "}", 3, ["too long"]),
        ("nonsense", 3, ["no JSON object"]),
        (" \n", 3, ["empty"]),
        ('{"error": "gone"}', 3, ["no message before", "gone"]),
    ],
)  # fmt: skip
def test_errors(shell: Shell, text: str, code: int, words: list[str]) -> None:
    shell.path("in").write_text(text)
    shell.fails("mikeytool encode < in", code, *words)


def test_objects_in_any_layout(shell: Shell) -> None:
    """A line each, then over several lines, two in one line, in a list; a mark of UTF-8 before."""
    one = json.loads(shell.ok(f"mikeytool decode --json {OFFER}"))
    line = json.dumps(one)
    pretty = json.dumps(one, indent=2)
    text = f"\ufeff{line}\n\n{line}\n{pretty}\n{line} {line}\n[{line},\n{line}]\n"
    shell.path("in").write_text(text)
    assert shell.ok("mikeytool encode in -f hex").split() == [OFFER] * 7
    shell.path("in").write_bytes(f"{line}\n\n".encode() + b'{"\xff": 1}\n')
    ran = shell.fails("mikeytool encode in -f hex", 3, "item 2", "line 3", "no UTF-8")
    assert ran.out.split() == [OFFER]


def test_a_line_is_written_before_the_next_one_comes(shell: Shell) -> None:
    """From the second on; so that any number of them takes the memory of one."""
    line = shell.ok(f"mikeytool decode --json {OFFER}").encode() + b"\n"
    process = subprocess.Popen(
        ["mikeytool", "encode", "-f", "hex"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**shell.variables, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + line)
    process.stdin.flush()
    assert process.stdout.readline().decode().strip() == OFFER
    process.stdin.write(line)
    process.stdin.close()
    assert process.stdout.read().decode().split() == [OFFER] * 2
    process.stdout.close()
    assert process.wait() == 0


def test_bad_lines_do_not_end_reading_line_by_line(shell: Shell) -> None:
    line = shell.ok(f"mikeytool decode --json {OFFER}")
    shell.path("in").write_text(f'{{"a\nlost\n{line}\n{{"b": }}\n{line}\n')
    ran = shell.fails("mikeytool encode in -f hex", 3, "item 3", "line 4", "no JSON")
    assert "item 1: line 1" in ran.err
    assert ran.out.split() == [OFFER] * 2


def test_other_errors(shell: Shell) -> None:
    shell.fails("mikeytool encode missing.json", 3, "no file 'missing.json'")
    shell.fails(f"mikeytool decode --json {OFFER} | mikeytool encode -o no/where", 4, "no")
    shell.fails("mikeytool encode - --init -", 2, "only one")


def opened(shell: Shell, message: str, keys: str) -> dict[str, str]:
    shown = json.loads(shell.run(f"mikeytool decode --json {message} {keys}").out)
    found: dict[str, str] = shown["opened"]
    return found


def test_keys_make_an_edited_message_right_again(shell: Shell) -> None:
    """The MAC fails after an edit, and is right when the key is given to encode."""
    with_ticket(shell)
    shell.ok(
        "mikeytool ticket request --as sip:alice@example.com --psk file:alice.psk"
        " --to sip:bob@example.com --kms-id sip:kms.example.com --pending p > request"
    )
    key = "--psk file:alice.psk"
    assert opened(shell, "request", key)["mac"] == "verified"
    edit = 'mikeytool decode --json request | sed \'s/"v": true/"v": false/\' | mikeytool encode -q'
    shell.ok(f"{edit} > broken; {edit} {key} > sealed")
    assert opened(shell, "broken", key)["mac"] == "FAILED"
    assert opened(shell, "sealed", key)["mac"] == "verified"
    assert shell.ok("cat broken") != shell.ok("cat request")


def test_a_kemac_is_encrypted_from_full_keys(shell: Shell) -> None:
    with_sessions(shell, "--flags=+M", "--kemac tek+salt")
    tickets = json.loads(shell.ok("mikeytool ticket show alice.ticket --json --show-keys"))
    keys = f"--mpki {tickets['mpki']} --mpkr {tickets['mpkr']} --init transfer-init"
    shown = json.loads(shell.ok(f"mikeytool decode --json --show-keys transfer-resp {keys}"))
    kemac = next(one for one in shown["payloads"] if one["payload"] == "KEMAC")
    kemac["keys"][0]["key"] = "00" * 16
    shell.path("edited").write_text(json.dumps(shown))
    shell.ok(f"mikeytool encode edited {keys} > sealed")
    again = json.loads(shell.ok(f"mikeytool decode --json --show-keys sealed {keys}"))
    assert again["opened"]["mac"] == "verified"
    kemac = next(one for one in again["payloads"] if one["payload"] == "KEMAC")
    assert kemac["keys"][0]["key"] == "00" * 16


MASKED: dict[str, Any] = {
    "payload": "KEMAC",
    "encr_alg": "NULL",
    "encr_data": "00100002abcd0001ee",
    "mac_alg": "NULL",
    "keys": [{"type": "TGK+SALT", "key": "sha256:123d4c7e", "salt_len": 1}],
}


def masked(**changes: Any) -> str:
    """A message with a KEMAC whose key is masked, with changes to the key or to its neighbours."""
    key = MASKED["keys"][0] | changes.get("key", {})
    beside = {name: value for name, value in changes.items() if name != "key"}
    payload = json.dumps(MASKED | {"keys": [key]} | beside)
    return f"""'{{"data_type": "Pre-shared", {HEADER}, "payloads": [{payload}]}}'"""


@pytest.mark.parametrize(
    "changes",
    [
        {"key": {"type": "TEK"}},
        {"key": {"key": "sha256:00000000"}},
        {"key": {"salt": "ef"}},
        {"key": {"spi": "01"}},
        {"keys": [MASKED["keys"][0]] * 2},
        {"keys_id": {"id_type": "URI", "id": "sip:a@b"}},
        {"key": {"key": "abce", "salt": "ee"}, "keys_error": "they end early"},
    ],
)
def test_an_edit_that_would_be_lost_is_refused(shell: Shell, changes: Any) -> None:
    written = "01000100000000010001" + "00" + "00" + "0009" + "00100002abcd0001ee" + "00"
    assert shell.ok(f"mikeytool encode -f hex {masked()}") == written
    assert shell.ok(f"mikeytool encode -f hex {masked(key={'salt': 'ee'})}") == written
    shell.fails(f"mikeytool encode {masked(**changes)}", 2, "encr_data differ", "--show-keys")


def test_all_missing_fields_are_named(shell: Shell) -> None:
    nested = '{"payload": "TP", "tp_data": [{"payload": "T"}]}'
    text = '{"payloads": [{"payload": "T"}, {"payload": "RAND"}, ' + nested + "]}"
    shell.fails(
        f"mikeytool encode '{text}'", 2, "header: data_type is missing, and so are ", "csb_id",
        "payloads[0] (T): ts_type is missing, and so is ts_value", "payloads[1] (RAND): rand",
        "payloads[2] (TP): ", "tp_data[0] (T): ts_type",
    )  # fmt: skip


def test_masked_keys_of_a_ticket_cannot_be_edited(shell: Shell) -> None:
    shell.path("json").write_text(shell.ok(f"mikeytool decode --json --tpk {CASE['tpk']} {OFFER}"))
    encode = f"mikeytool encode -f hex --tpk {CASE['tpk']}"
    assert shell.ok(f"{encode} json") == OFFER
    edited = shell.path("json").read_text().replace('"spi": "0', '"spi": "f')
    assert edited != shell.path("json").read_text()
    shell.path("edited").write_text(edited)
    shell.fails(f"{encode} edited", 2, "keys are edited", "--show-keys")
    other = shell.run(f"mikeytool encode -f hex --psk {'00' * 16} edited")
    assert "encr_data stays" in other.err
    assert "keeps its encr_data" in shell.run("mikeytool encode edited").err
