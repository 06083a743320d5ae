"""A session file that was copied is refused once another copy has gone on."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from tests.cli.shell import Shell, with_sessions


def ssrc_of(shell: Shell, session: str) -> str:

    shown = json.loads(shell.ok(f"mikeytool transfer show {session} --json"))
    found: str = next(one["ssrc"] for one in shown["crypto_sessions"] if one["direction"] == "send")
    return found[2:]


def packet(ssrc: str, seq: int) -> str:
    return f"8000{seq:04x}00000001{ssrc}00112233445566778899"


@pytest.mark.parametrize("copied", [shutil.copy, os.link])
def test_a_copy_that_is_behind_encrypts_nothing(shell: Shell, copied: object) -> None:
    with_sessions(shell)
    assert callable(copied)
    copied(shell.path("alice.session"), shell.path("copy"))
    ssrc = ssrc_of(shell, "alice.session")
    sent = shell.ok(f"mikeytool srtp encrypt --session alice.session {packet(ssrc, 1)}")
    ran = shell.fails(
        f"mikeytool srtp encrypt --session copy {packet(ssrc, 1)}", 1, "behind", "sent further"
    )
    assert ran.out == ""
    shell.fails(f"mikeytool srtp encrypt --session copy {packet(ssrc, 2)}", 1, "behind")
    again = shell.ok(f"mikeytool srtp encrypt --session alice.session {packet(ssrc, 2)}")
    assert sent != again


def test_a_copy_that_is_behind_updates_nothing(shell: Shell) -> None:
    with_sessions(shell, "--flags=+L")
    shutil.copy(shell.path("alice.session"), shell.path("copy"))
    shell.ok("mikeytool transfer update --session alice.session --kemac tgk -o update")
    ran = shell.fails(
        "mikeytool transfer update --session copy --kemac tgk", 1, "behind", "it was updated"
    )
    assert ran.out == ""
    shell.ok("mikeytool transfer respond update --session bob.session -o answer")
    shell.fails("mikeytool transfer finish answer --session copy", 1)
    shell.ok("mikeytool transfer finish answer --session alice.session")
