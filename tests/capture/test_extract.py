"""Messages are found in whatever people paste, and in nothing else.

The forms are made here from the octets of messages, by the tools where these are installed, and
by formatting of the test's own where they are not.
"""

from __future__ import annotations

import base64
import html
import json
import random
import re
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from mikeytool.capture import byte_rows, extract
from mikeytool.capture.plain_text import lines_of
from mikeytool.capture.strict_text import FoundMessage
from mikeytool.capture.text import find_messages
from mikeytool.wire.errors import WireError
from tests.support import vectors

CASES = Path(__file__).parents[3] / "shared" / "cases" / "text"
SMALL = base64.b64decode(
    "AQAFAElq4SIBAAA6zCzrAAAAAAsA7d5mHVUyqcsKEP9Ynnh3rIApS64s5GNDOb4BAAAAHgABAQEBEAIBAQMBFAQBDgUB"
    "AAcBAQgBAQoBAQsBCgAAACcAIQAepnM1qcQLCtXMUZ8imXhhE4K37b1PTMal3WhDgdssBAAAAAEA"
)
LARGE = bytes.fromhex(vectors("exchanges")[0]["TRANSFER_INIT"])
MESSAGES = [SMALL, LARGE, bytes.fromhex(vectors("exchanges")[3]["RESOLVE_RESP"])]


def messages(text: str | bytes) -> list[bytes]:
    """The messages in a text, in which there is no error."""
    found = find_messages(text.encode() if isinstance(text, str) else text)
    assert not [str(one) for one in found if isinstance(one, WireError)]
    return [one.message for one in found if isinstance(one, FoundMessage)]


def b64(message: bytes) -> str:
    return base64.b64encode(message).decode()


def rows(message: bytes, width: int) -> list[bytes]:
    return [message[at : at + width] for at in range(0, len(message), width)]


def shown(row: bytes) -> str:
    return "".join(chr(octet) if 32 <= octet < 127 else "." for octet in row)


def dump(message: bytes, width: int, layout: str) -> str:
    """A dump in a layout: `offset`, `octets` and `text` are filled in."""
    return "\n".join(
        layout.format(
            offset=at * width, octets=row.hex(" "), padded=row.hex(" ").ljust(3 * width - 1),
            plain=row.hex(), text=shown(row),
        )
        for at, row in enumerate(rows(message, width))
    )  # fmt: skip


LAYOUTS = {
    "hexdump -C of any width": "{offset:08x}  {padded}  |{text}|",
    "Wireshark": "{offset:04x}   {padded}   {text}",
    "Wireshark, hex only": "{offset:04x}   {octets}",
    "an offset with a colon": "{offset:08x}: {octets}",
    "an offset with 0x": "\t0x{offset:04x}:  {octets}",
    "decimal offsets": "{offset:6d}  {octets}",
    "od -A x -t x1z": "{offset:06x} {padded}  >{text}<",
    "no offset": "{octets}",
    "under the time of a log": "2026-11-30 10:00:01.123456 DEBUG [rtsp] {offset:04x}  {octets}",
    "GStreamer": "0:00:00.1 4711 0x55 DEBUG mikey.c:12 {offset:08x} (0x7f21a0): {padded}  {text}",
    "quoted in a mail": "> {offset:08x}  {padded}  |{text}|",
    "in a comment": " * {offset:04x}  {octets}",
    "with bars": "|{offset:04x}| {octets} | {text} |",
    "with dashes": "{offset:04x}  {octets}".replace(" ", " "),
    "hex lines": "{plain}",
    "hex lines under a time": "10:00:01 {plain}",
    "quoted hex lines": "> {plain}",
    "Wireshark, escaped": '"{plain}" \\',
}


