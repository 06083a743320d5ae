"""One message in every form that people hold it in reads the same; and comes out in four."""

from __future__ import annotations

import base64
import json

import pytest

from tests.cli.shell import Shell
from tests.support import vectors

HEX = vectors("exchanges")[0]["TRANSFER_INIT"]
RAW = bytes.fromhex(HEX)
B64 = base64.b64encode(RAW).decode()
OFFER = f"""v=0\r
o=alice 1 1 IN IP4 192.0.2.1\r
s=-\r
a=key-mgmt:mikey {B64}\r
t=0 0\r
m=audio 49170 RTP/SAVP 0\r
m=video 49172 RTP/SAVP 96\r
"""
INVITE = f"""INVITE sip:bob@example.com SIP/2.0\r
Content-Type: application/sdp\r
Content-Length: {len(OFFER)}\r
\r
{OFFER}"""

FORMS = {
    "binary": RAW,
    "hex": HEX.encode(),
    "hex with colons": HEX.upper()[:2].encode()
    + b"".join(b":" + HEX[at : at + 2].encode() for at in range(2, len(HEX), 2)),
    "base64": B64.encode(),
    "base64 for URLs, unpadded": base64.urlsafe_b64encode(RAW).rstrip(b"="),
    "base64 in lines": base64.encodebytes(RAW),
    "an SDP line": f"a=key-mgmt:mikey {B64}".encode(),
    "an SDP capability": f"a=acap:1 key-mgmt:mikey {B64}".encode(),
    "an RTSP header": f'KeyMgmt: prot=mikey;uri="rtsp://x/y";data="{B64}"'.encode(),
    "a whole SDP": OFFER.encode(),
    "a whole SIP message": INVITE.encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reads_the_same(shell: Shell, form: str) -> None:
    shell.path("input").write_bytes(FORMS[form])
    from_file = json.loads(shell.ok("mikeytool decode --json input"))
    from_pipe = json.loads(shell.ok("cat input | mikeytool decode --json"))
    assert from_file == from_pipe
    assert from_file["data_type"] == "TRANSFER_INIT"
    assert from_file["csb_id"] == f"0x{RAW[4:8].hex()}"
    assert len(from_file["payloads"]) == 7


def test_many_lines_are_many_messages(shell: Shell) -> None:
    shell.path("many").write_text(f"# two of them\n{B64}\n\na=key-mgmt:mikey {B64}\n")
    shown = [json.loads(line) for line in shell.ok("mikeytool decode --json many").splitlines()]
    assert len(shown) == 2
    assert shown[0] == shown[1]
    assert "# line 2" in shell.ok("mikeytool decode many")


def test_messages_come_out_in_four_forms(shell: Shell) -> None:
    shell.ok("mikeytool kms init -q kms.db --id sip:k; mikeytool kms user add -q kms.db sip:a -o p")
    request = "mikeytool ticket request --as sip:a --psk file:p --to sip:b --kms-id sip:k --pending"
    for form, begins in (("b64", b"AQ"), ("hex", b"010b"), ("raw", b"\1\x0b"),
                         ("sdp", b"a=key-mgmt:mikey AQ")):  # fmt: skip
        shell.ok(f"{request} {form} -f {form} -o {form}.out")
        assert shell.path(f"{form}.out").read_bytes().startswith(begins)
        shell.ok(f"mikeytool kms handle kms.db {form}.out > answer")
        shell.ok(f"mikeytool ticket accept -q answer --pending {form} --save {form}.ticket")
