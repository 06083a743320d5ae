"""Keys of `srtp` as other tools print them, and what differs from plain SRTP, by options."""

from __future__ import annotations

import hmac
from base64 import b64encode

import pytest

from mikeytool.srtp import SUITES, MasterKey, Sender, suite
from mikeytool.srtp.kdf import rtcp_keys
from mikeytool.srtp.suites import with_rtcp_tag
from tests.cli.media import KEYS, SUITE, counts, decrypt, frame, frames_of, sdes_line, sender, write
from tests.cli.shell import Shell
from tests.srtp.media import rtcp, rtp

KEY = KEYS[0]
HEX = KEY.hex()
OCTETS = [HEX[at : at + 2] for at in range(0, 60, 2)]
CLEAR = [rtp(number) for number in range(3)]


@pytest.mark.parametrize(
    "key",
    [
        HEX,
        HEX.upper(),
        "0x" + HEX,
        ":".join(OCTETS),
        "-".join(OCTETS),
        "'" + ", ".join(f"0x{octet}" for octet in OCTETS) + "'",
        "'" + " ".join(OCTETS) + "'",
        b64encode(KEYS[3]).decode(),
    ],
)
def test_keys_as_other_tools_print_them(shell: Shell, key: str) -> None:
    number = 3 if key == b64encode(KEYS[3]).decode() else 0
    write(shell, "in", [frame(sender(number).protect(CLEAR[0]))])
    (row,) = decrypt(shell, key=f"--key {key}")
    assert counts(row, "packets", "decrypted") == (1, 1)


def test_a_slip_in_hex_is_no_base64(shell: Shell) -> None:
    write(shell, "in", [frame(sender().protect(CLEAR[0]))])
    ran = shell.run(f"mikeytool srtp decrypt in -o out --force --key {HEX[:-1]}g")
    assert ran.code == 2
    assert HEX[:-1] not in ran.err


def test_what_a_dtls_exporter_gives_opens_both_directions(shell: Shell) -> None:
    exporter = bytes(range(60))
    client = Sender(SUITE, MasterKey(exporter[:16], exporter[32:46]))
    server = Sender(SUITE, MasterKey(exporter[16:32], exporter[46:]))
    write(
        shell,
        "in",
        [frame(client.protect(each), 1) for each in CLEAR]
        + [frame(server.protect(rtp(number, ssrc=7)), 2, 5004) for number in range(3)],
    )
    rows = decrypt(shell, key=f"--key {exporter.hex()}")
    assert [counts(row, "packets", "decrypted") for row in rows] == [(3, 3), (3, 3)]
    ran = shell.run(f"mikeytool srtp encrypt in -o out --force --key {exporter.hex()}")
    assert ran.code == 2
    assert "give the sender's own" in ran.err


def test_suites_by_the_names_that_other_tools_have(shell: Shell) -> None:
    chosen = suite("AES_256_CM_HMAC_SHA1_80")
    key = bytes(range(46))
    write(shell, "in", [frame(Sender(chosen, MasterKey(key[:32], key[32:])).protect(CLEAR[0]))])
    (row,) = decrypt(shell, key=f"--suite aes_cm_256_hmac_sha1_80 --key {key.hex()}")
    assert counts(row, "decrypted") == (1,)


@pytest.mark.parametrize("name", ["AEAD_AES_128_GCM_8", "F8_128_HMAC_SHA1_32", "NULL_HMAC_SHA1_32"])
def test_the_rarer_suites(shell: Shell, name: str) -> None:
    chosen = SUITES[name]
    key = bytes(range(chosen.key_length + chosen.salt_length)).hex()
    write(shell, "clear", [frame(each) for each in CLEAR])
    shell.ok(f"mikeytool srtp encrypt clear -o in --suite {name} --key {key}")
    size = chosen.rtp_tag_length
    assert [len(each) for each in frames_of(shell, "in")] == [len(frame(CLEAR[0])) + size] * 3
    (row,) = decrypt(shell, key=f"--suite {name} --key {key}")
    assert counts(row, "decrypted") == (3,)
    assert frames_of(shell, "out") == frames_of(shell, "clear")


# --- what differs from plain SRTP ---------------------------------------------------------------


