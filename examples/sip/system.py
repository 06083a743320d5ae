"""The SIP side of a conference system: INVITE, SUBSCRIBE and REFER in front, mikeytool behind.

    python system.py STATE FACTORY FOCUS SIP_PORT MEDIA_PORT CAPTURE

An INVITE to the factory is for `conference create`, one to the focus for `conference call-in`, and
a REFER for `conference call-out`. Who subscribes to the event package `conference` is told who is
in (RFC 4575), in CMS under the event key. RTP goes through a relay, which refuses what no member
may send. All that comes and goes on the two ports is written to CAPTURE. SIGTERM ends all calls.
For a lab: one thread, UDP on one machine, and the event key on a command line of openssl.
"""

from __future__ import annotations

import json
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mikeytool.conference import ConferenceState, Relay
from mikeytool.wire.errors import MikeyError

HOST = "127.0.0.1"
Address = tuple[str, int]
Headers = list[tuple[str, str]]


class Failed(Exception):
    """A command refused something."""


def mikeytool(*words: str, stdin: str = "") -> str:
    """Run a command; raises Failed with what it says."""
    command = ["mikeytool", *words]
    ran = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    sys.stderr.write(ran.stderr)
    if ran.returncode:
        raise Failed(ran.stderr.strip())
    return ran.stdout


class Message:
    """A SIP message: its first line, headers and body."""

    def __init__(self, text: str) -> None:
        self.text = text
        head, _, self.body = text.partition("\r\n\r\n")
        self.first, *lines = head.split("\r\n")
        pairs = [line.partition(":")[::2] for line in lines]
        self.headers = [(name.strip(), value.strip()) for name, value in pairs]

    def __getitem__(self, name: str) -> str:
        return next((value for found, value in self.headers if found == name), "")


def uri_in(header: str) -> str:
    """The URI in a From, To, Contact or Refer-To header."""
    found = re.search(r"<([^>;]*)", header)
    return found[1] if found else header


def composed(first: str, headers: Headers, kind: str = "", body: str = "") -> bytes:
    """A SIP message as octets; `kind` is the type of its body."""
    if kind:
        headers = [*headers, ("Content-Type", kind)]
    headers = [*headers, ("Content-Length", str(len(body)))]
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in headers), "", body]).encode()


