"""A session file that was copied is refused once another copy has gone on."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mikeytool.client.initiate import Media, start_update
from mikeytool.client.respond import answer_session_update
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket import new_key
from mikeytool.media.session_contexts import session_senders
from mikeytool.media.settings import Settings
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import DataType, KeyType
from tests.cli.shell import Shell, with_sessions
from tests.world import accept_all

Bring = Callable[[Session], Media]
ENV = Environment(clock=time.time_ns, random=os.urandom)


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


@pytest.fixture
def copies(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Alice's session file, a copy of it, Bob's and a copy of his."""
    with_sessions(shell, "--flags=+L")
    monkeypatch.setenv("MIKEYTOOL_STATE", shell.variables["MIKEYTOOL_STATE"])
    made = []
    for name in ("alice", "bob"):
        original, copy = Path(shell.path(f"{name}.session")), Path(shell.path(f"{name}.copy"))
        shutil.copy(original, copy)
        made += [original, copy]
    return made


def no_keys(_session: Session) -> Media:
    return Media()


def new_keys(_session: Session) -> Media:
    return Media(kemac_keys=(new_key(KeyType.TGK, os.urandom(16), None, os.urandom(4)),))


def meanwhile(what: Callable[[], object], bring: Bring = new_keys) -> Bring:
    """Media that the file's reader brings after something else has happened."""

    def media(session: Session) -> Media:
        what()
        return bring(session)

    return media


def test_two_copies_that_update_at_the_same_moment(copies: list[Path]) -> None:
    """Both have been read before either is written."""
    original, copy = copies[:2]
    first: list[bytes] = []
    before = copy.read_bytes()

    def update_the_original() -> None:
        first.append(start_update(ENV, original, new_keys))

    with pytest.raises(Refused, match="behind: it was updated"):
        start_update(ENV, copy, meanwhile(update_the_original))
    assert copy.read_bytes() == before
    assert len(first) == 1


def test_two_copies_that_answer_an_update_at_the_same_moment(copies: list[Path]) -> None:
    update = start_update(ENV, copies[0], new_keys)
    message = Incoming.read(update, DataType.TRANSFER_INIT)
    original, copy = copies[2:]
    before = copy.read_bytes()

    def answer(path: Path, media: Bring) -> bytes | None:
        return answer_session_update(ENV, message, path, accept_policy=accept_all, media=media)[0]

    with pytest.raises(Refused, match="behind: it was updated"):
        answer(copy, meanwhile(lambda: answer(original, no_keys), no_keys))
    assert copy.read_bytes() == before


def test_two_copies_that_send_at_the_same_moment(copies: list[Path]) -> None:
    """Whichever is written first goes on; the other one gives nothing out and is not written."""
    original, copy = copies[:2]
    before = copy.read_bytes()
    with session_senders([original], Settings()) as (contexts, save):
        ssrc = next(iter(contexts[1].ssrcs or ()))
        with session_senders([copy], Settings()) as (others, save_the_other):
            for each in (contexts, others):
                each[1].process(bytes.fromhex(packet(f"{ssrc:08x}", 1)), "", "")
            save()
            with pytest.raises(Refused, match="was sent further"):
                save_the_other()
            contexts[1].process(bytes.fromhex(packet(f"{ssrc:08x}", 2)), "", "")
            save()
    assert copy.read_bytes() == before


def test_a_file_that_cannot_be_written_changes_no_record(
    copies: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or its only copy would count as behind."""
    original = copies[0]

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mikeytool.client.session_files.write_json", fail)
        with pytest.raises(OSError, match="No space"):
            start_update(ENV, original, new_keys)
        with session_senders([original], Settings()) as (contexts, save):
            ssrc = next(iter(contexts[1].ssrcs or ()))
            contexts[1].process(bytes.fromhex(packet(f"{ssrc:08x}", 1)), "", "")
            with pytest.raises(OSError, match="No space"):
                save()
    start_update(ENV, original, new_keys)
    with session_senders([original], Settings()) as (contexts, save):
        contexts[1].process(bytes.fromhex(packet(f"{ssrc:08x}", 1)), "", "")
        save()
