"""`decode --html`: the page in Python's parser, in Chromium and for axe-core."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mikeytool.media import html_page
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import IDR
from tests.capture import network
from tests.capture.carriers import INVITE, OK, key_mgmt, sdp, sip
from tests.capture.network import Ends, udp
from tests.cli.shell import Shell
from tests.cli.test_captures import story
from tests.peers.programs import need
from tests.support import vectors
from tests.wire.samples import SAMPLES

CASE = vectors("exchanges")[0]
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b]0;x\x07\u202e"
MASKED = "••"


class Page(HTMLParser):
    """The elements of a page, and what the octets of each message are."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.octets: list[list[str]] = []
        self._open: list[str] = []
        self._field: str | None = None
        self.fields: dict[str, str] = {}
        self.source = source
        self.feed(source)
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.tags.append((tag, found))
        if tag == "article":
            self.octets.append([])
        if tag not in ("meta", "line", "polygon"):
            self._open.append(tag)
        self._field = found["href"] if tag == "a" and "data-f" in found else None

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "polygon"):
            assert self._open.pop() == tag
        self._field = None

    def handle_data(self, data: str) -> None:
        if self._field is not None and "f" in self._field:
            self.octets[-1] += data.split()

    def attributes(self, name: str) -> list[str]:
        return [found[name] for _, found in self.tags if name in found]


def page(shell: Shell, command: str, code: int = 0, **variables: str) -> Page:
    ran = shell.run(f"mikeytool decode --html {command}", **variables)
    assert ran.code == code, ran.err
    return Page(ran.out)


def call(shell: Shell) -> Page:
    shell.path("call.pcap").write_bytes(network.pcap(story()))
    return page(shell, "call.pcap")


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_every_octet_once(shell: Shell, sample: Any) -> None:
    shell.path("message").write_bytes(sample.data)
    (octets,) = page(shell, "--show-keys message").octets
    assert bytes.fromhex("".join(octets)) == sample.data


def test_a_field_and_its_octets_lead_to_each_other(shell: Shell) -> None:
    found = call(shell)
    ids = found.attributes("id")
    assert len(ids) == len(set(ids))
    links = [link.removeprefix("#") for link in found.attributes("href")]
    assert links
    assert set(links) <= set(ids)


def test_nothing_comes_from_elsewhere(shell: Shell) -> None:
    found = call(shell)
    assert not {"src", "srcset", "action", "style"} & {name for _, at in found.tags for name in at}
    assert all(link.startswith("#") for link in found.attributes("href"))
    assert not re.search(r"url\(|@import|https?:", found.source)


def test_the_policy_admits_the_style_and_the_script_of_the_page_alone(shell: Shell) -> None:
    found = call(shell)
    (policy,) = (at["content"] for tag, at in found.tags if "http-equiv" in at)
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", found.source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")


def test_text_of_messages_is_only_text(shell: Shell) -> None:
    """RFC 6043 6.6: an identity may be any octets."""
    identity = HOSTILE.encode()
    idr = b"\x00\x01\x01" + len(identity).to_bytes(2) + identity
    shell.path("message").write_bytes(bytes.fromhex("01060e00000000070001") + idr)
    found = page(shell, "message")
    assert {tag for tag, _ in found.tags if tag in ("script", "img")} == {"script"}
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert not {"\x1b", "\x07", "\u202e"} & set(found.source)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in found.source


def test_keys_in_the_clear_are_masked(shell: Shell) -> None:
    kemac = "00 00 000b 00 10 0003 aabbcc 0002 ddee 00"
    shell.path("message").write_bytes(bytes.fromhex("01000100000000070001" + kemac))
    (octets,) = page(shell, "message").octets
    assert octets.count(MASKED) == 5
    assert not {"aa", "bb", "cc", "dd", "ee"} & set(octets)
    assert "key: masked" in page(shell, "message").attributes("aria-label")
    (shown,) = page(shell, "--show-keys message").octets
    assert MASKED not in shown