class Capture:
    """A pcap file of IPv4 packets without a link layer."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))

    def add(self, source: Address, target: Address, data: bytes) -> None:
        """Write a UDP datagram."""
        ends = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
        udp = struct.pack("!HHHH", source[1], target[1], 8 + len(data), 0) + data
        size = 20 + len(udp)
        ip = struct.pack("!BxHxxxxBBxx", 0x45, size, 64, socket.IPPROTO_UDP) + ends
        checksum = ~(sum(struct.unpack("!10H", ip)) % 0xFFFF) & 0xFFFF
        ip = ip[:10] + checksum.to_bytes(2) + ip[12:]
        second, nanoseconds = divmod(time.time_ns(), 10**9)
        record = struct.pack("<IIII", second, nanoseconds // 1000, size, size)
        self._file.write(record + ip + udp)


@dataclass
class Call:
    """A dialog, from our side: where it is, and what stands in From and To of our requests."""

    address: Address
    target: str
    local: str
    remote: str


class System:
    """The conference system on its two ports."""

    def __init__(
        self, state: str, factory: str, focus: str, sip: str, media: str, capture: str
    ) -> None:
        self.state, self.factory, self.focus = state, factory, focus
        self.sip, self.media = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.sip.bind((HOST, int(sip)))
        self.media.bind((HOST, int(media)))
        self.capture = Capture(Path(capture))
        self.contact = f"<sip:room@{HOST}:{sip}>;isfocus"
        self.answers: dict[tuple[str, str], bytes] = {}  # by Call-ID and CSeq
        self.calls: dict[str, Call] = {}  # by Call-ID
        self.phones: dict[str, Address] = {}  # by identity: where the sound goes
        self.subscriber = ""
        self.number = 0
        self.relay: Relay | None = None

    def run(self) -> None:
        """Serve until SIGTERM, then end all calls."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        try:
            while True:
                for ready in select.select([self.sip, self.media], [], [])[0]:
                    data, source = ready.recvfrom(65535)
                    self.capture.add(source, ready.getsockname(), data)
                    (self.signalling if ready is self.sip else self.sound)(data, source)
        finally:
            for call in self.calls:
                self.request(call, "BYE")

    def send(self, data: bytes, to: Address, by: socket.socket) -> None:
        """Send a datagram, and capture it."""
        by.sendto(data, to)
        self.capture.add(by.getsockname(), to, data)

    def sound(self, data: bytes, source: Address) -> None:
        """Pass a packet on to the telephones of the others."""
        if self.relay is None:
            self.relay = Relay(ConferenceState(Path(self.state)), time.time_ns)
        try:
            _, seat = self.relay.opened(data, f"{source[0]}:{source[1]}")
        except MikeyError as error:
            print(f"refused: {error}", file=sys.stderr)
            return
        for who, phone in self.phones.items():
            if who != seat.who:
                self.send(data, phone, self.media)

    def signalling(self, data: bytes, source: Address) -> None:
        """Handle a SIP message; one that was sent again gets the answer that it got."""
        message = Message(data.decode())
        method = message.first.partition(" ")[0]
        key = message["Call-ID"], message["CSeq"]
        if method == "SIP/2.0":
            self.on_response(message)
        elif key in self.answers:
            self.send(self.answers[key], source, self.sip)
        elif method != "ACK":
            if method == "INVITE":
                self.answer(message, source, "100 Trying")
            handle = {"INVITE": self.on_invite, "SUBSCRIBE": self.on_subscribe,
                      "REFER": self.on_refer, "BYE": self.on_bye}.get(method)  # fmt: skip
            try:
                if handle is None:
                    self.answer(message, source, "405 Method Not Allowed")
                else:
                    handle(message, source)
            except Failed as error:
                self.answer(message, source, "403 Forbidden", [("Warning", f'399 - "{error}"')])

    def answer(
        self,
        message: Message,
        to: Address,
        status: str,
        more: Headers | None = None,
        kind: str = "",
        body: str = "",
    ) -> None:
        """Answer a request."""
        copied = [one for one in message.headers if one[0] in ("Via", "From", "Call-ID", "CSeq")]
        tag = "" if "tag=" in message["To"] else ";tag=system"
        headers = [*copied, ("To", message["To"] + tag), ("Contact", self.contact), *(more or [])]
        data = composed(f"SIP/2.0 {status}", headers, kind, body)
        if not status.startswith("1"):
            self.answers[message["Call-ID"], message["CSeq"]] = data
        self.send(data, to, self.sip)

    def request(
        self, call_id: str, method: str, more: Headers | None = None, kind: str = "", body: str = ""
    ) -> None:
        """Send a request in a dialog. ACK has the number of the INVITE before it."""
        self.number += method != "ACK"
        call, port = self.calls[call_id], self.sip.getsockname()[1]
        headers = [
            ("Via", f"SIP/2.0/UDP {HOST}:{port};branch=z9hG4bK-{self.number}-{method}"),
            ("From", call.local), ("To", call.remote), ("Call-ID", call_id),
            ("CSeq", f"{self.number} {method}"), ("Contact", self.contact), ("Max-Forwards", "70"),
        ]  # fmt: skip
        data = composed(f"{method} {call.target} SIP/2.0", headers + (more or []), kind, body)
        self.send(data, call.address, self.sip)

    def description(self, key_mgmt: str) -> str:
        """The SDP of the system, with a MIKEY message."""
        lines = ["v=0", f"o=- 1 1 IN IP4 {HOST}", "s=-", f"c=IN IP4 {HOST}", "t=0 0",
                 key_mgmt.strip(), f"m=audio {self.media.getsockname()[1]} RTP/SAVP 0"]  # fmt: skip
        return "".join(f"{line}\r\n" for line in lines)

    def remember_phone(self, who: str, body: str) -> None:
        """Where somebody's description wants the sound sent."""
        host, port = re.search(r"c=IN IP4 (\S+)", body), re.search(r"m=audio (\d+)", body)
        if host and port:
            self.phones[who] = host[1], int(port[1])

    def on_invite(self, message: Message, source: Address) -> None:
        """Somebody creates the conference, or calls in."""
        kind = "application/sdp"
        if uri_in(message["To"]) == self.factory:
            words = ["create", self.state, "--focus", self.focus, "--purpose", "audio,events"]
            made = mikeytool("conference", *words, "-f", "sdp", stdin=message.text)
            self.answer(message, source, "200 OK", [], kind, self.description(made))
            return
        made = mikeytool("conference", "call-in", self.state, "-f", "sdp", stdin=message.text)
        self.calls[message["Call-ID"]] = Call(
            source, uri_in(message["Contact"]), message["To"] + ";tag=system", message["From"]
        )
        self.remember_phone(uri_in(message["From"]), message.body)
        self.answer(message, source, "200 OK", [], kind, self.description(made))

    def on_subscribe(self, message: Message, source: Address) -> None:
        """A member wants to know who is in."""
        self.answer(message, source, "200 OK", [("Expires", "600")])
        self.subscriber = message["Call-ID"]
        self.notify()

    def on_refer(self, message: Message, source: Address) -> None:
        """A member has somebody called out."""
        target = uri_in(message["Refer-To"])
        user, _, place = target.partition("@")
        who, port = f"{user}@example.com", int(place.partition(":")[2])
        by = uri_in(message["From"])
        made = mikeytool("conference", "call-out", self.state, who, "--by", by, "-f", "sdp")
        self.answer(message, source, "202 Accepted")
        call_id = f"out-{self.number}@{HOST}"
        local, remote = f"<{self.focus}>;tag=system", f"<{who}>"
        self.calls[call_id] = Call((HOST, port), target, local, remote)
        self.request(call_id, "INVITE", [], "application/sdp", self.description(made))

    def on_bye(self, message: Message, source: Address) -> None:
        """A call ends."""
        self.answer(message, source, "200 OK")
        self.calls.pop(message["Call-ID"], None)

    def on_response(self, message: Message) -> None:
        """Somebody who was called out has answered."""
        call_id = message["Call-ID"]
        if not message["CSeq"].endswith("INVITE") or message.first.split()[1] != "200":
            return
        call, self.calls[call_id] = (
            self.calls[call_id],
            replace(self.calls[call_id], remote=message["To"]),
        )
        self.request(call_id, "ACK")
        if call.remote != message["To"]:
            mikeytool("conference", "answer", self.state, stdin=message.text)
            self.remember_phone(uri_in(message["To"]), message.body)
            self.notify()

    def notify(self) -> None:
        """Tell the subscriber who is in, encrypted with the event key."""
        if not self.subscriber:
            return
        shown = json.loads(mikeytool("conference", "show", self.state, "--json", "--show-keys"))
        users = "".join(
            f'<user entity="{one["identity"]}"><endpoint entity="{one["csb_id"]}">'
            "<status>connected</status></endpoint></user>"
            for one in shown["members"]
            if one["state"] == "joined"
        )
        text = (
            '<conference-info xmlns="urn:ietf:params:xml:ns:conference-info"'
            f' entity="{self.focus}" state="full" version="{self.number}">'
            f"<users>{users}</users></conference-info>"
        )
        keys = {one["purpose"]: one["tek"] for one in shown["keys"] if one["state"] == "active"}
        command = ["openssl", "cms", "-EncryptedData_encrypt", "-aes128", "-secretkey",
                   keys["events"], "-outform", "PEM"]  # fmt: skip
        made = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        lines = [line for line in made.stdout.splitlines() if "-----" not in line]
        more = [
            ("Event", "conference"), ("Subscription-State", "active;expires=600"),
            ("Content-Transfer-Encoding", "base64"),
        ]  # fmt: skip
        kind = 'application/pkcs7-mime; smime-type=encrypted-data; name="conference-info.p7m"'
        self.request(self.subscriber, "NOTIFY", more, kind, "\r\n".join([*lines, ""]))


if __name__ == "__main__":
    System(*sys.argv[1:]).run()
