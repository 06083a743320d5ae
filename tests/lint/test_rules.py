"""The list of rules: every one is broken by some message, and none by a good one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mikeytool.lint import RULES, Level, Profile, lint
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import T
from mikeytool.wire.timestamp import Timestamp
from tests.lint import (
    test_answers,
    test_bidding_down,
    test_certificates,
    test_header,
    test_identities,
    test_ims,
    test_kemac_keys,
    test_mission_critical,
    test_onvif,
    test_quirks,
    test_rsa_r,
    test_security_policies,
    test_strength,
    test_structure,
    test_ticket,
    test_times,
)
from tests.lint.messages import NOW, Case, codes
from tests.wire.samples import SAMPLES

MODULES = (
    test_answers, test_bidding_down, test_certificates, test_header, test_identities, test_ims,
    test_kemac_keys, test_mission_critical, test_onvif, test_security_policies, test_quirks,
    test_rsa_r, test_strength, test_structure, test_ticket, test_times,
)  # fmt: skip
CASES: list[Case] = [case for module in MODULES for case in module.CASES]


def test_every_rule_is_broken_by_a_message() -> None:
    assert {case.code for case in CASES} == set(RULES)


@pytest.mark.parametrize("code", RULES)
def test_how_a_rule_is_told(code: str) -> None:
    rule = RULES[code]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
    sources = {
        None: r"RFC \d{4}( [A-Z0-9.]+)?",
        Profile.ONVIF: r"ONVIF Streaming MIKEY|Live555 MIKEY\.cpp",
        Profile.MC: r"TS \d\d\.\d{3}(-1)? [A-Z0-9.]+",
        Profile.IMS: r"(RFC \d{4}|TR 33\.828) [A-Z0-9.]+",
    }
    assert re.fullmatch(sources[rule.profile], rule.section)
    assert (rule.profile or "") == code.split("-")[0] or rule.profile is None
    assert 10 < len(rule.about) <= 95
    assert not rule.about.endswith(".")


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.code)
def test_what_a_finding_says(case: Case) -> None:
    init = None if case.init is None else Message.parse(case.init())
    data = case.data()
    found = lint(data, now_ns=case.now_ns, init=init, profile=case.profile, carried=case.carried)
    for finding in found.findings:
        assert finding.level in Level
        assert 0 <= finding.offset <= len(data)
        assert finding.text.isprintable()
        assert not finding.text.endswith(".")
        assert finding.payload


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda one: one.name)
def test_no_error_in_messages_of_other_software(sample: object) -> None:
    data = sample.data  # type: ignore[attr-defined]
    t = Message.parse(data).find(T)
    assert t is not None
    when = Timestamp.of(t).unix_ns or NOW
    errors = [f.code for f in lint(data, now_ns=when).findings if f.level is Level.ERROR]
    assert errors == []


def test_findings_come_in_the_order_of_the_octets() -> None:
    for sample in SAMPLES:
        offsets = [finding.offset for finding in lint(sample.data, now_ns=NOW).findings]
        assert offsets == sorted(offsets)


@pytest.mark.parametrize("sample", SAMPLES[:6], ids=lambda one: one.name)
def test_any_octet_may_be_wrong(sample: object) -> None:
    """Nothing but findings comes of a message, whatever is changed or cut off."""
    data = sample.data  # type: ignore[attr-defined]
    for at in range(len(data)):
        changed = [data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :] for bits in (0xFF, 1)]
        for broken in (*changed, data[:at]):
            report = lint(broken, now_ns=NOW)
            assert all(0 <= one.offset <= len(broken) for one in report.findings)
        assert report.error is not None  # what is cut off is no whole message


def musts() -> list[list[str]]:
    """What the RFCs want of a message: section, what, codes, and why there are none."""
    text = Path(__file__).with_name("musts.tsv").read_text()
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


def test_every_must_has_a_rule_or_a_reason() -> None:
    for section, what, codes_, *reason in musts():
        assert re.fullmatch(r"RFC \d{4} [A-Z0-9.]+", section), section
        if codes_ == "-":
            assert len(reason[0]) > 10, what
        else:
            assert set(codes_.split()) <= set(RULES), what
            assert not reason, what


def test_every_error_comes_from_a_must() -> None:
    named = {code for _, _, codes_, *_ in musts() for code in codes_.split()}
    errors = {code for code, rule in RULES.items() if rule.level is Level.ERROR}
    assert {code for code in errors if RULES[code].profile is None} <= named


def test_no_must_stands_twice() -> None:
    said = [(section, what) for section, what, *_ in musts()]
    assert len(set(said)) == len(said)


def test_a_finding_is_an_object_of_json() -> None:
    finding = lint(b"\x01", now_ns=NOW).findings[0]
    assert json.loads(json.dumps(finding._asdict())) == {
        "level": "error",
        "code": "unreadable",
        "payload": "HDR",
        "offset": 1,
        "text": finding.text,
        "section": "RFC 3830 5.3",
    }
    assert codes(b"") == ["unreadable"]
