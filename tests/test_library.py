"""`from mikeytool import decode, describe, encode`: typed, light, and what the commands use."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mikeytool import decode, describe, encode, exchange
from mikeytool.capture import open_capture
from mikeytool.kms import Store, handle
from mikeytool.media import (
    FlowFilter,
    Listener,
    NoSignalledKeyError,
    Settings,
    decrypt_capture,
    find_signalled_keys,
    list_streams,
)
from mikeytool.srtp import MasterKey, Receiver, Replayed, Sender, parse_crypto, suite
from mikeytool.wire.errors import UsageError, WireError
from mikeytool.wire.payloads import CERT, TICKET, T
from tests.capture import network
from tests.srtp.media import SSRC, rtp
from tests.support import vectors
from tests.wire.samples import every_sample

HEX = vectors("exchanges")[0]["TRANSFER_INIT"]
OFFER = bytes.fromhex(HEX)


def test_octets_and_texts() -> None:
    text = base64.b64encode(OFFER).decode()
    for given in (
        OFFER,
        HEX,
        text,
        f"a=key-mgmt:mikey {text}",
        f'KeyMgmt: prot=mikey;uri="a";data="{text}"',
    ):
        assert decode(given) == decode(OFFER)


def test_typed_results() -> None:
    message = decode(OFFER)
    t = message.find(T)
    assert t is not None
    assert (message.header.csb_id, t.ts_value.hex()) == (int(HEX[8:16], 16), t.ts_value.hex())
    assert message.find(TICKET) is not None
    assert message.error is None


@every_sample
def test_encode_is_the_reverse(data: bytes) -> None:
    message = decode(data)
    assert encode(message) == data
    assert encode(json.loads(json.dumps(describe(message)))) == data


def test_what_breaks_off() -> None:
    message = decode(OFFER[:-1])
    assert message.error is not None
    assert message.error.payload == "V"
    assert encode(message) == OFFER[:-1]
    with pytest.raises(WireError) as caught:
        decode(OFFER[:6])
    assert caught.value.partial is not None
    assert caught.value.partial.header.data_type == 14
    assert encode(caught.value.partial) == OFFER[:6]


@pytest.mark.parametrize("text", ["", "not a message", f"{HEX}\n{HEX}"])
def test_texts_that_are_not_one_message(text: str) -> None:
    with pytest.raises(WireError):
        decode(text)


def test_what_cannot_be_written() -> None:
    with pytest.raises(UsageError, match="csb_id is missing"):
        encode({"data_type": "Pre-shared", "prf": "MIKEY-1", "cs_id_map_type": "Empty map"})


def test_certificates_have_their_facts(tmp_path: Any) -> None:
    """Against what OpenSSL made, and says."""
    pem, der = tmp_path / "cert.pem", tmp_path / "cert.der"
    make = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {tmp_path}/key.pem -out {pem} -days 2"
        " -subj /O=Lab/CN=Alice"
        " -addext subjectAltName=URI:sip:alice@example.com,DNS:example.com"
    )
    subprocess.run(make.split(), check=True, capture_output=True)
    subprocess.run(f"openssl x509 -in {pem} -outform DER -out {der}".split(), check=True)
    dates = subprocess.run(["openssl", "x509", "-in", str(pem), "-noout", "-dates", "-dateopt",
                            "iso_8601"], check=True, capture_output=True, text=True)  # fmt: skip
    start, end = (line.split("=")[1].replace(" ", "T") for line in dates.stdout.split("\n")[:2])
    header = {"data_type": "Public key", "prf": "MIKEY-1", "csb_id": "0x00000001",
              "cs_id_map_type": "Empty map"}  # fmt: skip
    cert = {"payload": "CERT", "cert_type": "X.509v3", "cert_data": der.read_bytes().hex()}
    url = {"payload": "CERT", "cert_type": "X.509v3 URL", "cert_data": b"http://x/y".hex()}
    bad = {"payload": "CERT", "cert_type": "X.509v3", "cert_data": "3000"}
    data = encode({**header, "payloads": [cert, url, bad]})
    message = decode(data)
    assert isinstance(message.payloads[0], CERT)
    described = describe(message)
    facts, of_url, of_bad = (payload["certificate"] for payload in described["payloads"])
    assert facts["subject"] == "CN=Alice,O=Lab"
    assert facts["san"] == ["URI:sip:alice@example.com", "DNS:example.com"]
    assert (facts["valid_from"], facts["valid_to"]) == (start, end)
    assert facts["key"] == "RSA 2048"
    assert of_url == {"url": "http://x/y"}
    assert "cannot be read" in of_bad["error"]
    assert encode(described) == data


def test_a_kms_in_memory_two_users_and_a_session() -> None:
    """All of it imports from two places, and touches no file."""
    env = exchange.Environment(clock=time.time_ns, random=os.urandom)
    kms, alice, bob = map(
        exchange.Identity.from_text,
        ("sip:kms.example.com", "sip:alice@example.com", "sip:bob@example.com"),
    )
    keys = {alice: os.urandom(16), bob: os.urandom(16)}
    with closing(Store.in_memory(kms)) as store:
        for user, key in keys.items():
            store.add_user(user, key)

        def ask(message: bytes) -> bytes:
            return handle(store, env, message).answer or b""

        profile = exchange.PROFILE_128
        flags = exchange.TicketFlag.from_letters("DEFGHIJNO")
        policy = exchange.TicketPolicy(profile.prf, flags, responders=(bob,))
        request = exchange.request_init(
            env, profile, policy, initiator=alice, kms=kms, psk=keys[alice]
        )
        granted = exchange.accept_request_resp(env, request, keys[alice], ask(request.raw))
        init = exchange.transfer_init(
            env,
            granted.held,
            initiator=alice,
            responder=bob,
            crypto_sessions=[exchange.CsSpec(send=True), exchange.CsSpec(send=False)],
            policies=[exchange.SP(policy_no=0, protocol=0, policy_param=[])],
        )

        received = exchange.read_transfer_init(init.raw)
        exchange.check_acceptable(env, received, lambda _policy: True)
        question = exchange.resolve_init(
            env, profile, received.ticket, responder=bob, kms=kms, psk=keys[bob]
        )
        resolved = exchange.accept_resolve_resp(env, question, keys[bob], ask(question.raw))
    verified = exchange.verify_transfer_init(received, resolved, bob)
    answer, theirs = exchange.transfer_resp(env, verified, lambda _policy: True, local=bob)
    assert answer is not None
    ours = exchange.finish_transfer(env, granted.held, init, answer, lambda _policy: True)
    assert (ours.local, ours.remote) == (theirs.remote, theirs.local) == (alice, bob)
    media = [ours.media_key(one) for one in ours.crypto_sessions]
    assert media == [theirs.media_key(one) for one in theirs.crypto_sessions]
    assert len({key.key for key in media}) == 2


def test_import_is_light() -> None:
    code = (
        "import mikeytool, sys;"
        "assert not {'click', 'rich', 'construct', 'cryptography'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_script_that_decrypts_a_capture(tmp_path: Path) -> None:
    """With a key that is known, or with those in the signalling of the capture itself."""
    line = f"AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}"
    offer = f"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/SAVP 8\r\na=crypto:1 {line}\r\n"
    invite = network.udp(
        b"INVITE sip:bob@example.com SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n"
        b"Content-Type: application/sdp\r\n\r\n" + offer.encode()
    )
    sender = Sender(suite("AES_CM_128_HMAC_SHA1_80"), parse_crypto(line).keys[0])
    ends = network.Ends(sport=5004, dport=5006)
    clear = [network.udp(rtp(number), ends) for number in range(3)]
    protected = [network.udp(sender.protect(rtp(number)), ends) for number in range(3)]
    source, target = tmp_path / "call.pcap", tmp_path / "clear.pcap"
    source.write_bytes(network.pcap([invite, *protected]))

    (key,) = find_signalled_keys(source)
    assert (key.content, key.protocol, key.frame) == (f"1 {line}", "SIP", 1)
    assert "AAAA" not in repr(key)
    for keys in (None, [parse_crypto(line)]):
        report = decrypt_capture(source, target, keys)
        (stream,) = report.streams
        assert (stream.packets, stream.done, stream.failed) == (3, 3, 0)
        assert (report.errors, report.fault) == ([], None)
        with target.open("rb") as file:
            first, *media = (each.frame[14:] for each in open_capture(file))
        # The description of media that is now in the clear says so.
        assert (b"RTP/AVP" in first, first == invite) == (keys is None, keys is not None)
        assert media == clear
    assert [each.packets for each in list_streams(source).streams] == [3]

    wrong = parse_crypto(f"AES_CM_128_HMAC_SHA1_80 inline:{'B' * 40}")
    listener = Collecting()
    report = decrypt_capture(source, target, [wrong], listener=listener)
    assert (report.streams[0].skipped, report.failures) == (3, [report.nothing])
    assert report.nothing.startswith("nothing was decrypted: ")
    listener.failures.clear()
    chosen = Settings(flows=FlowFilter.of([5006]))
    report = decrypt_capture(source, target, [wrong], settings=chosen, listener=listener)
    assert report.streams[0].failed == 3
    assert len(report.failures) == 1
    assert listener.failures == report.failures
    source.write_bytes(network.pcap(protected))
    with pytest.raises(NoSignalledKeyError):
        decrypt_capture(source, tmp_path / "none.pcap")
    assert not (tmp_path / "none.pcap").exists()


class Collecting(Listener):
    """Collects the failures that it is told."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def failure(self, text: str) -> None:
        """Add a failure."""
        self.failures.append(text)


def test_a_script_that_decrypts_packets_in_memory() -> None:
    chosen = suite("AEAD_AES_128_GCM")
    key = MasterKey(bytes(chosen.key_length), bytes(chosen.salt_length))
    sender, receiver = Sender(chosen, key), Receiver(chosen, [key])
    packets = [rtp(number) for number in range(3)]
    protected = [sender.protect(packet) for packet in packets]
    assert [receiver.unprotect(packet) for packet in protected] == packets
    with pytest.raises(Replayed):
        receiver.unprotect(protected[0])
    assert receiver.streams[SSRC, ""].received == 3
