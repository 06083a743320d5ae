"""Keys of the command line, and what is said of the streams that they are for."""

from __future__ import annotations

import pytest

from mikeytool.srtp import Sender, parse_crypto
from tests.cli.media import KEYS, sdes_line, sender
from tests.cli.shell import Shell
from tests.srtp.media import rtcp, rtp

KEY = f"--key {KEYS[0].hex()}"


def test_a_roc_starts_a_stream_at_any_sequence_number(shell: Shell) -> None:
    """The other end is told the same ROC and has nothing to find."""
    packet = rtp(40000)
    for key in (KEY, f"--sdes '{sdes_line(0)}'"):
        ran = shell.run(
            f"echo {packet.hex()} | mikeytool srtp encrypt -q {key} --roc 0xcafebabe=5"
            f" | mikeytool srtp decrypt {key} --roc 0xcafebabe=5"
        )
        assert (ran.code, ran.out.strip()) == (0, packet.hex())
        assert "note" not in ran.err


def test_an_sdes_line_with_an_mki_and_no_tag_takes_packets_with_that_mki_only(
    shell: Shell,
) -> None:
    line = f"{sdes_line(0)}|1:4 UNAUTHENTICATED_SRTP"
    crypto = parse_crypto(line)
    protected = Sender(crypto.suite, crypto.keys[0], mki=True).protect(rtp(1))
    ran = shell.run(f"echo {protected.hex()} | mikeytool srtp decrypt --sdes '{line}'")
    assert (ran.code, ran.out.strip()) == (0, rtp(1).hex())
    assert "note: AES_CM_128_HMAC_SHA1_80 UNAUTHENTICATED_SRTP: nothing verifies RTP" in ran.err
    wrong = protected[:-1] + b"\x09"
    ran = shell.fails(
        f"echo {wrong.hex()} | mikeytool srtp decrypt --sdes '{line}'", 1, "no key has the MKI"
    )
    assert ran.out == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (f"{KEY} --suite NULL_HMAC_SHA1_80", "RTP is not encrypted, RTCP is not encrypted"),
        (f"--sdes '{sdes_line(0)} UNENCRYPTED_SRTCP'", "RTCP is not encrypted"),
        (f"--sdes '{sdes_line(0)} UNAUTHENTICATED_SRTP'", "RTP is not authenticated"),
    ],
)
def test_who_encrypts_is_told_what_stays_open(shell: Shell, options: str, said: str) -> None:
    ran = shell.run(f"echo {rtp(1).hex()} | mikeytool srtp encrypt {options}")
    assert ran.code == 0
    assert [line for line in ran.err.splitlines() if line.endswith(f": {said}")]


def test_key_and_salt_come_in_one_or_in_two(shell: Shell) -> None:
    protected = sender().protect(rtcp())
    for key in (KEY, f"--key {KEYS[0][:16].hex()} --salt {KEYS[0][16:].hex()}"):
        shown = shell.ok(f"echo {protected.hex()} | mikeytool srtp decrypt -q {key}")
        assert shown == rtcp().hex()
    shell.fails(f"echo 80 | mikeytool srtp decrypt --key {'00' * 16}", 2, "without a salt")
    shell.fails(
        f"echo 80 | mikeytool srtp encrypt --key {'00' * 9}", 2, "9 octets", "needs 16 and 14"
    )
