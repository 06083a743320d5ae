from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from mikeytool.lint import lint
from mikeytool.wire.payloads import KeyData
from tests.lint.messages import (
    Case,
    D,
    camera,
    case,
    clear_kemac,
    codes,
    edited,
    entry,
    good,
    octets,
    sp,
    swap,
    tek,
)
from tests.peers.programs import need_library, run
from tests.wire.samples import SAMPLES

NULL = ("quirk-null-protection",)
CAMERAS = ["quirk-auth-key-length", "quirk-key-and-salt", "quirk-null-protection"]


def joined(length: int) -> KeyData:
    return KeyData(type=2, kv=0, key=octets(length))


CASES = [
    case("quirk-auth-key-length", D.PRE_SHARED, swap("SP", sp(0, p3=10))),
    case("quirk-auth-key-length", D.PRE_SHARED, swap("SP", sp(0, p3=4))),
    case("quirk-key-and-salt", camera(swap("KEMAC", clear_kemac(joined(30)))), also=NULL),
    case(
        "quirk-key-and-salt",
        camera(swap("SP", sp(0, p1=32)), swap("KEMAC", clear_kemac(joined(46)))),
        also=NULL,
    ),
    case("quirk-null-protection", D.PRE_SHARED, swap("KEMAC", clear_kemac(tek()))),
    case("quirk-ssrc-zero", D.PRE_SHARED, entry(0, ssrc=0)),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


@pytest.mark.parametrize(
    "data",
    [pytest.param(s.data, id=s.name) for s in SAMPLES if s.name.startswith("other software")],
)
def test_what_cameras_send(data: bytes) -> None:
    assert [code for code in codes(data) if code != "time-past"] == CAMERAS


def test_a_tag_that_is_given_where_it_belongs() -> None:
    assert codes(edited(good(D.PRE_SHARED), swap("SP", sp(0, p11=4)))) == []


@pytest.mark.parametrize(
    ("cipher", "auth", "octets_", "found"),
    [
        ("aes-128-icm", "hmac-sha1-80", 30, CAMERAS),
        ("aes-128-icm", "hmac-sha1-32", 30, CAMERAS),
        ("aes-256-icm", "hmac-sha1-80", 46, CAMERAS),
        ("aes-128-gcm", "null", 28, CAMERAS[1:]),
        ("aes-256-gcm", "null", 44, CAMERAS[1:]),
    ],
)
def test_what_gstreamer_sends(cipher: str, auth: str, octets_: int, found: list[str]) -> None:
    for library in ("gstreamer-1.0", "gstsdp-1.0", "glib-2.0"):
        need_library(library)
    caps = (
        f"application/x-srtp, srtp-key=(buffer){octets(octets_).hex()},"
        f" srtp-cipher=(string){cipher}, srtcp-cipher=(string){cipher},"
        f" srtp-auth=(string){auth}, srtcp-auth=(string){auth}, ssrc=(uint)1, roc=(uint)0"
    )
    program = str(Path(__file__).with_name("gstreamer_caps.py"))
    data = bytes.fromhex(run([sys.executable, program, caps]).decode())
    assert sorted(f.code for f in lint(data, now_ns=time.time_ns()).findings) == found
