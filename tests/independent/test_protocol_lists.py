"""The list of key management protocols in SDP (RFC 4567 4.1.4, interpretation 50)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.independent.rfc6043 import GENERAL_EXT, Parsed, read, sdp_ids
from tests.independent.test_interop import (
    ALICE,
    BOB,
    as_user,
    b64,
    initiator,
    kms,
    responder,
    unb64,
)

__all__ = ["kms"]

HEAD = "v=0\no=alice 1 1 IN IP4 h.example.com\ns=-\nc=IN IP4 h.example.com\nt=0 0\n"
AUDIO, VIDEO = "m=audio 4900 RTP/SAVP 98\na=rtpmap:98 AMR/8000\n", "m=video 5222 RTP/SAVP 31\n"
OTHERS = "a=key-mgmt:keyp1 727gkdOshsuiSDF9\na=key-mgmt:keyp2 DFsnuiSDSh9sdh\n"


def line(message: bytes) -> str:
    return f"a=key-mgmt:mikey {b64(message)}\n"


def in_sdp(text: str) -> bytes:
    """The message of the only mikey line."""
    (found,) = [one for one in text.splitlines() if one.startswith("a=key-mgmt:mikey ")]
    return unb64(found.split(" ")[1])


def listed(message: Parsed) -> list[bytes]:
    return [content[3:] for kind, content in message.payloads if kind == GENERAL_EXT]


def request(kms: Shell) -> None:
    kms.ok(f"mikeytool ticket request {as_user(ALICE)} --to {BOB.decode()} --kms kms.db --save t")


INIT = f"mikeytool transfer init --ticket t --to {BOB.decode()} --session a"
RESPOND = f"mikeytool transfer respond %s {as_user(BOB)} --kms kms.db --session b"


@pytest.mark.parametrize(
    ("sdp", "media", "ids"),
    [
        (HEAD + AUDIO, 0, b"mikey"),
        (HEAD + AUDIO, 1, b"mikey"),
        (HEAD + OTHERS + AUDIO, 0, b"mikey;keyp1;keyp2"),
        (HEAD + OTHERS + AUDIO, 1, b"keyp1;keyp2;mikey"),
        (HEAD + AUDIO + OTHERS + VIDEO, 1, b"mikey;keyp1;keyp2"),
        (HEAD + AUDIO + OTHERS + VIDEO, 2, b"keyp1;keyp2;mikey"),
        (HEAD + AUDIO + OTHERS + VIDEO + OTHERS, 2, b"keyp1;keyp2;mikey"),
        (HEAD + "a=acap:1 key-mgmt:keyp3 AQ\n" + AUDIO, 0, b"mikey;keyp3"),
    ],
)
def test_a_whole_offer_is_completed(kms: Shell, sdp: str, media: int, ids: bytes) -> None:
    """The list is under the MAC; the second implementation takes the message as it is."""
    request(kms)
    (kms.folder / "offer").write_text(sdp)
    offer = kms.ok(f"{INIT} --sdp offer --sdp-media {media}") + "\n"
    message = in_sdp(offer)
    assert offer.replace(line(message), "") == sdp
    at = offer.index("a=key-mgmt:mikey")
    assert offer[:at].count("m=") == media
    assert listed(read(message)) == [ids]
    bob = responder(128)
    resolve = bob.receive(message)
    bob.resolve_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(resolve)}")))
    (kms.folder / "full").write_text(offer)
    kms.ok("mikeytool lint full")


def test_the_attribute_alone_names_itself(kms: Shell) -> None:
    """Offer, answer and updates; the other formats have no list."""
    request(kms)
    offer = kms.ok(f"{INIT} -f sdp | tee offer")
    assert listed(read(in_sdp(offer))) == [b"mikey"]
    answer = kms.ok(f"{RESPOND % 'offer'} -f sdp | tee answer")
    assert listed(read(in_sdp(answer))) == [b"mikey"]
    kms.ok("mikeytool transfer finish answer --session a")
    update = "mikeytool transfer update --session a --cs dir=send,id=1"
    assert listed(read(in_sdp(kms.ok(f"{update} -f sdp | tee update")))) == [b"mikey"]
    assert listed(read(in_sdp(kms.ok("mikeytool transfer respond update --session b -f sdp"))))
    assert listed(read(unb64(kms.ok(update)))) == []


def test_the_answer_in_its_own_description(kms: Shell, tmp_path: Path) -> None:
    request(kms)
    (tmp_path / "o").write_text(HEAD + OTHERS + AUDIO)
    (tmp_path / "n").write_text((HEAD + AUDIO).replace("\n", "\r\n"))
    kms.ok(f"{INIT} --sdp o > offer")
    answer = kms.ok(f"{RESPOND % 'offer'} --sdp n --sdp-media 1 | tee answer")
    assert listed(read(in_sdp(answer))) == [b"mikey"]
    assert (tmp_path / "answer").read_bytes().count(b"\r\n") == HEAD.count("\n") + 3
    kms.ok("mikeytool transfer finish answer --session a")


BAD = {
    "the strong one is gone": ("mikey;keyp1", HEAD + "{}" + AUDIO),
    "all others are gone": ("keyp1;keyp2;mikey", HEAD + AUDIO + "{}"),
    "one at another level is gone": ("keyp1;mikey", HEAD + AUDIO + "{}" + VIDEO),
    "the order changed": ("mikey;keyp1;keyp2", HEAD + OTHERS + "{}" + AUDIO),
    "one is added": ("mikey", HEAD + "{}" + OTHERS + AUDIO),
    "one is another": ("mikey;keyp3;keyp2", HEAD + "{}" + OTHERS + AUDIO),
    "an empty list": ("", HEAD + "{}" + AUDIO),
    "capital letters": ("MIKEY", HEAD + "{}" + AUDIO),
}
GOOD = {
    "itself": ("mikey", HEAD + "{}" + AUDIO),
    "three": ("mikey;keyp1;keyp2", HEAD + "{}" + OTHERS + AUDIO),
    "three, and mikey last": ("keyp1;keyp2;mikey", HEAD + OTHERS + "{}" + AUDIO),
    "of all levels": ("keyp1;keyp2;mikey", HEAD + OTHERS + AUDIO + "{}"),
    "of its level": ("mikey", HEAD + OTHERS + AUDIO + "{}"),
    "of its medium": ("mikey;keyp1;keyp2", HEAD + AUDIO + "{}" + OTHERS + VIDEO),
    "no list": (None, HEAD + "{}" + AUDIO),
    "bare, so that nobody knows": ("mikey;keyp1", "{}"),
}


@pytest.mark.parametrize("name", [*BAD, *GOOD])
def test_an_offer_of_the_second_initiator(kms: Shell, tmp_path: Path, name: str) -> None:
    ids, sdp = {**BAD, **GOOD}[name]
    alice = initiator(128)
    asked = alice.request_init(BOB, "DEFGHIJNO")
    alice.request_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(asked)}")))
    more = [] if ids is None else [sdp_ids(ids.encode())]
    message = alice.transfer_init(BOB, [0x11111111, None], more=more)
    (tmp_path / "offer").write_text(sdp.format(line(message)))
    if name in GOOD:
        alice.transfer_resp(unb64(kms.ok(RESPOND % "offer")))
        kms.ok("mikeytool lint offer")
        return
    kms.fails(RESPOND % "offer", 1, "bidding-down", "mikey")
    assert "error: bidding-down: General Ext." in kms.run("mikeytool lint offer").out
    # Nothing was done: the offer as it was made is answered.
    (tmp_path / "bare").write_text(line(message))
    alice.transfer_resp(unb64(kms.ok(RESPOND % "bare")))


def test_an_answer_of_the_second_responder(kms: Shell, tmp_path: Path) -> None:
    request(kms)
    message = unb64(kms.ok(INIT))
    bob = responder(128)
    resolve = bob.receive(message)
    bob.resolve_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(resolve)}")))
    answer, _ = bob.transfer_resp(0x22222222, more=[sdp_ids(b"mikey")])
    (tmp_path / "bad").write_text(HEAD + line(answer) + OTHERS + AUDIO)
    kms.fails("mikeytool transfer finish bad --session a", 1, "bidding-down")
    (tmp_path / "good").write_text(HEAD + line(answer) + AUDIO)
    kms.ok("mikeytool transfer finish good --session a")


@pytest.mark.parametrize(
    ("text", "options", "code", "word"),
    [
        ("INVITE sip:b SIP/2.0\r\n\r\n" + HEAD, "", 3, "v=0"),
        ("", "", 3, "v=0"),
        (HEAD + AUDIO, "--sdp-media 2", 2, "1 media"),
        (HEAD + "a=key-mgmt:mikey AQAF\n" + AUDIO, "", 2, "session level"),
        (HEAD + AUDIO + "a=key-mgmt:mikey AQAF\n", "--sdp-media 1", 2, "media 1 (audio)"),
    ],
)
def test_descriptions_that_take_no_message(
    kms: Shell, text: str, options: str, code: int, word: str
) -> None:
    request(kms)
    (kms.folder / "offer").write_text(text)
    kms.fails(f"{INIT} --sdp offer {options}", code, word)
    kms.fails(f"{INIT} --sdp-media 1", 2, "--sdp FILE")
    kms.fails(f"{INIT} --sdp nowhere.sdp", 4)
    # The ticket was not used.
    kms.ok(INIT)