def test_checks_and_findings_stand_at_their_place(shell: Shell) -> None:
    """A message of May 2026 that is read a day later, with the key of the ticket."""
    opened = f"--tpk {CASE['tpk']} {CASE['TRANSFER_INIT']}"
    found = page(shell, opened, MIKEYTOOL_NOW="2026-05-30T00:00:00Z").source
    assert '<summary>TICKET <span class="verified">verified</span></summary>' in found
    assert '<summary>Initiator Data <span class="verified">verified</span></summary>' in found
    assert re.search(r'<summary>T </summary><ul>\s*<li><span><span class="note">note: time', found)


def test_a_check_that_failed(shell: Shell) -> None:
    found = page(shell, f"--psk {'00' * 16} {CASE['REQUEST_INIT_PSK']}", code=1)
    assert '<summary>V <span class="FAILED">FAILED</span></summary>' in found.source


def test_a_capture_has_a_list_a_drawing_and_every_message(shell: Shell) -> None:
    found = call(shell)
    listed = shell.ok("mikeytool decode --json call.pcap").splitlines()
    assert len(found.octets) == len(listed)
    assert [tag for tag, _ in found.tags].count("tr") == 1 + len(listed)
    assert found.attributes("href").count("#m1") == 2  # in the list and in the drawing
    assert "1. REQUEST_INIT_PSK 249, 192.0.2.1 to 192.0.2.5" in found.attributes("aria-label")
    assert "sip:alice@example.com</text>" in found.source


def test_a_broken_message_is_shown_up_to_its_fault(shell: Shell) -> None:
    data = bytes.fromhex(CASE["TRANSFER_INIT"])[:200]
    shell.path("message").write_bytes(data)
    found = page(shell, "message", code=3)
    assert bytes.fromhex("".join(found.octets[0])) == data
    assert '<p class="error">' in found.source


def test_more_messages_than_a_page_holds(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_page, "MOST_MESSAGES", 50)
    shell.path("many").write_text(f"{CASE['TRANSFER_RESP']}\n" * 52)
    ran = shell.fails("mikeytool decode --html many", 3, "2 more are left out")
    assert len(Page(ran.out).octets) == 50


def test_one_form_at_a_time(shell: Shell) -> None:
    shell.fails(f"mikeytool decode --html --json {CASE['TRANSFER_RESP']}", 2, "give one of them")


# --- In a browser -------------------------------------------------------------------------


