"""`keygen`: the lengths that keys and salts have."""

from __future__ import annotations

import re
from base64 import b64decode

from tests.cli.shell import Shell

SUITES = {
    "AES_CM_128_HMAC_SHA1_80": (16, 14),
    "AES_192_CM_HMAC_SHA1_80": (24, 14),
    "AES_256_CM_HMAC_SHA1_32": (32, 14),
    "AEAD_AES_128_GCM": (16, 12),
    "AEAD_AES_256_GCM": (32, 12),
}


def test_key_and_salt_have_the_lengths_of_the_suite(shell: Shell) -> None:
    printed = shell.ok(
        "\n".join(
            f"mikeytool keygen {kind} --suite {name}" for name in SUITES for kind in ("tek", "salt")
        )
    )
    lines = printed.splitlines()
    assert len(set(lines)) == len(lines)
    assert [len(bytes.fromhex(line)) for line in lines] == [
        length for lengths in SUITES.values() for length in lengths
    ]


def test_forms_and_files(shell: Shell) -> None:
    assert re.fullmatch(r"[0-9a-f]{28}", shell.ok("mikeytool keygen salt"))
    assert len(b64decode(shell.ok("mikeytool keygen salt --bytes 12 -f b64"))) == 12
    shell.ok("mikeytool keygen tek --suite AEAD_AES_256_GCM -f raw -o key")
    assert len(shell.path("key").read_bytes()) == 32
    assert shell.path("key").stat().st_mode & 0o777 == 0o600
    shell.fails("mikeytool keygen tek -o key", 4, "key")
    shell.fails("mikeytool keygen salt --suite AES_CM_512_HMAC_SHA1_80", 2, "AES_256_CM_")
    shell.fails("mikeytool keygen salt --suite AEAD_AES_128_GCM --bytes 14", 2, "--bytes")
