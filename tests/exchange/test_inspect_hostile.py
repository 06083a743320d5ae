"""Opening and sealing what was changed, cut and spliced: results or documented errors."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from mikeytool import decode
from mikeytool.exchange.inspect import MAX_UNPROVEN, VERIFIED, inspect_message
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.sealing import seal_message
from mikeytool.wire.errors import Refused, UsageError, WireError
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import SIGN
from tests.exchange import rfc3830 as rfc
from tests.exchange.rfc3830 import INITIATOR, RESPONDER, Keys, Party
from tests.exchange.test_inspect_legacy import NAMES, SHARED, make_case
from tests.exchange.test_sealing import all_messages, ring_of
from tests.series import Series

ROUNDS = 6000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[bytes, list[Message], KeyRing]]:
    """Messages of every kind, each with those before it and the keys that open it."""
    folder: Path = tmp_path_factory.mktemp("parties")
    alice, bob = Party(folder, INITIATOR), Party(folder, RESPONDER)
    found = []
    for name in NAMES:
        case = make_case(name, alice, bob)
        earlier = [] if case.init is None else [Message.parse(case.init)]
        found.append((case.raw, earlier, case.ring()))
    for case, before, raw in (param.values for param in all_messages()):
        earlier = [Message.parse(bytes.fromhex(one)) for one in before]
        found.append((bytes.fromhex(raw), earlier, ring_of(case)))
    return found


def mutated(draw: random.Random, raw: bytes, other: bytes) -> bytes:
    octets = bytearray(raw)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(octets))
        how = draw.random()
        if how < 0.6:
            octets[at] = draw.choice((0, 1, 2, 3, 4, 6, 9, 11, 15, 255, draw.randrange(256)))
        elif how < 0.8 and len(octets) > 40:
            del octets[at : at + draw.randint(1, 8)]
        else:
            start = draw.randrange(len(other))
            octets[at:at] = other[start : start + draw.randint(1, 60)]
    if draw.random() < 0.5:
        octets[1] = draw.randrange(28)  # another data type
    return bytes(octets)


def opens_and_seals(raw: bytes, earlier: list[Message], ring: KeyRing) -> bool:
    """Open a message and seal it again; gives whether it was one."""
    try:
        message = decode(raw)
    except WireError:
        return False  # not even a header
    opened = inspect_message(message, ring, earlier=earlier)
    with suppress(Refused, UsageError):
        sealed = seal_message(message, ring, earlier=earlier, keys=opened.kemacs)
        assert without_signature(sealed.message) == without_signature(message)
    return True


def without_signature(message: Message) -> int:
    """The length of a message less its signature, which is as long as the key that signs."""
    signatures = [one.signature for one in message.payloads if isinstance(one, SIGN)]
    return len(message.raw) - sum(map(len, signatures))


def test_nothing_but_documented_errors(
    corpus: list[tuple[bytes, list[Message], KeyRing]], series: Series
) -> None:
    draw = series.chance()
    read, rounds = 0, series.length(ROUNDS, ROUNDS // 6)
    for _ in range(rounds):
        raw, earlier, ring = draw.choice(corpus)
        changed = mutated(draw, raw, draw.choice(corpus)[0])
        try:
            read += opens_and_seals(changed, earlier, ring)
        except Exception as error:
            # Some keys are new in every run, so what it takes to see it again is told here.
            rsa = [one.private_numbers() for one in ring.rsa]
            numbers = [(one.p, one.q, one.public_numbers.e) for one in rsa]
            before = [one.raw.hex() for one in earlier]
            error.add_note(f"{changed.hex()}\nafter {before}\n{ring.psks=}\nrsa: {numbers}")
            raise
    assert read > rounds / 2


def test_a_key_wrap_without_a_mac_is_not_tried_with_every_key() -> None:
    """Each try unwraps up to 64 KB; the MAC that would save that is missing."""
    keys = Keys(SHARED)
    kemac = (rfc.KEMAC, keys.kemac([rfc.tgk(bytes(20))], rfc.AES_KW, mac=False))
    message = Message.parse(rfc.message(rfc.PSK, [rfc.t, rfc.rand, kemac]))
    others = [(None, number.to_bytes(16)) for number in range(MAX_UNPROVEN)]
    assert inspect_message(message, KeyRing(psks=[*others, (None, SHARED)])).keys == []
    assert len(inspect_message(message, KeyRing(psks=[*others[1:], (None, SHARED)])).keys) == 1


def test_octets_behind_a_message_do_not_hide_it() -> None:
    """What stands behind the last payload is no part of the message (RFC 3830 5.2)."""
    raw = make_psk()
    found = inspect_message(Message.read(raw + b"behind"), KeyRing(psks=[(None, SHARED)]))
    assert found.mac == VERIFIED
    sealed = seal_message(
        Message.read(raw[:-20] + bytes(20) + b"behind"), KeyRing(psks=[(None, SHARED)])
    )
    assert sealed.message.raw == raw + b"behind"


def make_psk() -> bytes:
    keys = Keys(SHARED)
    kemac = (rfc.KEMAC, keys.kemac([rfc.tgk(bytes(16))]))
    return keys.sealed(rfc.PSK, [rfc.t, rfc.rand, kemac])