def short_rtcp() -> bytes:
    """SRTCP with a tag of 4 octets, signed by hand."""
    protected = Sender(SUITE, MasterKey(KEY[:16], KEY[16:])).protect(rtcp())[:-10]
    keys = rtcp_keys(SUITE, KEY[:16], KEY[16:])
    return protected + hmac.digest(keys.authentication, protected, "sha1")[:4]


def test_srtcp_tags_of_four_octets(shell: Shell) -> None:
    write(shell, "in", [frame(sender().protect(CLEAR[0])), frame(short_rtcp())])
    (row,) = decrypt(shell, code=1)
    assert counts(row, "decrypted", "failed") == (1, 1)
    (row,) = decrypt(shell, "--srtcp-tag 4")
    assert counts(row, "decrypted", "failed") == (2, 0)
    assert frames_of(shell, "out") == [frame(CLEAR[0]), frame(rtcp())]
    shell.ok(f"mikeytool srtp encrypt out -o back --force --key {HEX} --srtcp-tag 4")
    assert frames_of(shell, "back") == frames_of(shell, "in")


@pytest.mark.parametrize(
    ("name", "octets"), [("AES_CM_128_HMAC_SHA1_80", 3), ("AEAD_AES_128_GCM", 4)]
)
def test_an_srtcp_tag_that_no_suite_has(shell: Shell, name: str, octets: int) -> None:
    write(shell, "in", [frame(sender().protect(CLEAR[0]))])
    chosen = SUITES[name]
    key = bytes(chosen.key_length + chosen.salt_length).hex()
    ran = shell.run(
        f"mikeytool srtp decrypt in -o out --force --suite {name} --key {key} --srtcp-tag {octets}"
    )
    assert ran.code == 2
    assert f"an SRTCP tag of {octets} octets" in ran.err


def test_rtcp_in_the_clear_stays_as_it_is(shell: Shell) -> None:
    write(shell, "in", [frame(sender().protect(CLEAR[0])), frame(rtcp())])
    (row,) = decrypt(shell, code=1)
    (row,) = decrypt(shell, "--plain-rtcp")
    assert counts(row, "decrypted", "skipped", "failed") == (1, 1, 0)
    assert frames_of(shell, "out") == [frame(CLEAR[0]), frame(rtcp())]
    shell.ok(f"mikeytool srtp encrypt out -o back --force --key {HEX} --plain-rtcp")
    assert frames_of(shell, "back") == frames_of(shell, "in")


def test_cryptex_both_ways(shell: Shell) -> None:
    clear = [rtp(number, extension=b"\x10\xaa\0\0", csrcs=(number,)) for number in range(3)]
    write(shell, "clear", [frame(each) for each in clear])
    shell.ok(f"mikeytool srtp encrypt clear -o in --cryptex --sdes '{sdes_line(0)}'")
    assert all(
        b"\xc0\xde\0\1" in each and b"\xaa" not in each[54:66] for each in frames_of(shell, "in")
    )
    (row,) = decrypt(shell)
    assert counts(row, "decrypted") == (3,)
    assert frames_of(shell, "out") == frames_of(shell, "clear")


def test_a_start_and_a_gap_of_many_rocs(shell: Shell) -> None:
    frames = []
    for roc in (5000, 90_000):
        late = Sender(SUITE, MasterKey(KEY[:16], KEY[16:]), roc={0xCAFEBABE: roc})
        frames += [frame(late.protect(each)) for each in CLEAR]
    write(shell, "in", frames)
    (row,) = decrypt(shell)
    assert counts(row, "packets", "decrypted", "failed") == (6, 6, 0)


def test_an_mki_that_nobody_announced(shell: Shell) -> None:
    named = Sender(SUITE, MasterKey(KEY[:16], KEY[16:], b"\0\1"), mki=True)
    write(shell, "in", [frame(named.protect(each)) for each in CLEAR])
    ran = shell.run(f"mikeytool srtp decrypt in -o out --force --key {HEX}")
    assert ran.code == 0
    assert "MKI 0001, which nobody announced" in ran.err
    assert frames_of(shell, "out") == [frame(each) for each in CLEAR]


def test_another_tag_of_srtcp_is_in_the_name_of_the_suite() -> None:
    assert with_rtcp_tag(SUITE, 4).name == f"{SUITE.name} RTCP_TAG=4"
    assert with_rtcp_tag(SUITE, 10) is SUITE
