"""What the openssl program makes of the same inputs."""

from __future__ import annotations

from tests.peers.programs import need, run

DIGEST = {0: "SHA1", 1: "SHA256"}
"""The hash of each PRF func: RFC 3830 4.1.2, RFC 6043 6.1."""

# RFC 3830 4.1.4
ENCR = bytes.fromhex("150533e1")
AUTH = bytes.fromhex("2d22ac75")
SALT = bytes.fromhex("29b88916")


def prf(func: int, inkey: bytes, label: bytes, length: int) -> bytes:
    """PRF(inkey, label) from the PRF of TLS 1.2, which with one hash is P of RFC 3830 4.1.2.

    P is taken for each 256 bits of the inkey, and the results are combined by XOR.
    """
    out = bytes(length)
    for at in range(0, len(inkey), 32):
        part = run(
            [
                *(need("openssl"), "kdf", "-binary", "-keylen", str(length)),
                *("-kdfopt", f"digest:{DIGEST[func]}"),
                *("-kdfopt", f"hexsecret:{inkey[at : at + 32].hex()}"),
                *("-kdfopt", f"hexseed:{label.hex()}"),
                "TLS1-PRF",
            ]
        )
        out = bytes(a ^ b for a, b in zip(out, part, strict=True))
    return out


def hmac(func: int, key: bytes, data: bytes) -> bytes:
    """HMAC with the hash of a PRF func."""
    digest = f"-{DIGEST[func].lower()}"
    key_option = ("-macopt", f"hexkey:{key.hex()}")
    return run([need("openssl"), "dgst", digest, "-mac", "HMAC", *key_option, "-binary"], data)


def aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES in counter mode, the same both ways."""
    cipher = f"-aes-{len(key) * 8}-ctr"
    return run([need("openssl"), "enc", cipher, "-K", key.hex(), "-iv", iv.hex()], data)
