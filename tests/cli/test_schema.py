"""`decode --schema` prints what `decode --json` keeps to."""

from __future__ import annotations

import json

import jsonschema

from tests.cli.shell import Shell, with_ticket
from tests.support import vectors
from tests.wire.samples import SAMPLES

OTHER_CERTIFICATES = [
    f"0102070011223344000100{number}{len(data):04x}{data.hex()}"
    for number, data in (("01", b"http://example.com/c"), ("03", b"no certificate"))
]
"""RFC 3830 6.1 and 6.7: a header with an empty map, then CERT with a URL, and with no X.509."""


def test_real_output_is_as_the_schema_says(shell: Shell) -> None:
    schema = json.loads(shell.ok("mikeytool decode --schema"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    case = vectors("exchanges")[0]
    messages = [value for name, value in case.items() if name.isupper() and value]
    shell.path("in").write_text("\n".join([*messages, "nonsense!", messages[0][:-2]]))
    ran = shell.run("mikeytool decode --json in")
    assert ran.code == 3
    lines = ran.out.splitlines()
    assert len(lines) == len(messages) + 2
    for line in lines:
        validator.validate(json.loads(line))
    with_ticket(shell)
    sent = shell.ok("mikeytool transfer init --ticket alice.ticket --to sip:b --session s")
    show = shell.ok(f"mikeytool decode --json --mpki 00 {sent} --show-keys || true")
    validator.validate(json.loads(show))
    assert json.loads(show)["opened"]["mac"] == "FAILED"


def test_every_sample_is_as_the_schema_says(shell: Shell) -> None:
    """Those with certificates too, whose facts stand beside the octets."""
    validator = jsonschema.Draft202012Validator(json.loads(shell.ok("mikeytool decode --schema")))
    samples = {sample.data.hex() for sample in SAMPLES}
    shell.path("in").write_text("\n".join([*sorted(samples), *OTHER_CERTIFICATES]))
    for more in ("", "--show-keys", "--psk 00112233445566778899aabbccddeeff"):
        lines = shell.run(f"mikeytool decode --json --lines {more} in").out.splitlines()
        assert len(lines) == len(samples) + len(OTHER_CERTIFICATES)
        found = [json.loads(line) for line in lines]
        for one in found:
            validator.validate(one)
        facts = {key for one in found for p in one["payloads"] for key in p.get("certificate", ())}
        assert facts >= {"url", "error", "subject", "san"}


def test_what_is_not_as_the_schema_says(shell: Shell) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(shell.ok("mikeytool decode --schema")))
    shown = json.loads(
        shell.ok(f"mikeytool decode --json {vectors('exchanges')[0]['TRANSFER_INIT']}")
    )
    for key, value in (("csb_id", "123"), ("payloads", [{"payload": "T"}]), ("v", "yes")):
        assert not validator.is_valid({**shown, key: value}), key
    del shown["csb_id"]
    assert not validator.is_valid(shown)
