"""Every command's help has examples, which run, and its exit codes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import chdir

import click
import pytest

from mikeytool.cli.help import all_commands, examples_of, folded
from mikeytool.cli.main import cli
from tests.capture import network
from tests.cli.json_schemas import closed
from tests.cli.shell import Shell
from tests.cli.test_captures import story
from tests.support import TESTS

BEFORE = {
    "kms user import": """
        printf 'uri\\nsip:dave@example.com\\n' > users.csv
        printf '{"uri": "sip:erin@example.com"}\\n' > users.jsonl
    """,
    "kms key add": """
        for name in other other-2; do
            mikeytool keygen rsa --identity sip:kms.example.org --bits 2048 -o $name.key \\
                --cert-out $name.crt
        done
    """,
    "kms trust add": """
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 \\
            -subj /CN=CA -addext basicConstraints=critical,CA:TRUE 2> openssl.log
        mikeytool keygen psk -o between.psk
        mikeytool keygen psk -o net.psk
        mikeytool keygen tpk --bytes 16 -o shared.tpk
    """,
    "srtp info": """
        for sequence in 1 2 3; do
            echo 8000000${sequence}000000a01111111168656c6c6f
        done > alice.rtp
    """,
    "conference init": """
        mikeytool kms user add kms.db sip:factory@conf.example.com \\
            --act-as 'sip:*@conf.example.com' -o factory.psk
    """,
    "conference create": """
        for at in '' -2; do
            mikeytool ticket request --as sip:alice@example.com --psk file:alice.psk --kms kms.db \\
                --to sip:factory@conf.example.com --to sip:bob@example.com \\
                --to sip:dave@example.com --flags=+M --save conf$at.ticket
            mikeytool transfer init --ticket conf$at.ticket --to sip:factory@conf.example.com \\
                --session creation$at.session > creation$at
        done
    """,
    "conference call-in": """
        mikeytool ticket request --as sip:bob@example.com --psk file:bob.psk --kms kms.db \\
            --to sip:room@conf.example.com --flags=+M --key-type none --save room.ticket
        mikeytool transfer init --ticket room.ticket --to sip:room@conf.example.com \\
            --session bob-room.session --cs dir=send,ssrc=0x22222222 --cs dir=recv > bob-calls
        mikeytool transfer init --ticket conf.ticket --to sip:room@conf.example.com \\
            --session alice-room.session --cs dir=send,ssrc=0x33333333 --cs dir=recv > alice-calls
    """,
    "conference end": "cp conf.db old.db",
    "conference answer": """
        psk=$(grep sip:dave@example.com new-keys | cut -d' ' -f3)
        mikeytool transfer respond to-dave --as sip:dave@example.com --psk $psk --kms kms.db \\
            --session dave.session > from-dave
    """,
}
"""What has to be there before the examples of some commands."""

ELSEWHERE = re.compile(r"https://|postgresql://|\bserve\b|\bssh\b")
"""What a test cannot reach."""


def commands(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from commands(below, (*path, name))


COMMANDS = [" ".join(path) for path in commands()]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_exit_codes(shell: Shell, command: str) -> None:
    out = shell.ok(f"mikeytool {command} --help", COLUMNS="80")
    assert all(len(line) <= 80 for line in out.splitlines()), out
    examples = out.partition("\nExamples:\n")[2].partition("\n\n")[0]
    assert len(examples.splitlines()) >= 2
    assert command.removesuffix(" show").split()[-1] in examples
    assert re.search(r"\nExit codes:\n  0  done\n", out)
    assert re.search(r"\n  2  wrong usage", out)


def test_the_examples_run_in_their_order(shell: Shell) -> None:
    """All in one folder, as one session; files that commands need are made before them."""
    shell.path("call.pcap").write_bytes(network.pcap(story()))
    shutil.copy(TESTS / "media/captures/reinvite-new-key.pcap", shell.path("sip-call.pcap"))
    assert set(COMMANDS) == set(all_commands())
    for command in all_commands():
        if command == "demo":  # it has tests of its own, and takes its time
            continue
        if command in BEFORE:
            shell.bash.ok(BEFORE[command])
        for example in examples_of(command):
            if ELSEWHERE.search(example):
                with chdir(shell.folder):
                    parse(example)
            else:
                ran = shell.run(example)
                assert ran.code == 0, f"{example}\n{ran.out}\n{ran.err}"
                if "--json" in example and "|" not in example:
                    check_json(shell, command, ran.out)
    for example in (
        "kms check kms.db --json", "lint --list --json", "srtp info alice.rtp --json",
        "srtp info sip-call.pcap --json", "conference updates conf.db",
        "transfer show alice.session --json --show-keys",
    ):  # fmt: skip
        command = next(each for each in all_commands() if example.startswith(each))
        check_json(shell, command, shell.ok(f"mikeytool {example}"))


def parse(example: str) -> None:
    """Read the options of each `mikeytool` in a command line, which must be there."""
    for part in example.split("|"):
        words = shlex.split(re.sub(r"[<>] \S+", "", part), comments=True)
        words = [word for word in words if word not in ("ssh", "kms.example.com")]
        command: click.Command = cli
        assert words[0] == "mikeytool"
        while isinstance(command, click.Group):
            del words[0]
            found = command.get_command(click.Context(command), words[0])
            assert found is not None
            command = found
        command.make_context(words[0], words[1:], parent=click.Context(cli))


def check_json(shell: Shell, command: str, output: str) -> None:
    """Every line is as the schema of the command says, and has nothing that it does not know."""
    validator = closed(shell.ok(f"mikeytool {command} --schema"))
    lines = output.splitlines()
    assert lines, command
    for line in lines:
        validator.validate(json.loads(line))


def test_a_folded_example_is_the_same_command() -> None:
    for command in COMMANDS:
        for example in examples_of(command):
            printed = "\n".join(folded(example, 78)).replace("mikeytool", "printf '%s\\n'", 1)
            whole = example.replace("mikeytool", "printf '%s\\n'", 1)
            if set("|<>$;&#") & set(example):
                continue
            assert _bash(printed) == _bash(whole)


def test_a_long_pipe_is_folded_where_the_next_command_begins() -> None:
    example = examples_of("transfer update")[0]
    starts = [line.lstrip(" |").partition(" ")[0] for line in folded(example, 78)]
    assert starts == ["mikeytool"] * 3


def test_no_example_has_a_comment_for_a_test() -> None:
    assert not [each for name in all_commands() for each in examples_of(name) if "#" in each]


def _bash(command: str) -> bytes:
    return subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout


def test_no_list_of_commands_cuts_a_sentence(shell: Shell) -> None:
    for group in ("", "keygen", "ticket", "transfer", "srtp", "conference", "kms", "kms user",
                  "kms group", "kms policy", "kms tpk", "kms key", "kms trust", "kms peer",
                  "kms log"):  # fmt: skip
        out = shell.ok(f"mikeytool {group} --help", COLUMNS="80")
        assert not [line for line in out.splitlines() if line.endswith("...")][1:], group
