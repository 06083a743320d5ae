"""`decode --schema` prints what `decode --json` keeps to."""

from __future__ import annotations

import json

import jsonschema

from tests.cli.json_schemas import closed
from tests.cli.shell import BOB, Shell, with_ticket
from tests.cli.test_help import commands
from tests.support import TESTS, vectors
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
    valid: set[str] = set()
    for more in ("", "--show-keys", "--psk 00112233445566778899aabbccddeeff"):
        lines = shell.run(f"mikeytool decode --json --lines {more} in").out.splitlines()
        assert len(lines) == len(samples) + len(OTHER_CERTIFICATES)
        found = [json.loads(line) for line in lines]
        for line in set(lines) - valid:
            validator.validate(json.loads(line))
        valid |= set(lines)
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


SCHEMAS = sorted(path.stem for path in (TESTS.parent / "mikeytool" / "schemas").iterdir())


def test_every_schema_has_an_id_and_is_printed(shell: Shell) -> None:
    printed = {"decode": shell.ok("mikeytool decode --schema")}
    for path in commands():
        ran = shell.run(f"mikeytool {' '.join(path)} --schema")
        if ran.code == 0:
            schema = json.loads(ran.out)
            assert schema["$id"].endswith(f":{schema['version']}")
            printed[schema["$id"].split(":")[-2]] = ran.out
    assert sorted(printed) == sorted([*SCHEMAS, "decode"])


def test_sessions_and_reports_are_as_their_schemas_say(shell: Shell) -> None:
    """A session that waits, an answer, a session for other protocols, a refusal, reports."""
    session = closed(shell.ok("mikeytool transfer show --schema"))
    with_ticket(shell, "--flags=+M")
    respond = f"mikeytool transfer respond init {BOB} --kms kms.db --json"
    said = shell.ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com --session a"
        " --cs dir=send --cs dir=recv,prot=241 > init\n"
        "mikeytool transfer show a --json\n"
        f"{respond} --session b | tee answer\n"
        "jq -r .message answer | mikeytool transfer finish --session a --json --show-keys"
    )
    again = shell.run(f"{respond} --session c --send-errors")
    assert again.code == 1
    states = []
    for line in [*said.splitlines(), *again.out.splitlines()]:
        session.validate(json.loads(line))
        states.append(json.loads(line).get("state"))
    assert states == ["waiting", "established", "established", None]
    ticket = closed(shell.ok("mikeytool ticket show --schema"))
    for name in ("alice.ticket", "init"):
        ticket.validate(json.loads(shell.ok(f"mikeytool ticket show {name} --json")))

    report = closed(shell.ok("mikeytool srtp decrypt --schema"))
    key = "--suite AES_CM_128_HMAC_SHA1_80 --key " + "11" * 30
    shell.path("rtp").write_text("8000000100000001aaaaaaaa00\n")
    shell.ok(f"mikeytool srtp encrypt rtp {key} -o srtp --report r1")
    shell.path("rtp").write_text("8000000200000001aaaaaaaa0011223344556677889900\n")
    shell.ok(f"cat srtp rtp > both; mikeytool srtp decrypt both {key} -o clear --report r2 || true")
    for name in ("r1", "r2"):
        report.validate(json.loads(shell.path(name).read_text()))