def in_chromium(source: str, folder: Path, width: int = 1280) -> tuple[str, str]:
    """The document after its scripts have run, and what the browser complains of."""
    path = folder / "page.html"
    path.write_text(source)
    ran = subprocess.run(
        [need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={folder}/profile", "--virtual-time-budget=20000", "--dump-dom",
         f"--window-size={width},800", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return ran.stdout, "\n".join(line for line in ran.stderr.splitlines() if "CONSOLE" in line)


def without_policy(source: str, script: str) -> str:
    """The page with a script of the test."""
    source = re.sub(r"<meta http-equiv[^>]*>", "", source)
    return source.replace("</body>", f"<script>{script}</script></body>")


def test_a_browser_accepts_style_and_script(shell: Shell, tmp_path: Path) -> None:
    document, complaints = in_chromium(call(shell).source, tmp_path)
    assert "<svg" in document
    assert complaints == ""


def test_a_field_and_its_octets_light_up_together(shell: Shell, tmp_path: Path) -> None:
    script = """
      const lit = () => [...document.querySelectorAll(".lit")].map((one) => one.id).join(" ");
      document.getElementById("m1f2").focus();
      document.title = lit();
      document.getElementById("m1o4").dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
      document.title += " / " + lit();
    """
    document, _ = in_chromium(without_policy(call(shell).source, script), tmp_path)
    assert "<title>m1f2 m1o2 / m1f4 m1o4</title>" in document


def asked(source: str, folder: Path, question: str, width: int = 1280) -> Any:
    """What a script finds in the page; it gives any value that JSON has."""
    script = f"document.title = JSON.stringify((() => {{ {question} }})());"
    document, _ = in_chromium(without_policy(source, script), folder, width)
    (title,) = re.findall(r"<title>(.*?)</title>", document)
    return json.loads(unescape(title))


PRESS = """
  const press = (...keys) => keys.map((key) => {
    const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
    document.activeElement.dispatchEvent(event);
    return document.activeElement.id || document.activeElement.textContent.trim();
  });
"""


def test_keys_go_from_field_to_field(shell: Shell, tmp_path: Path) -> None:
    question = f"""{PRESS}
      document.getElementById("m1f5").focus();
      const went = press("ArrowDown", "ArrowDown", "ArrowUp", "Home", "ArrowUp", "Home");
      document.getElementById("m1f0").closest("details").open = false;
      return [went, press("ArrowDown"), document.querySelector(".keys").hidden];
    """
    went, past_the_closed, hidden = asked(call(shell).source, tmp_path, question)
    assert went == ["m1f6", "T", "m1f6", "HDR", "HDR", "HDR"]
    assert past_the_closed == ["T"]
    assert not hidden


def test_keys_go_from_octets_to_octets_and_to_their_field(shell: Shell, tmp_path: Path) -> None:
    question = f"""{PRESS}
      document.getElementById("m2o4").focus();
      const went = press("ArrowRight", "ArrowRight", "ArrowLeft", "Home", "ArrowLeft");
      document.getElementById("m2f0").closest("details").open = false;
      went.push(...press("Escape"));
      // The octets of the time begin in one line and go on in the next.
      const rest = document.querySelector(".dump a[href='#m2f9']:not([id])");
      rest.focus();
      return [...went, ...press("ArrowLeft")];
    """
    went = asked(call(shell).source, tmp_path, question)
    assert went == ["m2o5", "m2o6", "m2o5", "m2o0", "m2o0", "m2f0", "m2o8"]


def test_keys_with_modifiers_are_the_browser_s(shell: Shell, tmp_path: Path) -> None:
    question = """
      document.getElementById("m1f5").focus();
      const event = new KeyboardEvent("keydown",
        { key: "ArrowDown", altKey: true, bubbles: true, cancelable: true });
      document.activeElement.dispatchEvent(event);
      return [event.defaultPrevented, document.activeElement.id];
    """
    assert asked(call(shell).source, tmp_path, question) == [False, "m1f5"]


def test_octets_are_no_stops_of_the_tab_key(shell: Shell) -> None:
    stops = [
        at["tabindex"] for tag, at in call(shell).tags if at.get("href", "").startswith("#m1f")
    ]
    assert stops
    assert set(stops) == {"-1"}


@pytest.mark.parametrize(("width", "stays"), [(360, False), (1280, True)])
def test_a_click_moves_only_to_what_is_out_of_sight(
    shell: Shell, tmp_path: Path, width: int, stays: bool
) -> None:
    """In one column the octets are far below the fields."""
    question = """
      const field = document.getElementById("m1f1");
      field.scrollIntoView();
      const event = new MouseEvent("click", { bubbles: true, cancelable: true, detail: 1 });
      field.dispatchEvent(event);
      return event.defaultPrevented;
    """
    assert asked(call(shell).source, tmp_path, question, width) is stays


LONG = [
    b"sip:alice.with-a-long-name@ims.mnc001.mcc001.3gppnetwork.example.org",
    b"sip:" + b"0123456789" * 20 + b"@example.org",
    "sip:\u4e00\u4e8c".encode() * 20,
]


def long_names(shell: Shell) -> Page:
    """A call with a long Call-ID between parties with long names, and many streams."""
    message = Message.read(bytes.fromhex(CASE["TRANSFER_INIT"]))
    for payload, identity in zip(message.all(IDR), LONG, strict=False):
        payload.id_data, payload.id_len = identity, None
    streams = [f"m={kind} 4000 RTP/SAVP 0" for kind in ("video", "application", "text", "image")]
    offer = sip(INVITE, sdp(key_mgmt(message.build()), *streams), call_id="c" * 900)
    ends = Ends("2001:db8:aaaa:bbbb:cccc:dddd:eeee:1", 5060, "2001:db8:aaaa:bbbb:cccc:dddd:eeee:2")
    back = sip(OK, sdp(), call_id="c" * 900)
    shell.path("long.pcap").write_bytes(network.pcap([udp(offer, ends), udp(back, ends.back)]))
    return page(shell, "long.pcap")


def test_names_in_a_ladder_do_not_overlap(shell: Shell, tmp_path: Path) -> None:
    question = """
      const boxes = [...document.querySelectorAll("svg text")].map((one) => one.getBBox());
      const room = document.querySelector("svg").viewBox.baseVal;
      const over = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width
        && a.y + 3 < b.y + b.height && b.y + 3 < a.y + a.height;
      return [boxes.length, boxes.some((a, at) => boxes.slice(at + 1).some((b) => over(a, b))),
        boxes.every((box) => box.x >= 0 && box.x + box.width <= room.width)];
    """
    count, overlap, inside = asked(long_names(shell).source, tmp_path, question)
    assert count > 8
    assert not overlap
    assert inside


def test_a_long_cell_of_the_list_is_broken(shell: Shell, tmp_path: Path) -> None:
    question = "return document.querySelector('table').getBoundingClientRect().width;"
    assert asked(long_names(shell).source, tmp_path, question) < 2000


def test_what_is_lit_can_be_seen_with_forced_colours(shell: Shell, tmp_path: Path) -> None:
    """They take the place of backgrounds."""
    source = call(shell).source.replace("(forced-colors: active)", "all")
    question = """
      document.getElementById("m1f2").focus();
      return getComputedStyle(document.getElementById("m1o2")).outlineStyle;
    """
    assert asked(source, tmp_path, question) == "solid"


def test_a_browser_leaves_messages_out_of_sight_for_later(shell: Shell, tmp_path: Path) -> None:
    question = """
      return ["m1f0", "m8f0"].map((id) =>
        document.getElementById(id).checkVisibility({ contentVisibilityAuto: true }));
    """
    assert asked(call(shell).source, tmp_path, question)[-1] is False


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 2560)])
def test_axe_finds_nothing(shell: Shell, tmp_path: Path, scheme: str, width: int) -> None:
    """By any of its rules, also those for practice and for enhanced contrast."""
    axe = os.environ.get("AXE_JS") or need("axe-core, whose file AXE_JS names")
    script = f"""{Path(axe).read_text()}
      document.getElementById("m1f2").focus();
      const all = axe.getRules().map((rule) => rule.ruleId);
      axe.run({{ runOnly: {{ type: "rule", values: all }} }}).then((found) => {{
        document.title = JSON.stringify(found.violations.map((one) => [one.id, one.help,
          one.nodes.slice(0, 2).map((node) => node.html)]));
      }});
    """
    source = without_policy(call(shell).source, script)
    if scheme == "dark":
        source = source.replace("(prefers-color-scheme: dark)", "all")
    document, _ = in_chromium(source, tmp_path, width)
    (title,) = re.findall(r"<title>(.*?)</title>", document)
    assert title == "[]"


def test_a_page_is_written_to_a_file(shell: Shell) -> None:
    message = CASE["TRANSFER_RESP"]
    printed = shell.ok(f"mikeytool decode --html {message}")
    shell.ok(f"mikeytool decode --html {message} -o page.html")
    assert shell.path("page.html").read_text().rstrip("\n") == printed
    shell.fails(f"mikeytool decode --html {message} -o page.html", 4, "exists", "--force")
    shell.ok(f"mikeytool decode --html {message} -o page.html --force")
    shell.path("in").write_text(message)
    shell.fails("mikeytool decode --html in -o in --force", 2, "reads this file")
    shell.fails(f"mikeytool decode {message} -o tree", 2, "--html")
    shell.fails("mikeytool decode --html none.pcap -o none.html", 3, "no file")
    assert not shell.path("none.html").exists()
