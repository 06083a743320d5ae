"""`kms user import`: users from CSV and JSON Lines, all of them or none."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.cli.main import run
from mikeytool.wire.identity import Identity
from tests.cli.shell import Shell, with_kms
from tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(World(tmp_path)) as made:
        yield made


KEY = "00112233445566778899aabbccddeeff"
IMPORT = "mikeytool kms user import -q kms.db users"


CSV = f"""uri,psk,psk_id,act_as
sip:c@example.com,{KEY},c-key,sip:c1@example.com sip:c2@*
"sip:d@example.com", , ,
"""
JSON_LINES = f"""
{{"uri": "sip:c@example.com", "psk": "{KEY}", "psk_id": "c-key", "act_as": ["sip:c1@example.com", "sip:c2@*"]}}

{{"uri": "sip:d@example.com"}}
"""  # noqa: E501


def imported(world: World, capsys: pytest.CaptureFixture[str], content: bytes) -> tuple[int, str]:
    """The exit code and the errors of an import, without a process."""
    file = world.folder / "users"
    file.write_bytes(content)
    store = str(world.store.path)
    code = run(["kms", "user", "import", store, str(file), "-o", str(world.folder / "keys")])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


@pytest.mark.parametrize("content", [CSV, JSON_LINES, "\ufeff" + CSV.replace("\n", "\r\n")])
def test_users_are_imported(world: World, capsys: pytest.CaptureFixture[str], content: str) -> None:
    """What it is is found by its content."""
    assert imported(world, capsys, content.encode())[0] == 0
    keys = world.folder / "keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    word, uri, key = keys.read_text().split()
    assert (word, uri, len(key)) == ("psk", "sip:d@example.com", 64)
    carol, dan = (world.store.user(Identity.from_text(f"sip:{x}@example.com")) for x in "cd")
    assert carol is not None
    assert dan is not None
    assert (str(carol.psk_id), dan.psk_id) == ("c-key", None)
    assert world.store.act_as(carol.identity) == ["sip:c1@example.com", "sip:c2@*"]
    assert [world.store.psk(one).hex() for one in (carol, dan)] == [KEY, key]


def test_keys_that_are_made_go_to_standard_output(shell: Shell) -> None:
    with_kms(shell)
    shell.path("users").write_text("uri\nsip:c@x\nsip:d@x\n")
    lines = shell.ok(IMPORT).splitlines()
    assert [line.split()[:2] for line in lines] == [["psk", "sip:c@x"], ["psk", "sip:d@x"]]


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("", 3, ["empty"]),
        ("\x00\xff", 3, ["no text"]),
        ("name,key\na,b\n", 3, ["first line"]),
        (f"uri,psk\nsip:c@x,{KEY}\nsip:d@x,0011\n", 2, ["users:3", "at least 16"]),
        (f"uri,psk\nsip:c@x,{KEY}\nsip:d@x,xyz\n", 2, ["users:3", "no hex"]),
        (f"uri,psk\nsip:c@x,{KEY}\nsip:c@x,{KEY}\n", 4, ["users:3", "exists already"]),
        ("uri\nsip:alice@example.com\n", 4, ["users:2", "exists already"]),
        ("uri,psk_id\nsip:c@x,k\nsip:d@x,k\n", 4, ["users:3", "key name k"]),
        ("uri,psk\nsip:c@x\n", 3, ["users:2", "1 columns"]),
        ("uri,sex\nsip:c@x,f\n", 3, ["users:2", "sex"]),
        ('uri,psk\n"sip:c@x,\n', 3, ["users:2", "no CSV"]),
        ('{"uri": "sip:c@x"}\n{"uri": \n', 3, ["users:2", "JSON"]),
        ('{"uri": "sip:c@x"}\n[]\n', 3, ["users:2", "JSON"]),
        ('{"psk": "00"}\n', 3, ["users:1", "uri"]),
        ('{"uri": "sip:c@x", "act_as": 7}\n', 2, ["users:1", "act_as"]),
        ('{"uri": "sip:c@x", "psk": 7}\n', 3, ["users:1", "psk"]),
    ],
)
def test_lines_that_are_wrong_are_told_and_nobody_is_added(
    world: World, capsys: pytest.CaptureFixture[str], content: str, code: int, words: list[str]
) -> None:
    found, said = imported(world, capsys, content.encode("latin-1"))
    assert found == code
    for word in words:
        assert word in said
    assert not (world.folder / "keys").exists()
    assert len(world.store.users()) == 4


def test_every_wrong_line_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = imported(world, capsys, b"uri,psk\n" + b"sip:c@x,0011\n" * 30)
    assert code == 2
    assert "30 lines are wrong" in said
    assert said.splitlines()[2].endswith("exists already (29 times, first here)")
    assert len(said.splitlines()) == 3


def test_of_many_wrong_lines_ten_are_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "".join(f"sip:u{n}@x,0011\nsip:u{n}@x,0011\n" for n in range(30))
    _, said = imported(world, capsys, f"uri,psk\n{lines}".encode())
    first, *others = said.splitlines()
    assert "wrong; nobody was added" in first
    assert len(others) == 10
    assert others[-1].endswith("more errors are not shown")


def test_files_are_not_overwritten(shell: Shell) -> None:
    with_kms(shell)
    shell.path("users").write_text("uri\nsip:c@x\n")
    shell.fails(f"{IMPORT} -o alice.psk", 4, "--force")
    shell.fails("mikeytool kms user import kms.db nowhere", 4, "nowhere")
    assert json.loads(shell.ok("mikeytool kms show kms.db --json"))["users"] == 2
    shell.ok(f"{IMPORT} -o alice.psk --force")


def test_many_users(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "".join(f"sip:u{n}@example.com,{n:032x}\n" for n in range(20_000))
    code, said = imported(world, capsys, f"uri,psk\n{lines}".encode())
    assert code == 0
    assert "20000 users" in said
    assert world.store.count_users() == 20_004
