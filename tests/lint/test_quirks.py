from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from mikeytool.lint import lint
from mikeytool.wire.payloads import KeyData, T
from mikeytool.wire.timestamp import Timestamp
from tests.lint.messages import (
    NOW,
    Case,
    D,
    camera,
    case,
    change,
    clear_kemac,
    codes,
    edited,
    entry,
    good,
    header,
    octets,
    sp,
    swap,
    tek,
)
from tests.peers.programs import need_library, run
from tests.wire.samples import SAMPLES

NULL = ("quirk-null-protection",)
CAMERAS = ["quirk-auth-key-length", "quirk-key-and-salt", "quirk-null-protection"]


FILETIME = bytes.fromhex("01d38e2bb5227ab0")
MISSION_CRITICAL = edited(
    good(D.SAKKE_MSG), header(cs_id_map_type=1, cs_id_map=[]), change("SAKKE", id_scheme=2)
)


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
    # 2018-01-15T18:07:29.755Z as FILETIME, in 100 ns since 1601
    case("quirk-filetime", D.PRE_SHARED, swap("T", T(ts_type=0, ts_value=FILETIME))),
    case("quirk-time-zero", D.PRE_SHARED, swap("T", T(ts_type=0, ts_value=bytes(8)))),
    case("quirk-id-nul", D.PRE_SHARED, change("ID", id_data=b"sip:a@b.org\0")),
    case("quirk-id-nul", D.TRANSFER_RESP, change("IDRr", id_data=b"sip:\0@b.org")),
    case("quirk-empty-map-policy", MISSION_CRITICAL),
]


@pytest.mark.parametrize(
    ("value", "now_ns", "found"),
    [
        (FILETIME, NOW, ["quirk-filetime"]),
        # the first and the last that is likely: of 2000, and of the end of NTP's first era
        ((125_911_584_000_000_000).to_bytes(8), NOW, ["quirk-filetime"]),
        ((125_911_583_999_999_999).to_bytes(8), NOW, ["time-future"]),
        ((137_304_520_959_999_999).to_bytes(8), NOW, ["quirk-filetime"]),
        ((137_304_520_960_000_000).to_bytes(8), NOW, ["time-future"]),
        # in January 2037 it is an NTP time
        (FILETIME, Timestamp(0, FILETIME).unix_ns, []),
    ],
)
def test_a_filetime_is_told_by_its_year(value: bytes, now_ns: int, found: list[str]) -> None:
    data = edited(good(D.PRE_SHARED), swap("T", T(ts_type=0, ts_value=value)))
    assert codes(data, now_ns=now_ns) == found


def test_an_sp_beside_an_empty_map_elsewhere() -> None:
    """RFC 4563 5, for all but mission-critical messages."""
    other = edited(MISSION_CRITICAL, change("SAKKE", id_scheme=1))
    assert codes(other) == ["empty-map-policy"]


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
