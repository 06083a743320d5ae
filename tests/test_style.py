"""Types and style are checked like everything else."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.exchange.profile import PROFILE_128
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.wire.identity import Identity
from tests.benchmarks.bench_decode import camera_message
from tests.capture import network
from tests.support import TESTS
from tests.world import ALICE, BOB, Clock, World, psk_of

KMS = Identity.from_text("sip:kms@example.com")

ROOT = TESTS.parent


@pytest.mark.first
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
        "run(['decode', '01000000000000010001']);"
        "unused = {'cryptography', 'rich', 'sqlite3', 'importlib.resources', 'tempfile',"
        " 'mikeytool.capture.pcap', 'mikeytool.capture.sdp', 'mikeytool.client.key_text',"
        " 'mikeytool.wire.annotated_dump', 'mikeytool.wire.extensions'};"
        "assert not unused & set(sys.modules), unused & set(sys.modules)"
    )
    env = {"PYTHONIOENCODING": "utf-8"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, env=env)


def test_a_capture_of_bare_messages_loads_nothing_for_text(tmp_path: Path) -> None:
    path = tmp_path / "one.pcap"
    path.write_bytes(network.pcap([network.udp(camera_message(1), network.Ends(dport=2269))]))
    code = (
        "import sys; from mikeytool.cli.main import run;"
        f"code = run(['decode', '--json', {str(path)!r}]);"
        "unused = {'cryptography', 'rich', 'sqlite3', 'tempfile', 'mikeytool.capture.sdp',"
        " 'mikeytool.capture.strict_text', 'mikeytool.capture.text',"
        " 'mikeytool.wire.annotated_dump'};"
        "assert code == 0 and not unused & set(sys.modules), unused & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_the_version_loads_neither_numbers_nor_messages() -> None:
    code = (
        "import sys; from mikeytool.cli.main import run; run(['--version']);"
        "unused = {'construct', 'cryptography', 'rich', 'sqlite3', 'tempfile',"
        " 'importlib.resources', 'mikeytool.wire.registry', 'mikeytool.storage'};"
        "assert not unused & set(sys.modules), unused & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_commands_without_messages_load_no_grammar(tmp_path: Path) -> None:
    store = str(tmp_path / "kms.db")
    Store.init(store, KMS, PROFILE_128, Tpk(KMS, bytes(16))).close()
    for command in (["keygen", "tgk"], ["kms", "policy", "show", store]):
        code = (
            "import sys; from mikeytool.cli.main import run;"
            f"code = run({command});"
            "unused = {'construct', 'cryptography.x509'} & set(sys.modules);"
            "assert code == 0 and not unused, (code, unused)"
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


def test_calls_with_keys_that_are_shared_load_no_certificates(tmp_path: Path) -> None:
    """Nor PostgreSQL, where the store is a file."""
    with closing(World(tmp_path, Clock(time.time_ns()))) as world:
        kms = f"--kms {world.where} --kms-id sip:kms.example.com"
    as_alice, as_bob = (f"--as {who} --psk {psk_of(who).hex()} {kms}" for who in (ALICE, BOB))
    texts = [
        f"ticket request {as_alice} --to {BOB} --save ticket",
        f"transfer init --ticket ticket --to {BOB} --session 1 -o init",
        f"transfer respond init {as_bob} --session 2 -o resp",
    ]
    commands = [text.split() for text in texts]
    code = (
        "import sys; from mikeytool.cli.main import run;"
        f"codes = [run(command) for command in {commands}];"
        "unused = {'cryptography.x509', 'mikeytool.storage.postgres'} & set(sys.modules);"
        "assert codes == [0, 0, 0] and not unused, (codes, unused)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


# The plan

_EXCHANGE = {"wire", "crypto"}
_KMS = _EXCHANGE | {"storage", "exchange"}
_CLIENT = _KMS | {"kms"}
_MEDIA = _EXCHANGE | {"capture", "srtp", "exchange", "client"}
ROOMS = {
    "wire": set(),
    "crypto": {"wire"},
    "lint": {"wire", "crypto"},
    "exchange": _EXCHANGE,
    "storage": {"wire"},
    "kms": _KMS,
    "client": _CLIENT,
    "srtp": {"wire"},
    "capture": {"wire"},
    "media": _MEDIA,
    "conference": _MEDIA | _CLIENT | {"media"},
}
"""What each room may import beside its own modules; the command line may import everything."""

MEANINGS = {
    "certificates": "certificates of X.509",
    "check": "checks of something whole, a message or a store",
    "credentials": "what shows to a KMS who one is",
    "header": "the common header, HDR (RFC 6043 6.1)",
    "initiate": "the initiator's side of Ticket Transfer",
    "mission_critical": "mission-critical systems of 3GPP (TS 33.180)",
    "public_key": "exchanges of users with certificates",
    "recover": "the keys of a session from its messages",
    "respond": "the responder's side of Ticket Transfer",
    "store": "the store of a KMS",
    "ticket": "the TICKET (RFC 6043 6.10)",
    "ticket_policy": "the Ticket Policy (RFC 6043 6.10)",
}
"""The one meaning of names that modules in several rooms have."""


def imported(path: Path) -> Iterator[str]:
    """The rooms that a module imports, in functions as well."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "mikeytool":
            names = [f"mikeytool.{one.name}" for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = [node.module or ""]
        for name in names:
            if name.startswith("mikeytool.") and name.split(".")[1] in (*ROOMS, "cli"):
                yield name.split(".")[1]


def modules(folder: str = "") -> list[Path]:
    return sorted((ROOT / "mikeytool" / folder).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    allowed = ROOMS[room] | {room}
    found = {path: set(imported(path)) - allowed for path in modules(room)}
    assert not {str(path): names for path, names in found.items() if names}


def test_every_room_has_a_row() -> None:
    assert {path.parent.name for path in (ROOT / "mikeytool").glob("*/__init__.py")} == {
        *ROOMS,
        "cli",
    }


def test_nothing_imports_the_command_line() -> None:
    others = [path for path in modules() if "cli" not in path.parts and path.stem != "__main__"]
    assert not [str(path) for path in others if "cli" in imported(path)]


def test_the_command_line_is_small() -> None:
    assert len(list((ROOT / "mikeytool" / "cli").glob("*.py"))) <= 15
    assert sum(len(path.read_text().splitlines()) for path in modules("cli")) < 6500


def test_a_module_name_has_one_meaning() -> None:
    names = Counter(path.stem for path in modules() if not path.stem.startswith("__"))
    assert {name for name, count in names.items() if count > 1} == set(MEANINGS)
