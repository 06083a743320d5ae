"""Packets protected and read by libsrtp, with parameters that its Python bindings lack.

Run as a program of its own, so that a fault in foreign code cannot end the tests: takes JSON
on standard input and prints JSON. `{"protect": bool, "rtp": policy, "rtcp": policy, "keys":
[[key and salt, MKI], …], "mki": index of the key or null, "packets": […]}`, octets in hex; a
policy is the six fields of srtp_crypto_policy_t. Printed are the packets, null for those that
libsrtp refuses. The structures are those of srtp.h.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import sys
from ctypes import POINTER, Structure, byref, c_char, c_int, c_uint, c_uint32, c_ulong, c_void_p
from typing import Any

ANY_INBOUND, ANY_OUTBOUND = 2, 3
ROOM = 4096


class CryptoPolicy(Structure):
    _fields_ = (
        ("cipher_type", c_uint32),
        ("cipher_key_len", c_int),
        ("auth_type", c_uint32),
        ("auth_key_len", c_int),
        ("auth_tag_len", c_int),
        ("sec_serv", c_int),
    )


class MasterKey(Structure):
    _fields_ = (("key", c_void_p), ("mki_id", c_void_p), ("mki_size", c_uint))


class Policy(Structure):
    _fields_ = (
        ("ssrc_type", c_int),
        ("ssrc_value", c_uint),
        ("rtp", CryptoPolicy),
        ("rtcp", CryptoPolicy),
        ("key", c_void_p),
        ("keys", POINTER(POINTER(MasterKey))),
        ("num_master_keys", c_ulong),
        ("deprecated_ekt", c_void_p),
        ("window_size", c_ulong),
        ("allow_repeat_tx", c_int),
        ("enc_xtn_hdr", c_void_p),
        ("enc_xtn_hdr_count", c_int),
        ("next", c_void_p),
    )


def main() -> None:
    """Answer the questions on standard input, one a line."""
    lib = ctypes.CDLL(ctypes.util.find_library("srtp2") or "")
    if status := lib.srtp_init():
        sys.exit(f"libsrtp: error {status}")
    for line in sys.stdin:
        print(json.dumps(answer(lib, json.loads(line))), flush=True)


def answer(lib: ctypes.CDLL, asked: dict[str, Any]) -> list[str | None]:
    kept: list[Any] = []  # what the policy points at has to live as long as it does

    def octets(text: str) -> c_void_p:
        data = bytes.fromhex(text)
        kept.append(ctypes.create_string_buffer(data, max(len(data), 1)))
        return ctypes.cast(kept[-1], c_void_p)

    keys = [MasterKey(octets(key), octets(mki), len(mki) // 2) for key, mki in asked["keys"]]
    pointers = (POINTER(MasterKey) * len(keys))(*map(ctypes.pointer, keys))
    policy = Policy(
        ssrc_type=ANY_OUTBOUND if asked["protect"] else ANY_INBOUND,
        rtp=CryptoPolicy(*asked["rtp"]),
        rtcp=CryptoPolicy(*asked["rtcp"]),
        keys=ctypes.cast(pointers, POINTER(POINTER(MasterKey))),
        num_master_keys=len(keys),
        window_size=128,
    )
    session = c_void_p()
    if status := lib.srtp_create(byref(session), byref(policy)):
        sys.exit(f"libsrtp: error {status}")
    done: list[str | None] = []
    for packet in map(bytes.fromhex, asked["packets"]):
        buffer = (c_char * ROOM).from_buffer_copy(packet.ljust(ROOM, b"\0"))
        length = c_int(len(packet))
        name = "protect" if asked["protect"] else "unprotect"
        name += "_rtcp_mki" if 192 <= packet[1] <= 223 else "_mki"
        last = (asked["mki"] or 0,) if asked["protect"] else ()
        with_mki = int(asked["mki"] is not None)
        status = getattr(lib, f"srtp_{name}")(session, buffer, byref(length), with_mki, *last)
        done.append(None if status else buffer.raw[: length.value].hex())
    lib.srtp_dealloc(session)
    return done


if __name__ == "__main__":
    main()
