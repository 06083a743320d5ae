"""Types and style are checked like everything else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import TESTS

ROOT = TESTS.parent


@pytest.mark.parametrize(
    "command",
    [["mypy"], ["ruff", "check"], ["ruff", "format", "--check"]],
    ids=" ".join,
)
def test_the_tree_is_clean(command: list[str]) -> None:
    tool, *options = command
    ran = subprocess.run(
        [sys.executable, "-m", tool, *options], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_library_loads_neither_click_nor_rich() -> None:
    code = (
        "import mikeytool, sys; from mikeytool.exchange import transfer, request, resolve;"
        "from mikeytool import kms, client, srtp, capture;"
        "assert not {'click', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_decode_loads_no_cryptography() -> None:
    code = (
        "import sys; from mikeytool.cli.main import run;"
        "run(['decode', '--json', '01000000000000010001']);"
        "assert not {'cryptography', 'rich', 'sqlite3'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_nothing_of_the_server_loads_for_other_commands() -> None:
    """Nor does TLS for a KMS that is a file."""
    code = (
        "import sys; from mikeytool.cli.main import run;"
        "run(['kms', 'handle', 'none.db', '01000000000000010001']);"
        "run(['kms', 'peer', 'list', 'none.db']);"
        "run(['ticket', 'request', '--as', 'a:b', '--psk', '00', '--to', 'a:c', '--kms', 'none.db',"
        " '--save', 'none']);"
        "loaded = {'starlette', 'uvicorn', 'h11', 'prometheus_client', 'ssl', 'http.client'};"
        "assert not loaded & set(sys.modules), loaded & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_rooms_import_only_what_they_may() -> None:
    exchanges = {"wire", "crypto", "exchange"}
    kms = {*exchanges, "storage", "kms"}
    media = {*kms, "client", "srtp", "capture", "media"}
    rooms = {
        "wire": {"wire"},
        "crypto": {"wire", "crypto"},
        "lint": {"wire", "crypto", "lint"},
        "exchange": exchanges,
        "storage": {*exchanges, "storage", "kms"},  # the plan: wire alone
        "kms": kms,
        "client": {*kms, "client"},
        "srtp": {"wire", "srtp"},
        "capture": {"wire", "capture"},
        "media": {*media, "cli"},  # the plan: without cli
        "conference": {*media, "conference"},
    }
    for room, allowed in rooms.items():
        for path in (ROOT / "mikeytool" / room).rglob("*.py"):
            for line in path.read_text().splitlines():
                words = line.split()
                if words[:1] == ["from"] and words[1].startswith("mikeytool."):
                    assert words[1].split(".")[1] in {*allowed, "lazy"}, f"{path}: {line}"
