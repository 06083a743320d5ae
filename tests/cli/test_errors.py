"""Error messages between two users, from the shell (RFC 6043 5.4, interpretation 32), and
answers that are not lost.
"""

from __future__ import annotations

import json

import pytest

from tests.cli.shell import BOB, Shell, with_sessions, with_ticket

CALL = "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com --session a"
ANSWER = f"mikeytool transfer respond init {BOB} --kms kms.db --session b"
SMALL, LARGE = "AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80"


def test_who_is_not_authenticated_gets_an_error_on_request(shell: Shell) -> None:
    """The early reject has no key; its Error message tells what is supported, as a hint."""
    with_ticket(shell).ok(f"{CALL} > init")
    quiet = shell.fails(f"{ANSWER} --suite {SMALL}", 1, "no security policy offered")
    assert quiet.out == ""
    shell.fails(f"{ANSWER} --suite {SMALL} --send-errors > error", 1, "no security policy")
    shown = json.loads(shell.ok("mikeytool decode error --json"))
    assert shown["data_type"] == "Error"
    assert [one["payload"] for one in shown["payloads"]] == ["T", "ERR", "SP"]
    told = shell.fails("mikeytool transfer finish error --session a", 1, "not authenticated")
    assert f"supports {SMALL}" in told.err
    shell.ok(f"{ANSWER} | mikeytool transfer finish --session a")  # a hint ends nothing


def test_errors_about_what_cannot_be_taken_at_all(shell: Shell) -> None:
    """PRF and data type are wrong before anything is asked; nothing answers an Error message."""
    with_ticket(shell).ok(f"{CALL} -f hex > init")
    init = shell.path("init").read_text().strip()
    answer = ANSWER.replace("respond init", "respond --send-errors")
    for text, number in ((f"{init[:6]}7f{init[8:]}", 2), (f"{init[:2]}0f{init[4:]}", 11)):
        shell.path("wrong").write_text(text)
        ran = shell.run(f"{answer} wrong > error")
        assert ran.code in (1, 3)
        shown = json.loads(shell.ok("mikeytool decode error --json"))["payloads"]
        assert [one["error_no_value"] for one in shown if one["payload"] == "ERR"] == [number]
    assert shell.fails(f"{answer} error", 3, "Error").out == ""


def test_who_answers_is_told_that_the_answer_is_refused(shell: Shell) -> None:
    """The Error message goes to standard output, and its MAC is verified at the other end."""
    with_ticket(shell, "--key-type none --flags=+M").ok(f"{CALL} --cs dir=send,ssrc=0x5 > init")
    shell.ok(f"{ANSWER} --kemac tek+salt --cs dir=send,ssrc=0x6,id=7 --suite {LARGE} > answer")
    shell.ok("mikeytool transfer finish answer --session a; cp a other")
    update = "mikeytool transfer update --session b --suite"
    shell.ok(f"{update} {LARGE} --cs dir=send,id=9 > update")
    shell.fails(
        f"mikeytool transfer respond update --session a --suite {SMALL} > error", 1, "policy"
    )
    told = shell.fails("mikeytool transfer finish error --session b", 1, "is an Error message")
    assert f"supports {SMALL}" in told.err
    assert "(10)" in told.err


def test_an_error_about_what_is_over(shell: Shell) -> None:
    """A responder's session takes an Error message about its answer, and nothing else."""
    with_sessions(shell)
    shell.fails("mikeytool transfer finish transfer-resp --session bob.session", 1, "not wait")
    shell.ok(
        "mikeytool transfer update --session alice.session --cs dir=send > update\n"
        "mikeytool transfer respond update --session bob.session > answer"
    )
    shell.fails("mikeytool transfer finish update --session bob.session", 1, "not wait")


def test_json_has_the_error_message_in_it(shell: Shell) -> None:
    with_ticket(shell).ok(f"{CALL} > init")
    ran = shell.fails(f"{ANSWER} --suite {SMALL} --send-errors --json", 1, "no security policy")
    told = json.loads(ran.out)
    assert told["message"].startswith("AQY")
    assert "no security policy" in told["error"]


@pytest.mark.parametrize("full", ["/dev/full", "gone/answer"])
def test_an_answer_that_cannot_be_written(shell: Shell, full: str) -> None:
    with_ticket(shell).ok(f"{CALL} > init")
    shell.fails(f"{ANSWER} -o {full}", 4)
    if not full.startswith("/dev"):
        assert not shell.path("b").exists()
        shell.ok(f"{ANSWER} -o answer && mikeytool transfer finish answer --session a")
