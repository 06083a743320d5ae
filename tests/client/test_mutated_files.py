"""State files with anything in them: exit 3 or another code with one line, never a traceback."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mikeytool.client.session_files import SessionFile
from mikeytool.client.ticket_files import Pending, read_ticket
from mikeytool.media.session_description import describe_session_file
from mikeytool.wire.errors import MikeyError, WireError
from tests.cli.shell import Shell, with_sessions
from tests.series import Series
from tests.world import START

ODD: tuple[Any, ...] = (
    "", "0", "zz", "ff" * 70000, "-1", None, True, [], {}, [[]], -1, 1 << 31, 1 << 32, 1 << 64,
    1 << 4000, 1e308, float("inf"), float("-inf"), float("nan"), "\udcff", "\x1b[2J", "NaN",
)  # fmt: skip


def mutations(content: str, chance: random.Random) -> Iterator[str]:
    """A file with a value that is another, gone, or turned around; or with octets changed."""
    while True:
        if chance.random() < 0.2:
            octets = bytearray(content.encode())
            for _ in range(chance.randint(1, 4)):
                octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
            yield octets.decode("latin-1")
            continue
        whole = json.loads(content)
        inside: Any = whole
        while True:
            places = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            place = chance.choice([each for each in places if each != "mikeytool"] or [None])
            if place is None:
                break
            below = inside[place]
            if isinstance(below, dict | list) and below and chance.random() < 0.8:
                inside = below
                continue
            if isinstance(below, str) and len(below) > 1 and chance.random() < 0.5:
                at = chance.randrange(len(below) - 1)
                inside[place] = below[:at] + chance.choice("0f7c") + below[at + 1 :]
            elif chance.random() < 0.1:
                del inside[place]
            else:
                inside[place] = chance.choice(ODD)
            break
        yield json.dumps(whole)


def look(path: Path, kind: str) -> None:
    """What commands do first with a file of a kind."""
    if kind == "session":
        described = describe_session_file(SessionFile.read(path), START, show_keys=True)
        json.dumps(described)
    elif kind == "ticket":
        json.dumps(read_ticket(path).json())
    else:
        Pending.read(path)


def test_mutated_files(shell: Shell, series: Series) -> None:
    with_sessions(shell)
    shell.ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        " --session waiting > again\n"
        "mikeytool ticket request --as sip:alice@example.com --psk file:alice.psk"
        " --to sip:bob@example.com --kms-id sip:kms.example.com --pending pending > request"
    )
    chance = series.chance()
    files = {"alice.session": "session", "waiting": "session", "alice.ticket": "ticket"}
    files["pending"] = "pending"
    for name, kind in files.items():
        made = mutations(shell.path(name).read_text(), chance)
        path = shell.path("mutated")
        for _ in range(series.length(3750, 250)):
            text = next(made)
            path.write_text(text, "utf-8", "surrogatepass")
            try:
                look(path, kind)
            except MikeyError:
                pass
            except Exception as error:
                pytest.fail(f"{name}: {error!r} of {text}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("last_t", "Infinity"),
        ("csb_id", "NaN"),
        ("csb_id", str(1 << 40)),
        ("randr_i", json.dumps("00" * 256)),
        ("randr_r", json.dumps("00" * 300)),
        ("sent", '{"1 aa": [1, 1]}'),
        ("sent", f'{{"1 aa 00000001": [{1 << 60}, 1]}}'),
    ],
)
def test_what_no_session_has(shell: Shell, field: str, value: str) -> None:
    with_sessions(shell)
    content = json.loads(shell.path("alice.session").read_text())
    content[field] = "HERE"
    shell.path("broken").write_text(json.dumps(content).replace('"HERE"', value))
    with pytest.raises(WireError, match=r"broken|no session file"):
        SessionFile.read(shell.path("broken"))
    ran = shell.fails("mikeytool transfer show broken", 3)
    assert ran.err.count("\n") == 1


def test_a_key_length_that_no_cipher_has(shell: Shell) -> None:
    """Octets are not made for a policy that asks for gigabytes of them."""
    with_sessions(shell)
    content = json.loads(shell.path("alice.session").read_text())
    for one in content["crypto_sessions"]:
        sp = bytearray.fromhex(one["policy"])
        sp[3:5] = (len(sp) - 5 + 6).to_bytes(2)
        one["policy"] = (bytes(sp) + bytes.fromhex("01047fffffff")).hex()
    shell.path("broken").write_text(json.dumps(content))
    shell.fails("mikeytool transfer show broken", 3, "broken")
