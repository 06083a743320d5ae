"""Care with keys, files and screens: what scripts and people would stumble over."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess

import pytest

from tests.cli.shell import ALICE, BOB, Shell, with_kms, with_sessions, with_ticket
from tests.support import vectors

TRANSFER_INIT = vectors("exchanges")[0]["TRANSFER_INIT"]
PACKET = "80000005000000a0{ssrc}68656c6c6f"


def opened(shell: Shell, command: str, code: int = 0) -> dict[str, object]:
    ran = shell.run(f"mikeytool decode --json {command}")
    assert ran.code == code, ran.err
    found: dict[str, object] = json.loads(ran.out)["opened"]
    return found


def test_a_key_verifies_what_it_covers_and_says_nothing_of_the_rest(shell: Shell) -> None:
    with_sessions(shell)
    keys = json.loads(shell.ok("mikeytool ticket show alice.ticket --json --show-keys"))
    mpki, mpkr = f"--mpki {keys['mpki']}", f"--mpkr {keys['mpkr']}"
    answer = "transfer-resp --init transfer-init"
    assert opened(shell, f"{answer} {mpki} {mpkr}")["mac"] == "verified"
    assert opened(shell, f"{answer} {mpkr}")["mac"] == "verified"
    assert opened(shell, f"{answer} {mpki}")["mac"] == "not checked"
    assert opened(shell, f"transfer-resp {mpkr}")["mac"] == "not checked"
    init = opened(shell, f"transfer-init {mpkr}")
    assert (init["mac"], init["initiator_data"]) == ("not checked", "verified")
    assert opened(shell, f"{answer} --mpkr {'0' * 32}", 1)["mac"] == "FAILED"
    other = shell.run(f"mikeytool decode {answer[:13]} --init {TRANSFER_INIT} {mpkr}")
    assert "another exchange" in other.err


def test_a_tpk_opens_ticket_message_and_answer(shell: Shell) -> None:
    case = vectors("exchanges")[0]
    tpk = f"--tpk {case['tpk']} --show-keys"
    shown = json.loads(shell.ok(f"mikeytool decode --json {case['TRANSFER_INIT']} {tpk}"))
    checks = [shown["opened"][name] for name in ("mac", "ticket", "initiator_data")]
    assert checks == ["verified"] * 3
    types = [key["type"] for key in shown["opened"]["keys"]]
    assert types == ["MPK", "MPK", "TGK"]
    assert shown["opened"]["keys"][0]["key"] == case["mpki"]
    ticket = next(p for p in shown["payloads"] if p["payload"] == "TICKET")
    kemac = next(p for p in ticket["ticket_data"] if p["payload"] == "KEMAC")
    assert [key["key"] for key in kemac["keys"]] == [case["mpk"], case["ticket_keys"][0]["key"]]
    answer = f"{case['TRANSFER_RESP']} --init {case['TRANSFER_INIT']} {tpk}"
    assert opened(shell, answer)["mac"] == "verified"


def test_a_batch_goes_on_past_what_is_no_message_at_all(shell: Shell) -> None:
    shell.path("empty").write_text("")
    shell.path("folder").mkdir()
    ran = shell.run(f"mikeytool decode --json {TRANSFER_INIT} empty folder {TRANSFER_INIT}")
    assert ran.code == 3
    first, empty, folder, last = map(json.loads, ran.out.splitlines())
    assert first == last
    assert list(empty) == list(folder) == ["error"]


def test_a_tree_ends_with_its_reader(shell: Shell) -> None:
    shell.path("many").write_text(f"{TRANSFER_INIT}\n" * 300)
    ran = shell.run("mikeytool decode many | head -1 > /dev/null; echo ${PIPESTATUS[0]}")
    assert (ran.out.strip(), ran.err) == ("141", "")


def test_a_key_is_asked_for_on_the_terminal(shell: Shell) -> None:
    with_kms(shell)
    key = shell.path("alice.psk").read_text().strip()
    command = ("mikeytool ticket request --as sip:alice@example.com --to sip:bob@example.com"
               " --kms kms.db --save t")  # fmt: skip
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(shell.folder)
        os.execve("/bin/sh", ["sh", "-c", command], shell.variables)
    shown = b""
    while b"(hex):" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, key.encode() + b"\n")
    while True:
        try:
            data = os.read(terminal, 1024)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.waitpid(child, 0)
    assert shell.path("t").exists(), shown
    assert key.encode() not in shown


def test_no_octet_of_an_argument_is_too_odd(shell: Shell) -> None:
    with_kms(shell)
    odd = r"--to $(printf 'sip:b\xff@x')"
    shell.ok(f"mikeytool ticket request {ALICE} {odd} --kms kms.db --save t")
    assert "0x7369703a62ff4078" in shell.ok("mikeytool ticket show t --json")
    shell.fails("mikeytool keygen rsa --identity 'sip:böb@x' -o k --cert-out c", 2, "ASCII")
    shell.fails(f"mikeytool ticket request {ALICE} --to sip:b --kms kms.db --save u"
                " --not-before 0001-01-01", 2, "1968")  # fmt: skip
    shell.fails(f"mikeytool decode {TRANSFER_INIT[:-2]} --psk 'b64:ü'", 2, "base64")
    shell.fails("mikeytool kms log kms.db --since now+1h", 2, "2104", MIKEYTOOL_NOW="9999-12-31")
    shell.fails(f"mikeytool decode {TRANSFER_INIT} >&-", 4, "closed")
    shell.fails("mikeytool decode <&-", 3, "closed")


def test_octets_from_the_wire_do_not_steer_the_terminal(shell: Shell) -> None:
    hostile = b"\x1b[2J".hex()
    message = TRANSFER_INIT.replace(b"sip:a".hex(), hostile + b"a".hex())
    shown = shell.ok(f"mikeytool decode {message}")
    assert "\x1b" not in shown
    assert r"\x1b[2Ja" in shown


def test_two_ends_never_send_one_stream(shell: Shell) -> None:
    """Alice and Bob have one TEK; with --any-ssrc neither may send what the other sends."""
    with_ticket(shell, "--key-type tek+salt").ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        " --cs dir=send,ssrc=0x11111111 --cs dir=recv --session a"
        f" | mikeytool transfer respond {BOB} --kms kms.db --session b"
        " --cs dir=send,ssrc=0x22222222 | mikeytool transfer finish --session a"
    )
    for ssrc, code in (("11111111", 0), ("22222222", 1), ("33333333", 0), ("33333333", 1)):
        shell.path("packet").write_text(PACKET.format(ssrc=ssrc))
        ran = shell.run("mikeytool srtp encrypt packet --session a --any-ssrc")
        assert ran.code == code, f"{ssrc}: {ran.err}"
    shell.fails("mikeytool srtp encrypt packet --session b --any-ssrc", 1, "same key")
    shell.fails("mikeytool srtp encrypt packet --session a", 1, "0x33333333", "0x11111111")


def test_an_ssrc_is_not_given_twice_under_one_key(shell: Shell) -> None:
    with_ticket(shell, "--key-type tek+salt --flags DEHJNO")
    init = ("mikeytool transfer init -q --ticket alice.ticket --to sip:bob@example.com"
            " --cs dir=send,ssrc=5 --session")  # fmt: skip
    shell.ok(f"{init} one")
    shell.fails(f"{init} two", 1, "same key")


def test_messages_do_not_overwrite_state(shell: Shell) -> None:
    with_sessions(shell)
    request = f"mikeytool ticket request {ALICE} --to sip:bob@example.com"
    pending = f"{request} --kms-id sip:kms.example.com --pending p"
    shell.fails(f"{pending} -o alice.ticket", 4, "state file")
    shell.fails(f"{pending} -o nowhere/x", 4, "folder")
    assert not shell.path("p").exists()
    shell.ok("cp kms.db other.db")
    shell.fails(f"{request} --kms kms.db --save other.db --force", 4, "database")
    shell.fails(f"{request} --kms kms.db --save kms.db --force", 2, "reads this file")
    shell.fails(f"{request} --kms kms.db --save alice.psk --force", 2, "reads this file")
    shell.fails(f"{request} --kms kms.db --save bob.session --force", 4, "session file")
    shell.path("device").symlink_to("/dev/null")
    shell.fails(f"{request} --kms kms.db --save device --force", 4, "no ordinary file")
    shell.fails("mikeytool kms user add kms.db sip:x@example.com -o nowhere/key", 4, "folder")
    assert "sip:x@" not in shell.ok("mikeytool kms user list kms.db")


def test_a_store_can_be_made_anew(shell: Shell) -> None:
    with_kms(shell)
    shell.fails("mikeytool kms init alice.psk --id sip:x --force", 4)
    shell.ok("mikeytool kms init kms.db --id sip:other.example.com --force")
    shown = json.loads(shell.ok("mikeytool kms show kms.db --json"))
    assert (shown["kms"], shown["users"]) == ("sip:other.example.com", 0)


def test_key_files_that_are_cut_or_wrapped(shell: Shell) -> None:
    shell.path("cut").write_text("0" * 63)
    shell.path("wrapped").write_text("00112233\n44556677\n8899aabb\nccddeeff\n")
    with_kms(shell)
    add = "mikeytool kms user add -q kms.db"
    shell.fails(f"{add} sip:a@x --psk file:cut", 2, "odd number")
    shell.ok(f"{add} sip:a@x --psk file:wrapped")
    shell.ok("mikeytool ticket request --as sip:a@x --psk 00112233445566778899aabbccddeeff"
             " --to sip:b --kms kms.db --save t")  # fmt: skip


def test_other_protocols_have_sessions_too(shell: Shell) -> None:
    with_ticket(shell, "--key-type tek --key-type tek").ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        " --cs dir=send --cs dir=send,prot=241 --session a"
        f" | mikeytool transfer respond {BOB} --kms kms.db --session b"
        " | mikeytool transfer finish --session a"
    )
    a, b = (json.loads(shell.ok(f"mikeytool transfer show {one} --json --show-keys"))
            for one in "ab")  # fmt: skip
    assert a["crypto_sessions"][1]["protocol"] == "TLS-PSK"
    assert a["crypto_sessions"][1]["key"] == b["crypto_sessions"][1]["key"]
    assert a["crypto_sessions"][1]["key_id"] == a["crypto_sessions"][1]["mki"]


def test_screens_of_80_columns(shell: Shell) -> None:
    with_sessions(shell)
    for command in ("transfer show bob.session", "decode transfer-init", "kms user list kms.db",
                    "kms log kms.db"):  # fmt: skip
        shown = shell.ok(f"mikeytool {command}", COLUMNS="80")
        assert max(map(len, shown.splitlines())) <= 80, command
    shown = shell.ok("mikeytool kms log kms.db", COLUMNS="80")
    assert shown.count("outcome answered") == 2
    lines = shell.ok("mikeytool kms log kms.db", COLUMNS="120").splitlines()
    assert lines[0].split() == ["time", "exchange", "by", "for", "outcome", "reason"]
    assert sum("answered" in line for line in lines) == 2  # a column that is cut off has none


def test_no_address_and_no_time_is_broken(shell: Shell) -> None:
    """However narrow the terminal is; octets in hex may be."""
    long = "sip:a.user.with.a.rather.long.name@department.region.example.com"
    url = "https://kms.other.region.example.net/keymanagement"
    with_sessions(shell).ok(
        f"mikeytool kms user add -q kms.db {long} -o long.psk\n"
        f"mikeytool kms group add -q kms.db sip:team@example.com sip:bob@example.com {long}\n"
        f"mikeytool kms peer add -q kms.db sip:kms.example.net --url {url} --psk file:long.psk"
        " --for 'sip:*@example.net'\n"
        f"mikeytool kms policy deny -q kms.db --from {long} --to 'sip:*@example.com'"
    )
    for command, whole in (
        ("kms user list kms.db", [long]), ("kms group list kms.db", [long, "sip:bob@example.com"]),
        ("kms peer list kms.db", [url, "sip:*@example.net"]), ("kms policy list kms.db", [long]),
        ("kms log kms.db", [long, "sip:bob@example.com"]), ("kms show kms.db", ["kms.db.key"]),
        ("ticket show alice.ticket", ["sip:kms.example.com", "sip:alice@example.com"]),
    ):  # fmt: skip
        times = set(re.findall(r"\S+Z\b", shell.ok(f"mikeytool {command}")))
        for columns in ("80", "60", "40"):
            words = shell.ok(f"mikeytool {command}", COLUMNS=columns).replace(",", " ").split()
            assert {*whole, *times} <= set(words), command


def test_the_facts_of_a_ticket_are_whole_and_in_one_column(shell: Shell) -> None:
    others = [f"sip:number-{number:03}@example.com" for number in range(40)]
    with_ticket(shell, " ".join(f"--to {other}" for other in others))
    for variables in ({}, {"COLUMNS": "60"}):
        lines = shell.ok("mikeytool ticket show alice.ticket", **variables).splitlines()
        assert {line[10:12] for line in lines} == {"  "}
        assert [line[12:] for line in lines[2:43]] == ["sip:bob@example.com", *others]
        octets = "".join(line[12:] for line in lines if not line[12:].strip("0123456789abcdef"))
        shown = json.loads(shell.ok("mikeytool ticket show alice.ticket --json"))
        assert shown["ticket"] in octets


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("lint --at soon init", "--at soon: "),
        ("kms log kms.db --since soon", "--since soon: "),
        ("kms policy set kms.db --max-skew 9", "--max-skew 9: "),
        ("conference rekey conference.db --overlap 9", "--overlap 9: "),
        ("transfer respond x --session bob.session --overlap 9", "--overlap 9: "),
        (
            "ticket show bob.session",
            "no ticket file of mikeytool, but a session",
        ),
        ("ticket show transfer-resp", "there is no ticket in this"),
        ("ticket show nowhere", "there is no file 'nowhere'"),
        ("transfer update --session bob.session --cs dir=recv --sdp nowhere", "--sdp nowhere: "),
        ("kms handle transfer-init kms.db", "kms.db: this is a database"),
        ("transfer finish alice.ticket --session bob.session", "alice.ticket: this is a ticket"),
        (f"ticket request {ALICE} --to sip:b --kms kms.db --save t -o x", "-o is for the message"),
        (
            "ticket show AQYFAEwC+OYAAQwA7cNPSteoSCYJDAAAAAHcJVVnx4I9BW0GR8WOSJZngXYbug==",
            "no ticket",
        ),
        ("decode --index 2 AQAFgC9uGlUAAAsA7JpS8YAAAAAAAA==", "there is one message"),
        ("decode --flow AQAFgC9uGlUAAAsA7JpS8YAAAAAAAA==", "--flow draws captures only"),
        ("transfer update --session bob.session", "(--kemac), suites (--suite)"),
        ("srtp encrypt alice.rtp", "--mikey MESSAGE\n"),
    ],
)
def test_errors_name_what_was_given(shell: Shell, command: str, says: str) -> None:
    with_sessions(shell)
    ran = shell.run(f"mikeytool {command}")
    assert says in ran.err
    assert ran.code in ((4,) if "--sdp" in command else (2, 3))


def test_a_debug_run_shows_the_traceback_and_the_same_code(shell: Shell) -> None:
    ran = shell.run("mikeytool transfer show nowhere --debug")
    assert ran.code == 4
    assert "Traceback" in ran.err


@pytest.mark.parametrize("name", ["ticket", "session", "kms"])
def test_state_files_given_as_messages_are_named(shell: Shell, name: str) -> None:
    with_sessions(shell)
    path = {"ticket": "alice.ticket", "session": "bob.session", "kms": "kms.db"}[name]
    ran = shell.fails(f"mikeytool decode {path}", 3, "this is a")
    assert len(ran.err.strip().splitlines()) == 1


def test_interrupting_gives_130(shell: Shell) -> None:
    os.mkfifo(shell.path("pipe"))
    process = subprocess.Popen(
        ["mikeytool", "decode", "pipe"], cwd=shell.folder, env=shell.variables,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    with shell.path("pipe").open("wb"):  # it opens when the command reads it
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_is_ended_leaves_nothing_half_written(
    shell: Shell, number: signal.Signals
) -> None:
    key = bytes(range(30)).hex()
    packets = "".join(f"8000{at:04x}000000a011111111{'00' * 160}\n" for at in range(8000))
    with subprocess.Popen(
        ["mikeytool", "srtp", "encrypt", "-q", "--key", key, "-o", "new"],
        cwd=shell.folder, env=shell.variables, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin
        process.stdin.write(packets.encode())  # more than a pipe holds: it is being read
        process.stdin.flush()
        assert any(shell.folder.iterdir())
        process.send_signal(number)
        assert process.wait() == 128 + number
        assert process.stderr
        assert process.stderr.read() == b""
    assert not list(shell.folder.iterdir())


def test_a_hangup_that_is_ignored_ends_nothing(shell: Shell) -> None:
    with subprocess.Popen(
        ["nohup", "mikeytool", "decode", "--json"],
        cwd=shell.folder, env=shell.variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{TRANSFER_INIT}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.stdin.close()
        assert process.wait() == 0


def test_a_copy_over_a_store_is_refused_without_advice_to_force_it(shell: Shell) -> None:
    with_sessions(shell)
    ran = shell.fails("mikeytool kms copy kms.db kms.db", 4, "choose another name")
    assert "--force" not in ran.err


@pytest.mark.parametrize(
    "command",
    [
        "ticket show {}", "transfer show {}", "kms show {}", "conference show {}", "manual {}",
        "decode {}", "lint --at {}", "lint --ignore {} 01", "decode 01 --keys {}", "encode {}",
        "decode 01 --private-key {}", "decode 01 --identity {}", "keygen psk --bytes {}", "{}",
        "keygen psk -o {}", "srtp decrypt --session {} 80", "ticket accept --pending {} --save x",
        "srtp decrypt --key {} 80", "srtp decrypt --sdes {} 80", "kms log kms.db --since {}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["alice.psk", "alice.ticket", "alice.pem", "keys"])
def test_what_is_in_a_file_of_keys_is_not_repeated(shell: Shell, command: str, name: str) -> None:
    """A careless `$(cat FILE)` puts keys where names belong; errors end in logs."""
    key = "0123456789abcdef0123456789abcdef"
    lines = [f"MIIEvgIBADANBgkqhkiG9w0BAQEFAASC{at:032}" for at in range(8)]
    content = {
        "alice.psk": key,
        "alice.ticket": json.dumps({"mikeytool": "ticket", "keys": [key] * 16}, indent=2),
        "alice.pem": "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END-----"]),
        "keys": f"psk sip:alice {key}\npsk sip:bob {key}",
    }[name]
    with_file = command.replace("{}", "$(cat what)")
    shell.path("what").write_text(content)
    ran = shell.run(f"mikeytool {with_file}".replace("$(cat what)", '"$(cat what)"'))
    assert ran.code or command == "keygen psk -o {}"  # a file may have that name
    assert key[4:] not in ran.out + ran.err
    assert lines[2] not in ran.out + ran.err


@pytest.mark.parametrize(
    "options",
    ["--psk file:/dev/zero", "--keys /dev/zero", "--keys tab", "--keys pem", "--keys long",
     "--private-key /dev/zero"],
)  # fmt: skip
def test_keys_without_an_end(shell: Shell, options: str) -> None:
    shell.path("tab").write_text("psk sip:alice file:/dev/zero\n")
    shell.path("pem").write_text("rsa /dev/zero\n")
    shell.path("long").write_text(f"psk sip:alice {'00' * 40_000}\n")
    ran = shell.run(f"mikeytool decode {TRANSFER_INIT} {options}")
    assert ran.code in (2, 3, 4)
    assert "too long" in ran.err
    assert len(ran.err.splitlines()) == 1