@pytest.mark.parametrize("width", [8, 16, 20, 32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_dumps(layout: str, width: int) -> None:
    for message in MESSAGES:
        assert messages(dump(message, width, LAYOUTS[layout])) == [message]


@pytest.mark.parametrize(
    "command",
    ["xxd", "xxd -p", "xxd -i", "xxd -g1", "xxd -c 12", "xxd -u", "xxd -e", "xxd -i -c 8",
     "hexdump", "hexdump -C", "hexdump -b", "od", "od -x", "od -b", "od -A x -t x1z",
     "od -A d -t x1", "od -A n -t x1", "od -t u1", "od -A n -t u1", "od -A n -t d1", "od -t x2",
     "od -t x4", "od -v -t x1", "od -c", "hexdump -c", "hexdump -d", "hexdump -x", "od -t x1c",
     "od -t x8", "od -t u2", "od -t d4", "od -t o4", "od -t x2 --endian=big", "xxd -g 4",
     "xxd -g 8", "xxd -g 16", "xxd -g 0", "xxd -e -g 2", "xxd -e -g 8", "xxd -b",
     "xxd -d", "sed -n l",
     "hexyl", "hexyl --border ascii", "hexyl --color always", "base64 -w 5",
     "perl -MMIME::QuotedPrint -0777 -ne print(encode_qp($_))",
     "base64", "base64 -w 40", "base64 -w 0"],
)  # fmt: skip
def test_tools(command: str) -> None:
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"{command} is not installed")
    for message in MESSAGES:
        printed = subprocess.run(
            command.split(), input=message, capture_output=True, check=True
        ).stdout
        assert messages(printed) == [message]


def numbers(form: str, between: str, width: int) -> Callable[[bytes], str]:
    def write(message: bytes) -> str:
        return f"{between.rstrip() or ''}\n".join(
            between.join(form.format(octet) for octet in row) for row in rows(message, width)
        )

    return write


def signed(message: bytes) -> str:
    return ", ".join(str(octet - 256 if octet > 127 else octet) for octet in message)


def repr_lines(message: bytes) -> str:
    return "\n".join(f"    {row!r}" for row in rows(message, 24))


def c_strings(message: bytes) -> str:
    return "\n".join(f'"{escaped(row)}"' for row in rows(message, 16))


def escaped(octets: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in octets)


def octal(message: bytes) -> str:
    return "printf '" + "".join(f"\\{octet:03o}" for octet in message) + "' | mikeytool decode"


LITERALS: dict[str, Callable[[bytes], str]] = {
    "C": lambda m: "static const uint8_t pkt1[126] = {\n" + numbers("0x{:02x}", ", ", 8)(m) + "};",
    "C with comments": lambda m: "\n".join(
        ", ".join(f"0x{octet:02X}" for octet in row) + f", /* {shown(row).replace('*/', '..')} */"
        for row in rows(m, 8)
    ),
    "Go": lambda m: "[]byte{" + ", ".join(f"0x{octet:x}" for octet in m) + "}",
    "Go %v": lambda m: "data: [" + " ".join(map(str, m)) + "]",
    "Go in lines": lambda m: "[]byte{\n\t" + numbers("0x{:x}", ", ", 12)(m) + ",\n}",
    "JSON numbers": lambda m: json.dumps(list(m)),
    "JSON numbers, one a line": lambda m: json.dumps({"data": list(m)}, indent=2),
    "Node's Buffer": lambda m: json.dumps({"type": "Buffer", "data": list(m)}),
    "Python list": lambda m: f"msg = {list(m)}",
    "Java": lambda m: "byte[] m = {" + signed(m) + "};",
    "Java casts": lambda m: ", ".join(f"(byte) 0x{octet:02X}" for octet in m),
    "Rust": lambda m: "let m = [" + ", ".join(f"0x{octet:02x}u8" for octet in m) + "];",
    "assembler": lambda m: "db " + " ".join(f"{octet:02X}h" for octet in m),
    "gdb": lambda m: "\n".join(
        f"0x7ffe{8 * at:04x} <m+{8 * at}>:\t" + "\t".join(f"0x{octet:02x}" for octet in row)
        for at, row in enumerate(rows(m, 8))
    ),
    "gdb, in words": lambda m: "\n".join(
        f"0x7ffe{16 * at:04x}:\t0x" + "\t0x".join(word[::-1].hex() for word in rows(row, 4))
        for at, row in enumerate(rows(m + bytes(-len(m) % 4), 16))
    ),
    "WinDbg": lambda m: "\n".join(
        f"0012`{16 * at:04x}  {row[:8].hex(' ')}-{row[8:].hex(' ')}  {shown(row)}"
        for at, row in enumerate(rows(m, 16))
    ),
    "repeats": lambda m: (
        "{"
        + re.sub(
            "((\\d+)(?:, \\2){9,})",
            lambda run: f"{run[2]} <repeats {run[1].count(',') + 1} times>",
            ", ".join(map(str, m)),
        )
        + "}"
    ),
    "places": lambda m: "\n".join(f"  [{at}]=>\n  int({octet})" for at, octet in enumerate(m)),
    "members": lambda m: json.dumps(dict(enumerate(m))),
    "Visual Basic": lambda m: "{" + ", ".join(f"&H{octet:X}" for octet in m) + "}",
    "columns": lambda m: (
        f"Uint8Array({len(m)}) [\n"
        + ",\n".join("  " + ", ".join(f"{octet:3}" for octet in row) for row in rows(m, 12))
        + "\n]"
    ),
    "percent": lambda m: "m=" + quote(m, safe=""),
    "a form": lambda m: "m=" + "".join(f"%{octet:02x}" for octet in m) + "&n=1",
    "percent of UTF-8": lambda m: quote(m.decode("latin-1"), safe="!'()*"),
    "syslog": lambda m: (
        "10:00:01 h x: "
        + "".join(
            chr(octet) if 32 <= octet < 127 and octet != 35 else f"#{octet:03o}" for octet in m
        )
    ),
    "bits": lambda m: " ".join(f"{octet:08b}" for octet in m),
    "bits in lines": lambda m: numbers("{:08b}", " ", 4)(m),
    "PEM": lambda m: f"-----BEGIN MIKEY-----\n{b64(m)}\n-----END MIKEY-----\n",
    "base64 of base64": lambda m: "data:\n  mikey: " + b64(b64(m).encode()),
    "without a width": lambda m: f"key-mgmt:mikey {b64(m)[:40]}\u200b{b64(m)[40:]}",
    "Erlang": lambda m: "<<" + ",".join(map(str, m)) + ">>",
    "repr": lambda m: f"data = {m!r}",
    "repr in lines": lambda m: "data = (\n" + repr_lines(m) + "\n)",
    "C strings": lambda m: "const char *m =\n" + c_strings(m) + ";",
    "octal escapes": octal,
    "JSON string of octets": lambda m: json.dumps({"mikey": m.decode("latin-1")}),
    "escaped twice": lambda m: json.dumps(escaped(m)),
    "bytea": lambda m: f"'\\x{m.hex()}'",
    "SQL": lambda m: f"INSERT INTO m VALUES (X'{m.hex().upper()}');",
    "colons": lambda m: f"    rtsp.data: {m.hex(':')}",
    "dashes": lambda m: m.hex("-"),
    "C string of base64": lambda m: "\n".join(
        f'"{row}"' for row in textwrap.wrap("a=key-mgmt:mikey " + b64(m), 60)
    ),
    "YAML": lambda m: "key: |\n" + textwrap.indent("\n".join(textwrap.wrap(b64(m), 50)), "    "),
}


@pytest.mark.parametrize("form", LITERALS)
def test_literals(form: str) -> None:
    for message in MESSAGES:
        assert messages(LITERALS[form](message)) == [message]


LINES: dict[str, Callable[[str], str]] = {
    "the attribute": lambda t: f"a=key-mgmt:mikey {t}",
    "without a=": lambda t: f"key-mgmt:mikey {t}",
    "its value": lambda t: f"mikey {t}",
    "capital letters": lambda t: f"A=KEY-MGMT:MIKEY {t}",
    "a tab": lambda t: f"a=key-mgmt:mikey\t{t}",
    "acap": lambda t: f"a=acap:1 key-mgmt:mikey {t}",
    "the header": lambda t: f'KeyMgmt: prot=mikey;uri="rtsp://h/a;b=c";data="{t}"',
    "the header's value": lambda t: f'prot=mikey;uri="";data="{t}"',
    "unquoted": lambda t: f"prot=mikey; data={t}",
    "ONVIF": lambda t: f"mikey: {t}",
    "a JSON member": lambda t: json.dumps({"mikey": t}),
    "a JSON string of SDP": lambda t: json.dumps({"sdp": f"v=0\r\na=key-mgmt:mikey {t}\r\nm=a"}),
    "escaped slashes": lambda t: json.dumps({"m": f"key-mgmt:mikey {t}"}).replace("/", "\\/"),
    "\\u002b": lambda t: json.dumps(f"mikey {t}").replace("+", "\\u002b").replace("=", "\\u003d"),
    "in HTML": lambda t: "<pre>" + html.escape(f'KeyMgmt: prot=mikey;data="{t}"') + "</pre>",
    "entities of XML": lambda t: (
        f"<m>a=key-mgmt:mikey {t}</m>".replace("+", "&#43;").replace("=", "&#x3D;")
    ),
    "a form": lambda t: "sdp=" + quote_plus(f"a=key-mgmt:mikey {t}"),
    "typed quotes": lambda t: f"KeyMgmt: prot=mikey;uri=\u201cx\u201d;data=\u201c{t}\u201d",
    "typed spaces": lambda t: f"\u00a0\u00a0a=key\u2011mgmt:mikey\u00a0{t}",
    "soft hyphens": lambda t: f"mikey {t[:50]}\u00ad{t[50:]}",
    "breaks in HTML": lambda t: f"<td>a=key-mgmt:mikey {t[:50]}<wbr>{t[50:]}</td>",
    "colours": lambda t: f"\x1b[1;31ma=key-mgmt:mikey\x1b[0m {t[:9]}\x1b[7m{t[9:]}\x1b[m",
    "a found line": lambda t: f"a.log\x1b[m\x1b[K:a=\x1b[01;31m\x1b[Kkey-mgmt\x1b[m:mikey {t}",
    "syslog": lambda t: f"h sip[1]: v=0#015#012a=key-mgmt:mikey {t}#015#012m=audio",
    "escaped signs": lambda t: "a-key-mgmt=(string)mikey\\ " + t.replace("=", "\\="),
    "a query": lambda t: "GET /?sdp=" + quote(f"a=key-mgmt:mikey {t}", safe="") + "&x=1",
    "a log of Asterisk": lambda t: f"[Nov 30 10:00:01] VERBOSE[12] l.c: a=key-mgmt:mikey {t}",
    "a log of Kamailio": lambda t: f'Nov 30 10:00:01 sip[9]: <script>: "a=key-mgmt:mikey {t}"',
    "words behind": lambda t: f"found key-mgmt:mikey {t} in the offer, refused",
    "a list": lambda t: f" * `{t}`",
    "Markdown": lambda t: f"```\na=key-mgmt:mikey {t}\n```",
    "a table": lambda t: f"│ a=key-mgmt:mikey {t} │",
    "a tree": lambda t: f"  ├── Media Attribute (a): key-mgmt:mikey {t}",
    "a shell": lambda t: f"$ echo 'a=key-mgmt:mikey {t}' | mikeytool decode",
    "prose": lambda t: f"Hello,\n\nmy camera sends this:\n\n{t}\n\nWhat is it?\n",
    "behind its title": lambda t: f"The message:\n{t}",
    "a data URI": lambda t: f"data:application/mikey;base64,{t}",
    "fields of tshark": lambda t: f"1\t192.0.2.1\tkey-mgmt:mikey {t}\tmikey {t}",
    "field and value": lambda t: f"(a): key-mgmt:mikey {t}\n  Field: key-mgmt\n  Value: mikey {t}",
    "PDML": lambda t: '<f show="mikey ' + t + '" value="' + f"mikey {t}".encode().hex() + '"/>',
}  # fmt: skip


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("form", LINES)
def test_lines(form: str, newline: str) -> None:
    for message in MESSAGES:
        for text in (b64(message), b64(message).rstrip("=")):
            assert messages(LINES[form](text).replace("\n", newline) + newline) == [message]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings(encoding: str) -> None:
    text = f"a=key-mgmt:mikey {b64(SMALL)}\r\n"
    assert messages(text.encode(encoding)) == [SMALL]


@pytest.mark.parametrize("width", [20, 55, 64, 76, 100])
@pytest.mark.parametrize(
    "prefix", ["", "    ", "> ", ">> ", "| ", "// ", "# ", "10:00:01 INFO  ", "+ "]
)
@pytest.mark.parametrize("start", ["a=key-mgmt:mikey ", "mikey: ", "prot=mikey;data=", ""])
def test_wrapped(start: str, prefix: str, width: int) -> None:
    for message in MESSAGES:
        wrapped = textwrap.wrap(start + b64(message), width, break_on_hyphens=False)
        if start and wrapped[0] == start.strip():
            wrapped[:2] = [" ".join(wrapped[:2])]
        if prefix == "# " and not start:
            continue  # a comment
        text = "\n".join(prefix + line for line in wrapped)
        assert messages(text + "\n") == [message]


def test_quoted_printable() -> None:
    import quopri

    for message in MESSAGES:
        coded = quopri.encodestring(f"v=0\na=key-mgmt:mikey {b64(message)}\nm=audio\n".encode())
        assert messages(coded) == [message]


def test_bodies_with_an_encoding() -> None:
    sdp = f"v=0\r\na=key-mgmt:mikey {b64(SMALL)}\r\nm=audio 1 RTP/SAVP 0\r\n"
    head = "INVITE sip:bob@example.com SIP/2.0\r\nContent-Type: application/sdp\r\n"
    head += "Content-Transfer-Encoding: base64\r\n\r\n"
    assert messages(head + base64.encodebytes(sdp.encode()).decode()) == [SMALL]


def test_a_binary_part_in_a_text_file() -> None:
    head = (
        b"INVITE sip:bob@example.com SIP/2.0\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n"
        b"--b\r\nContent-Type: application/mikey\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    )
    for message in MESSAGES:
        assert messages(head + message + b"\r\n--b--\r\n") == [message]


def test_text_inside_a_dump() -> None:
    frame = bytes(54) + b"RTSP/1.0 200 OK\r\n\r\nv=0\r\na=key-mgmt:mikey " + b64(SMALL).encode()
    for layout in ("hexdump -C of any width", "Wireshark", "hex lines"):
        assert messages(dump(frame + b"\r\n", 16, LAYOUTS[layout])) == [SMALL]


def test_several_messages_each_in_its_form() -> None:
    text = "\n\n".join(
        [f"the first: {b64(SMALL)}", dump(LARGE, 16, LAYOUTS["Wireshark"]), str(list(SMALL)),
         f"data = {LARGE!r}", json.dumps({"mikey": b64(MESSAGES[2])}),
         f"a=key-mgmt:mikey {b64(SMALL)}"]
    )  # fmt: skip
    assert messages(text) == [SMALL, LARGE, SMALL, LARGE, MESSAGES[2], SMALL]


@pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not beside the project")
@pytest.mark.parametrize("name", ["mediamtx-log", "gst-rtsp-dump", "csource", "tshark-V", "xxd"])
def test_cases_of_people(name: str) -> None:
    found = messages((CASES / name).read_bytes())
    assert len(found) == (2 if name == "mediamtx-log" else 1)
    if name != "tshark-V":  # a camera's
        assert set(found) == {SMALL}


def test_zeros_that_a_dump_leaves_out() -> None:
    """Offsets tell how many rows `*` stands for; without them nothing does."""
    at = SMALL.index(bytes.fromhex("10ff589e"))
    message = SMALL[:at] + b"\x50" + bytes(80) + SMALL[at + 17 :]
    for command in ("xxd", "hexdump -C", "hexdump", "od", "od -t x1", "od -A d -t u1"):
        printed = subprocess.run(command.split(), input=message, capture_output=True, check=True)
        assert messages(printed.stdout) == [message]
    for command in ("od -A n -t x1", "od -c"):
        printed = subprocess.run(command.split(), input=message, capture_output=True, check=True)
        with pytest.raises(WireError, match="breaks off"):
            messages(printed.stdout)


def test_characters_beside_a_dump_are_no_octets() -> None:
    """They may be hex digits, look like a row that is left out, or like an escape."""
    for row in (
        b"0123456789abcdef",
        b"ab cd ef 01 23 4",
        b"  *     *    *  ",
        b"a\\nb\\rc* 12 34  ",
    ):
        at = SMALL.index(bytes.fromhex("10ff589e"))
        message = SMALL[:at] + b"\x40" + row * 4 + SMALL[at + 17 :]
        for layout in ("hexdump -C of any width", "Wireshark", "with bars"):
            for width in (8, 16, 20):
                assert messages(dump(message, width, LAYOUTS[layout])) == [message]


def test_another_message_does_not_continue_one_that_breaks_off() -> None:
    for message in MESSAGES:
        for size in range(60, 160, 4):
            whole = "\n".join(textwrap.wrap(b64(SMALL), 19))
            found = find_messages(f"> a=key-mgmt:mikey {b64(message)[:size]}\n\n{whole}\n".encode())
            shown = [one.message for one in found if isinstance(one, FoundMessage)]
            assert shown == [SMALL]


def test_octets_that_were_written_as_utf_8() -> None:
    for message in MESSAGES:
        assert messages(message.decode("latin-1").encode()) == [message]


# What is none


def random_base64(chance: random.Random, size: int) -> str:
    return b64(chance.randbytes(size))


def log_line(chance: random.Random) -> str:
    """A line as servers print it, with what looks like keys, hashes and dumps."""
    octets = chance.randbytes(16)
    return chance.choice([
        f"INFO Set-Cookie: session={random_base64(chance, 48)}; Path=/",
        f"commit {chance.randbytes(20).hex()}",
        f"{chance.randrange(4096) * 16:08x}  {octets.hex(' ')}  |{shown(octets)}|",
        f"0010   01 00 05 00 {octets.hex(' ')}   {shown(octets)}",
        random_base64(chance, 57),
        f"eyJhbGciOiJSUzI1NiJ9.{random_base64(chance, 90)}.{random_base64(chance, 60)}",
        f'{{"kty":"RSA","e":"AQAB","n":"{random_base64(chance, 128)}"}}',
        f"AQAAANCMnd8BFdERjHoAwE/Cl+s{random_base64(chance, 60)}",
        f"mikey is a protocol, see key-mgmt:mikey and prot=mikey; id {chance.randrange(10**9)}",
        f"[{', '.join(map(str, octets))}]",
        f"01 00 05 00 {chance.randrange(100)} of 100 done",
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{random_base64(chance, 30)}",
        f"fingerprint {octets.hex(':').upper()}",
        f"0x01, 0x00, 0x05, {', '.join(f'0x{octet:02x}' for octet in octets)},",
        "b'" + escaped(b"\x01\x00\x05" + octets) + "'",
        f"01000500{chance.randbytes(40).hex()}",
        f"AQAF{random_base64(chance, 45)}",
    ])  # fmt: skip


def test_ten_thousand_lines_without_mikey() -> None:
    chance = random.Random(1)
    text = "\n".join(
        f"2026-11-30 10:{at // 60 % 60:02}:{at % 60:02} {log_line(chance)}" for at in range(5000)
    )
    text += "\n" + "\n".join(log_line(chance) for _ in range(5000))
    with pytest.raises(WireError) as caught:
        find_messages(text.encode())
    assert len(str(caught.value)) < 300


def test_random_octets_in_every_form_are_none() -> None:
    chance = random.Random(2)
    for _ in range(40):
        octets = b"\x01\x00\x05\x00" + chance.randbytes(120)
        for form in (LITERALS["C"], LITERALS["repr"], LITERALS["JSON numbers"]):
            with pytest.raises(WireError):
                messages("It says:\n" + form(octets) + "\nIs it a message, then? Or what?\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"a=key-mgmt:mikey {b64(SMALL)[:60]}...", "shortened"),
        (f"log: key-mgmt:mikey {b64(SMALL)[:60]}…", "shortened"),
        (f"10:00 a=key-mgmt:mikey {b64(SMALL)[:61]}", "one is lost"),
        ("10:00 a=key-mgmt:mikey " + "Zm9vYmFyZm9vYmFyZm9vYmFy", "does not begin like a message"),
        (SMALL.decode("utf-8", "replace"), "U+FFFD"),
        (json.dumps(SMALL.decode("utf-8", "replace"), ensure_ascii=False), "U+FFFD"),
        ("10:00 IP 192.0.2.1.5 > 192.0.2.2.5: UDP\nE..*..I*j..\n", "print them in hex"),
        ("<Buffer " + SMALL[:50].hex(" ") + " ... 76 more bytes>", "breaks off"),
        (f"> a=key-mgmt:mikey {b64(SMALL)[:60]} [truncated]", "shortened"),
        (f"> a=key-mgmt:mikey {b64(SMALL)[:60]}", "breaks off"),
        ("key=" + "".join(f"%{octet:02x}" for octet in SMALL[:90]), "breaks off"),
        ("^A^@^E^^A^@^@^@", "neither hex nor base64"),
        ("sdp", "no MIKEY message"),
        ("107159037512154604348018765275103972", "no MIKEY message"),
        (f"Look:\n{dump(LARGE[:200], 16, LAYOUTS['Wireshark'])}\n", "breaks off"),
    ],
)
def test_what_is_not_whole_is_one_line(text: str, words: str) -> None:
    try:
        found = find_messages(text.encode())
    except WireError as error:
        found = [error]
    (only,) = found
    assert isinstance(only, WireError)
    assert words in str(only)


# Cost


@pytest.mark.parametrize(
    "unit",
    ["AQAF", "AQAF ", "AQAFAAAA,", b64(LARGE[:300]) + " ", "01 00 05 ", "01000500", "0100 0500 ",
     "1, 0, 5, ", "\\x01\\x00", "0x01, ", "mikey ", "prot=mikey;data=", '" ', "> ", "\\u0001",
     "key-mgmt:mikey AQAF", "001 000 005 ", "&#61;", "%3D", "(byte) ", "*\n", "01\n", "AQAF\n",
     "^A^@\n", "=01=00\n", "%01%01", "#001#000", "  ", "1.1", "001  \\0 005\n",
     "0 <repeats 9999 times>", "'\\0' <repeats 9999 times>",
     "01 00 05 00\n", "'\\001'\n", "1,\n", b64(LARGE[:300]) + "\n", LARGE[:100].hex(" ") + "\n"],
)  # fmt: skip
def test_the_work_is_linear(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Octets that are decoded are a few times those of the text, and not of their square."""
    work = 0
    of_hex, of_base64 = extract._of_hex, extract._of_base64

    def counted(decode: Callable[[str], bytes]) -> Callable[[str], bytes]:
        def count(text: str) -> bytes:
            nonlocal work
            work += max(len(text), 256)
            return decode(text)

        return count

    monkeypatch.setattr(extract, "_of_hex", counted(of_hex))
    monkeypatch.setattr(extract, "_of_base64", counted(of_base64))
    extract.Extraction(unit * (50_000 // len(unit)))
    assert work <= 17 * 50_000 + 300_000  # a short text has an allowance


def test_rows_that_stand_for_others_are_bounded() -> None:
    text = "00000000  00 00 00 00\n*\nfffffff0  01 00\n"
    (block, *_) = byte_rows.blocks_in(list(lines_of(text)))
    assert sum(len(row.octets) for row in block) < 1 << 20
