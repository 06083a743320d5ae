"""`lint` from the shell: streams, exit codes, JSON, options."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import jsonschema
import pytest

from mikeytool.lint import RULES
from tests.benchmarks.bench_decode import write_pcap
from tests.capture.messages import b64
from tests.cli.shell import Shell
from tests.lint.messages import NOW, SECOND, D, good
from tests.peers.programs import need
from tests.support import TESTS, vectors

CASE = vectors("exchanges")[0]
INIT = b64(bytes.fromhex(CASE["TRANSFER_INIT"]))
RESP = b64(bytes.fromhex(CASE["TRANSFER_RESP"]))
AT = "--at 2026-05-28T23:33:24Z"
"""When the messages of the known exchanges were made."""

OTHER_CSB = b64(b"\x01\x0f\x05\x00\0\0\0\1" + bytes.fromhex(CASE["TRANSFER_RESP"])[8:])
NULL_MAC = b64(bytes.fromhex(CASE["TRANSFER_RESP"])[:-21] + b"\x00")


def test_a_good_message_says_so_on_standard_error(shell: Shell) -> None:
    ran = shell.run(f"mikeytool lint {AT} {RESP}")
    assert ran == (0, "", "no findings\n")
    assert shell.run(f"mikeytool lint -q {AT} {RESP}") == (0, "", "")
    assert shell.run(f"mikeytool lint --json {AT} {RESP}") == (
        0, '{"input": "argument", "line": 1, "findings": []}\n', ""
    )  # fmt: skip


def test_one_finding_a_line(shell: Shell) -> None:
    ran = shell.run(f"mikeytool lint {AT} {NULL_MAC}")
    assert ran.code == 1
    (line,) = ran.out.splitlines()
    place = f"V at {len(bytes.fromhex(CASE['TRANSFER_RESP'])) - 22}"
    assert line.startswith(f"error: ticket-mac-null: {place}: ")
    assert line.endswith(" (RFC 6043 4.2.1)")
    assert ran.err == ""


def test_findings_as_json(shell: Shell) -> None:
    ran = shell.run(f"mikeytool lint --json {AT} {NULL_MAC}")
    assert ran.code == 1
    (finding,) = json.loads(ran.out)["findings"]
    assert set(finding) == {"level", "code", "payload", "offset", "text", "section"}
    assert (finding["level"], finding["payload"]) == ("error", "V")


def test_a_message_and_the_one_before(shell: Shell) -> None:
    shell.path("init").write_text(INIT)
    assert shell.ok(f"mikeytool lint {AT} --init init {RESP}") == ""
    ran = shell.run(f"mikeytool lint {AT} --init init {OTHER_CSB}")
    assert ran.code == 1
    assert ran.out.startswith("error: other-csb-id: HDR at 0: ")


def test_levels_and_the_exit_code(shell: Shell) -> None:
    old = f"mikeytool lint --at 2030-01-01 {RESP}"
    new = f"mikeytool lint --at 2020-01-01 {RESP}"
    assert shell.ok(old).startswith("note: time-past: ")
    assert shell.run(f"{old} --fail-on warning").code == 0
    assert shell.ok(new).startswith("warning: time-future: ")
    assert shell.run(f"{new} --fail-on warning").code == 1
    assert shell.run(f"{new} --fail-on warning --ignore time-future").code == 0


def test_what_is_ignored_does_not_count(shell: Shell) -> None:
    ran = shell.run(f"mikeytool lint {AT} --ignore ticket-mac-null {NULL_MAC}")
    assert ran == (0, "", "no findings\n")


def test_the_clock_can_be_set(shell: Shell) -> None:
    assert shell.ok(f"mikeytool lint {RESP}", MIKEYTOOL_NOW="2026-05-28T23:33:24Z") == ""
    ran = shell.run(f"mikeytool lint --at now-7d {RESP}", MIKEYTOOL_NOW="2026-05-28T23:33:24Z")
    assert ran.out.startswith("warning: time-future: ")


def test_several_messages_are_named(shell: Shell) -> None:
    shell.path("messages").write_text(f"{RESP}\n# nothing\n{NULL_MAC}\nno message\n")
    ran = shell.run(f"mikeytool lint {AT} messages")
    assert ran.code == 3
    assert ran.out.startswith("line 3: error: ticket-mac-null: V at ")
    assert ran.err.startswith("line 1: no findings\nmikeytool: line 4: ")
    ran = shell.run(f"mikeytool lint --json {AT} messages {RESP}")
    assert ran.code == 3
    assert [list(json.loads(line)) for line in ran.out.splitlines()] == [
        ["input", "line", "findings"], ["input", "line", "findings"], ["error", "input", "line"],
        ["input", "line", "findings"],
    ]  # fmt: skip


def test_a_message_that_breaks_off(shell: Shell) -> None:
    cut = b64(bytes.fromhex(CASE["TRANSFER_RESP"])[:-4])
    ran = shell.fails(f"mikeytool lint {AT} {cut}", 3, "ver_data takes 20 octets")
    assert ran.out.startswith("error: unreadable: V at ")
    ran = shell.fails(f"mikeytool lint --json {AT} --ignore unreadable {cut}", 3)
    assert json.loads(ran.out)["findings"] == []
    ran = shell.fails("mikeytool lint 010f0500e34b3f93020201", 3, "CS ID map at octet 11")
    assert ran.out.startswith("error: unreadable: CS ID map at 11: ")


def test_a_pipe(shell: Shell) -> None:
    shell.path("init").write_text(INIT)
    assert shell.ok(f"cat init | mikeytool lint {AT}") == ""
    assert shell.ok(f"echo {RESP} | mikeytool lint {AT} --init init -") == ""


def test_a_capture_tells_when_a_message_came(shell: Shell) -> None:
    write_pcap(shell.path("calls.pcap"), [bytes.fromhex(CASE["TRANSFER_RESP"])] * 2)
    ran = shell.run("mikeytool lint calls.pcap")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["frame 1", "frame 2"]
    assert all(": warning: time-future: " in line for line in lines)
    assert shell.ok(f"mikeytool lint {AT} calls.pcap") == ""


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("mikeytool lint --ignore time-pst AQ", 2, ["time-pst", "did you mean time-past?"]),
        ("mikeytool lint --ignore x AQ", 2, ["see lint --list"]),
        ("mikeytool lint --fail-on nothing AQ", 2, ["--fail-on"]),
        ("mikeytool lint --at yesterday AQ", 2, ["yesterday"]),
        ("mikeytool lint --init - -", 2, ["only one argument"]),
        ("mikeytool lint --init nowhere AQ", 3, ["no file 'nowhere'"]),
        ("mikeytool lint nowhere", 3, ["no file 'nowhere'"]),
        ("mikeytool lint < /dev/null", 3, ["the input is empty"]),
        ("mikeytool lint /", 3, ["folder"]),
    ],
)
def test_wrong_input(shell: Shell, command: str, code: int, words: list[str]) -> None:
    ran = shell.fails(command, code, *words)
    assert ran.out == ""


def test_the_list_of_codes(shell: Shell) -> None:
    lines = shell.ok("mikeytool lint --list").splitlines()
    assert lines[0].split() == ["code", "level", "text", "section", "profile"]
    assert [line.split()[0] for line in lines[1:]] == sorted(RULES)
    rows = json.loads(shell.ok("mikeytool lint --list --json"))["rules"]
    assert {row["code"] for row in rows} == set(RULES)
    assert all(set(row) == {"code", "level", "text", "section", "profile"} for row in rows)
    assert {row["profile"] for row in rows} == {None, "onvif", "mc", "ims"}


def test_a_profile_asks_for_more(shell: Shell) -> None:
    message = good(D.SAKKE_MSG).hex()
    shell.ok(f"mikeytool lint --at {NOW // SECOND} {message}")
    ran = shell.run(f"mikeytool lint --at {NOW // SECOND} --profile mc {message}")
    assert ran.code == 1
    assert "error: mc-scheme: SAKKE at" in ran.out
    assert "(TS 33.180 F.2.1)" in ran.out
    shell.ok(f"mikeytool lint --profile mc --ignore mc-scheme --at {NOW // SECOND}"
             f" --ignore mc-identity-missing {message}")  # fmt: skip
    shell.fails(f"mikeytool lint --profile sip {message}", 2, "onvif")


def test_the_list_fits_a_terminal_of_80_columns(shell: Shell) -> None:
    lines = shell.ok("mikeytool lint --list", COLUMNS="80").splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["code", "level", "text"]
    joined = re.sub(r"\s+", " ", " ".join(lines))
    for row in json.loads(shell.ok("mikeytool lint --list --json"))["rules"]:
        asked = f"; --profile {row['profile']}" if row["profile"] else ""
        assert f"{row['code']} {row['level']} {row['text']} ({row['section']}{asked})" in joined


def test_a_message_without_certificates_loads_no_cryptography(shell: Shell) -> None:
    code = (
        "import sys; from mikeytool.cli.main import run;"
        f"run(['lint', '{INIT}']);"
        "assert not {'cryptography', 'rich', 'sqlite3'} & set(sys.modules), sys.modules"
    )
    shell.ok(f'python -c "{code}"')


def test_codes_with_commas_and_failing_on_notes(shell: Shell) -> None:
    old = f"mikeytool lint --at 2040-01-01T00:00:00Z {RESP}"
    assert shell.run(old).code == 0
    assert "time-past" in shell.run(f"{old} --fail-on note").out
    assert shell.run(f"{old} --fail-on note").code == 1
    ran = shell.run(f"{old} --fail-on note --ignore time-past,validity-over --ignore=key-old,")
    assert (ran.code, "key-old" in ran.err) == (2, True)
    assert shell.run(f"{old} --fail-on note --ignore time-past,validity-over").code == 0


def test_old_timestamps_are_one_note_a_run(shell: Shell) -> None:
    shell.path("many").write_text(f"{RESP}\n" * 3)
    ran = shell.run("mikeytool lint many --at 2040-01-01T00:00:00Z")
    assert ran.out.count("time-past") == 1
    assert "3 messages have a timestamp in the past" in ran.err


def test_sarif_is_a_document_for_one_message_that_cannot_be_read(shell: Shell) -> None:
    ran = shell.run("mikeytool lint --sarif zz!")
    assert ran.code == 3
    (run,) = json.loads(ran.out)["runs"]
    assert not run["invocations"][0]["executionSuccessful"]


def test_sarif_names_rules_places_and_what_cannot_be_read(shell: Shell) -> None:
    shell.path("a file").write_text(f"{RESP}\nzz!\n{RESP}\n")
    ran = shell.run("mikeytool lint --sarif 'a file' --at 2040-01-01T00:00:00Z")
    assert ran.code == 3
    document = json.loads(ran.out)
    (run,) = document["runs"]
    assert document["version"] == "2.1.0"
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    (result,) = run["results"]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "time-past"
    assert result["level"] == "note"
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "a%20file"}, "region": {"startLine": 1},
    }  # fmt: skip
    (invocation,) = run["invocations"]
    assert not invocation["executionSuccessful"]
    assert "line 2" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_sarif_is_as_its_standard_says(shell: Shell) -> None:
    """The schema of OASIS: of captures, lines, arguments, standard input, and no message at all."""
    path = os.environ.get("SARIF_SCHEMA") or need("the schema that SARIF_SCHEMA names")
    schema = json.loads(Path(path).read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    shell.path("a file").write_text(f"{RESP}\nzz!\n{RESP[:-8]}\n")
    for inputs in ("'a file' -", f"{TESTS}/media/captures/rk-onvif.pcap", RESP, "zz!", "none.pcap"):
        ran = shell.run(f"echo {RESP} | mikeytool lint --sarif {inputs} --profile onvif")
        validator.validate(json.loads(ran.out))
