from __future__ import annotations

import base64
import io

from mikeytool.capture.packet_lines import NO_LINE, PacketLines
from mikeytool.capture.record import BARE_PACKET

HEX = b"80000005000000a0cafebabe68656c6c6f"
PACKET = bytes.fromhex(HEX.decode())


def test_packets_are_hex_or_base64_and_stay_so() -> None:
    text = b"# a comment\n\n" + HEX + b"\n  " + base64.b64encode(PACKET) + b"\r\nneither!\n" + HEX
    capture = PacketLines(io.BytesIO(text))
    records = list(capture)
    assert [(each.number, each.link) for each in records] == [
        (3, BARE_PACKET), (4, BARE_PACKET), (5, NO_LINE), (6, BARE_PACKET),
    ]  # fmt: skip
    assert [each.frame for each in records if each.link == BARE_PACKET] == [PACKET] * 3
    assert capture.rewritten(records[0], b"\x80!") == b"8021\n"
    assert capture.rewritten(records[1], b"\x80!") == b"gCE=\n"
    assert capture.kept(records[1]).strip() == base64.b64encode(PACKET)
    assert capture.kept(records[3]) == HEX + b"\n"


def test_a_line_without_end_is_cut_into_pieces() -> None:
    records = list(PacketLines(io.BytesIO(b"8" * (1 << 20))))
    assert len(records) == 4
