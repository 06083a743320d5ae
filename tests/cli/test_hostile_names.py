"""Text from outside does not control the terminal, whichever command prints it, and where."""

from __future__ import annotations

import json
import sys

import pytest

from mikeytool.cli.render import table
from mikeytool.cli.render.guarded_streams import guarded_streams
from mikeytool.cli.render.table import print_table
from tests.capture.network import THERE, pcap, udp
from tests.cli.in_process import Ran
from tests.cli.shell import Shell

NASTY = "x\x1b[2J\x07\x9b\u202egpj\x7f"
UNSAFE = {"\x1b", "\x07", "\x9b", "\u202e", "\x7f", "\r"}


def is_clean(ran: Ran) -> bool:
    return not UNSAFE & set(ran.out + ran.err)


def capture(shell: Shell, attribute: str) -> None:
    media = f"m=audio 5004 RTP/SAVP 0\r\n{attribute}\r\n"
    text = (
        f"INVITE sip:b SIP/2.0\r\nCall-ID: {NASTY}\r\nCSeq: 1 INVITE{NASTY[1:]}\r\n"
        f"Content-Type: application/sdp\r\n\r\nv=0\r\ns={NASTY}\r\n{media}"
    )
    status = f"SIP/2.0 200 OK\r\nCall-ID: {NASTY}\r\nCSeq: 1 {NASTY}\r\n"
    answer = f"{status}Content-Type: application/sdp\r\n\r\nv=0\r\n{media}"
    packets = [udp(text.encode(), THERE), udp(answer.encode(), THERE.back)]
    shell.path("in.pcap").write_bytes(pcap(packets))


@pytest.mark.parametrize("options", ["", "--flow", "--json", "--index 1", "--index 2", "--hex"])
@pytest.mark.parametrize("attribute", ["a=key-mgmt:mikey AQAFAA==", "a=key-mgmt:mikey \x1b\u202e"])
def test_captures(shell: Shell, options: str, attribute: str) -> None:
    capture(shell, attribute)
    for command in ("decode", "lint", "srtp decrypt -o out.pcap"):
        ran = shell.run(f"mikeytool {command} in.pcap {options if command == 'decode' else ''}")
        assert is_clean(ran), ran
        assert "Traceback" not in ran.err


def test_json_has_what_was_there(shell: Shell) -> None:
    capture(shell, "a=key-mgmt:mikey AQAFAA==")
    ran = shell.run("mikeytool decode --json in.pcap")
    assert is_clean(ran)
    assert json.loads(ran.out.splitlines()[0])["call_id"] == NASTY


@pytest.mark.parametrize(
    "command",
    [
        "mikeytool decode {}",
        "mikeytool encode {}",
        "mikeytool lint {} --ignore {}",
        "mikeytool decode 01 --identity {}",
        "mikeytool transfer show {}",
        "mikeytool ticket show {}",
        "mikeytool srtp info {}",
        "mikeytool kms show {}",
        "mikeytool conference show {}",
        "mikeytool manual {}",
        "mikeytool {}",
        "mikeytool keygen psk --suite {}",
    ],
)
def test_names_of_files_and_words(shell: Shell, command: str) -> None:
    ran = shell.run(command.replace("{}", f"'{NASTY}'"))
    assert ran.code in (1, 2, 3, 4)
    assert is_clean(ran), ran
    assert "Traceback" not in ran.err


def test_identities_of_a_store(shell: Shell) -> None:
    shell.ok("mikeytool kms init -q kms.db --id sip:kms")
    for command in (f"kms user add kms.db 'sip:{NASTY}'", "kms user list kms.db", "kms log kms.db"):
        assert is_clean(shell.run(f"mikeytool {command}"))


def test_both_streams_are_guarded_whatever_writes_to_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with guarded_streams():
        for stream in (sys.stdout, sys.stderr):
            stream.write(f"{NASTY}\tand\n")
            stream.writelines([NASTY, "\n"])
    for text in capsys.readouterr():
        assert not UNSAFE & set(text)
        assert text.count("\n") == 2
        assert "\t" in text


def test_a_table_holds_few_rows_and_caps_its_cells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    monkeypatch.setattr(table, "HELD", 8)

    def rows() -> list[str]:
        nonlocal made
        made += 1
        return [f"{made}", "y" * 60_000 if made == 3 else "y"]

    def all_rows() -> object:
        yield ("number", "text")
        for _ in range(100):
            yield rows()
            lines.extend(capsys.readouterr().out.splitlines())
            assert made - len(lines) <= 8

    lines: list[str] = []
    print_table(all_rows())  # type: ignore[arg-type]
    lines.extend(capsys.readouterr().out.splitlines())
    assert made == 100
    assert max(map(len, lines)) < 2 * table.LONGEST_CELL
