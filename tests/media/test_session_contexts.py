"""What sessions remember when they send, and whom they let in when they receive."""

from __future__ import annotations

import json

import pytest

from mikeytool.srtp import MasterKey, Sender
from tests.cli.media import SUITE, counts, decrypt, frame, frames_of, write
from tests.cli.shell import BOB, Shell, with_sessions, with_ticket
from tests.srtp.media import rtcp, rtp

TEK = "--key-type tek+salt"
SENT = 0x11111111


def with_streams(shell: Shell, first: str = "") -> None:
    """A session in which Alice sends one SSRC under a TEK that Bob sends with, too."""
    with_ticket(shell, TEK).ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        f" --cs dir=send,ssrc={SENT:#x}{first} --cs dir=recv --session alice.session"
        f" | mikeytool transfer respond {BOB} --kms kms.db --session bob.session"
        " | mikeytool transfer finish --session alice.session"
    )


def key_of(shell: Shell) -> MasterKey:
    """The key with which Alice sends."""
    shown = shell.ok("mikeytool transfer show alice.session --json --show-keys")
    one = json.loads(shown)["crypto_sessions"][0]
    return MasterKey(bytes.fromhex(one["master_key"]), bytes.fromhex(one["master_salt"]))


def encrypted(shell: Shell, packet: bytes, options: str = "") -> bytes:
    line = shell.ok(
        f"echo {packet.hex()} | mikeytool srtp encrypt -q --session alice.session {options}"
    )
    return bytes.fromhex(line)


def test_a_roc_given_leaves_the_index_of_rtcp_where_it_was(shell: Shell) -> None:
    """A second SRTCP packet with index 0 would use the first one's key stream again."""
    with_streams(shell)
    control = rtcp(ssrc=SENT)
    indices = [
        int.from_bytes(encrypted(shell, control, options)[-14:-10]) & ~(1 << 31)
        for options in ("", "--roc 0x11111111=5", "--roc 0x11111111=6", "")
    ]
    assert indices == [0, 1, 2, 3]
    encrypted(shell, rtp(7, ssrc=SENT), "--roc 0x11111111=5")
    for options in ("", "--roc 0x11111111=5", "--roc 0x11111111=4"):
        shell.fails(
            f"echo {rtp(7, ssrc=SENT).hex()}"
            f" | mikeytool srtp encrypt --session alice.session {options}",
            1, "only once",
        )  # fmt: skip
    assert int.from_bytes(encrypted(shell, control)[-14:-10]) & ~(1 << 31) == 4


@pytest.mark.parametrize("given", ["--roc 0x11111111=5", ",roc=5,seq=40000"])
def test_a_stream_starts_with_its_roc_at_any_sequence_number(shell: Shell, given: str) -> None:
    by_option = given.startswith("--")
    with_streams(shell, "" if by_option else given)
    expected = Sender(SUITE, key_of(shell), roc={SENT: 5})
    for packet, options in (
        (rtp(40000, ssrc=SENT), given * by_option),
        (rtp(40001, ssrc=SENT), ""),
    ):
        assert encrypted(shell, packet, options) == expected.protect(packet)


def test_how_late_a_packet_may_come_is_bounded_by_the_window(shell: Shell) -> None:
    with_streams(shell)
    clear = [rtp(n, ssrc=SENT) for n in (1, 200, 100)]
    shell.path("packets").write_text("".join(f"{each.hex()}\n" for each in clear))
    command = "mikeytool srtp encrypt packets --session"
    shell.ok("cp alice.session wide.session")
    ran = shell.fails(f"{command} alice.session", 1, "line 3", "window wider than 64")
    assert len(ran.out.splitlines()) == 2
    other = str(shell.path("other"))  # with one state, the copy would be refused
    wide = shell.ok(f"{command} wide.session --window 101", MIKEYTOOL_STATE=other)
    lines = wide.splitlines()
    assert [bytes.fromhex(line)[:12] for line in lines] == [each[:12] for each in clear]
    shell.fails(f"{command} wide.session --window 63", 2, "--window")


@pytest.mark.parametrize("second", [1, 2], ids=["one index", "the next index"])
def test_two_sources_of_one_ssrc_under_a_group_key_are_both_named(
    shell: Shell, second: int
) -> None:
    """A TEK+SALT is a group key: any SSRC may come, and the first source owns it."""
    with_streams(shell)
    key, taken = key_of(shell), 0x33333333
    first, other = Sender(SUITE, key), Sender(SUITE, key)
    frames = [
        frame(first.protect(rtp(1, b"mine", ssrc=taken)), 1),
        frame(other.protect(rtp(second, b"not mine", ssrc=taken)), 2),
        frame(first.protect(rtp(3, b"mine", ssrc=taken)), 1),
        frame(other.protect(rtp(1, b"another", ssrc=0x44444444)), 2),
    ]
    write(shell, "in", frames)
    for member in ("alice", "bob"):
        shell.ok("rm -f out")
        ran = shell.fails(
            f"mikeytool srtp decrypt in -o out --session {member}.session", 1,
            "packet 2", "0x33333333", "192.0.2.1:5004", "192.0.2.2:5004",
        )  # fmt: skip
        assert "clashes" in ran.err
        clear = [frame(rtp(1, b"mine", ssrc=taken), 1), frame(rtp(3, b"mine", ssrc=taken), 1),
                 frame(rtp(1, b"another", ssrc=0x44444444), 2)]  # fmt: skip
        assert frames_of(shell, "out") == clear
        rows = decrypt(shell, code=1, key=f"--session {member}.session")
        row = next(each for each in rows if each["ssrc"] == "0x33333333")
        assert counts(row, "decrypted", "failed", "clashes") == (2, 1, 1)


def test_a_session_under_a_key_of_two_takes_no_other_ssrc(shell: Shell) -> None:
    with_sessions(shell)
    shown = json.loads(shell.ok("mikeytool transfer show bob.session --json"))
    assert "any" not in [one["ssrc"] for one in shown["crypto_sessions"]]
    shell.path("in").write_text(f"{rtp(1, ssrc=5).hex()}\n")
    shell.fails("mikeytool srtp decrypt in --session bob.session", 1, "not allowed")
