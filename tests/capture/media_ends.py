"""Keys in captures and the ends of the media that they are for."""

from __future__ import annotations

from ipaddress import ip_address

from mikeytool.media.offers import End
from mikeytool.media.signalled_keys import SignalledKey, signalled_keys_in
from tests.capture.carriers import sdp
from tests.capture.network import ALICE, BOB, records

ALICE_KEY = "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
BOB_KEY = "1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"
OFFER = sdp(f"a=crypto:{ALICE_KEY}", address=ALICE, port=49000)
ANSWER = sdp(f"a=crypto:{BOB_KEY}", address=BOB, port=32640)


def end(address: str, port: int, rtcp: int | None = None) -> End:
    packed = ip_address(address).packed
    return End(packed + port.to_bytes(2), packed + (port + 1 if rtcp is None else rtcp).to_bytes(2))


ALICES, BOBS = end(ALICE, 49000), end(BOB, 32640)


def keys(*packets: bytes) -> list[SignalledKey]:
    return signalled_keys_in(records(packets))


def keys_with_ends(*packets: bytes) -> list[tuple[str | bytes, End | None, End | None]]:
    return [(key.content, key.owner, key.peer) for key in keys(*packets)]


BOTH = [(ALICE_KEY, ALICES, BOBS), (BOB_KEY, BOBS, ALICES)]
