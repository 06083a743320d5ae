"""The attribute and the header of RFC 4567."""

from __future__ import annotations

import pytest

from mikeytool.capture.keymgmt import Spec, read_attribute, read_header


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a=key-mgmt:mikey AQAF", Spec("a=key-mgmt", "mikey", "AQAF")),
        ("a=key-mgmt: mikey AQAF ", Spec("a=key-mgmt", "mikey", "AQAF")),
        ("a=key-mgmt:mikey", Spec("a=key-mgmt", "mikey", "")),
        ("a=key-mgmt:", Spec("a=key-mgmt", "", "")),
        ("a=key-mgmt:keyp1 727g", Spec("a=key-mgmt", "keyp1", "727g")),
        ("a=acap:1 key-mgmt:mikey AQAF", Spec("a=acap", "mikey", "AQAF")),
        ("a=acap:12  key-mgmt:mikey AQAF", Spec("a=acap", "mikey", "AQAF")),
        ("a=acap:1 crypto:1 AES_CM_128_HMAC_SHA1_80", None),
        ("a=rtpmap:98 AMR/8000", None),
        ("AQAF", None),
    ],
)
def test_attribute(line: str, expected: Spec | None) -> None:
    assert read_attribute(line) == expected


def spec(protocol: str = "mikey", data: str = "AQAF", uri: str = "") -> Spec:
    return Spec("KeyMgmt header", protocol, data, uri)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('KeyMgmt: prot=mikey;uri="rtsp://h/a";data="AQAF"', [spec(uri="rtsp://h/a")]),
        ('KEYMGMT : data="AQAF" ; uri=rtsp://h/a ; prot=mikey', [spec(uri="rtsp://h/a")]),
        ('keymgmt:prot="mikey";Data=AQ==', [spec(data="AQ==")]),
        ('KeyMgmt: prot=mikey;uri="rtsp://h/a;b,c=1";data="AQAF";', [spec(uri="rtsp://h/a;b,c=1")]),
        (
            'KeyMgmt: prot=mikey;data="AQAF", prot=keyp1;data="AAAA",prot=mikey;data=AQEF,',
            [spec(), spec("keyp1", "AAAA"), spec(data="AQEF")],
        ),
        ('KeyMgmt: prot=mikey;data="AQ AF"', [spec()]),
        ('KeyMgmt: prot=mikey;data="AQAF" and more', [spec()]),
        ('KeyMgmt: prot=mikey;data="AQAF', [spec()]),
        ("KeyMgmt: prot=mikey", [spec(data="")]),
        ('KeyMgmt: data="AQAF"', [spec(protocol="")]),
        ("KeyMgmt:", [spec("", "")]),
        ("KeyMgmtX: prot=mikey", None),
        ("Session: 1", None),
    ],
)
def test_header(line: str, expected: list[Spec] | None) -> None:
    assert read_header(line) == expected
