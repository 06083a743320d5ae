"""Captures and other input: from files to packets, and the MIKEY messages in them.

    import io, struct
    from mikeytool.capture import find_captured_messages, find_datagram, find_messages, open_capture

    # A pcap file of one IPv4 packet, with a MIKEY Error message for UDP port 2269.
    message = bytes.fromhex("010605004c02f8e600010c00edc34f4ad7af4826090c00000001")
    udp = struct.pack("!4H", 40000, 2269, 8 + len(message), 0) + message
    ip = struct.pack("!2B3H2BH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + bytes(8) + udp
    pcap = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    pcap += struct.pack("<4I", 0, 0, len(ip), len(ip)) + ip
    for record in open_capture(io.BytesIO(pcap)):
        found = find_datagram(record.link, record.raw, record.start, record.end)
        print(record.number, found.source, found.destination)
    for one in find_captured_messages(io.BytesIO(pcap)):
        assert one.content == message, one.where
    (found,) = find_messages(b"a=key-mgmt:mikey AQYFAEwC+OYAAQwA7cNPSteoSCYJDAAAAAE=")
    print(found.where, found.message.hex())

Files are read record by record and never held in memory whole. `find_messages` accepts messages in
any form: binary, hex, base64, SDP, SIP, RTSP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikeytool.lazy import face

if TYPE_CHECKING:
    from mikeytool.capture.capture_files import is_capture as is_capture
    from mikeytool.capture.capture_files import open_capture as open_capture
    from mikeytool.capture.captured_messages import CapturedMessage as CapturedMessage
    from mikeytool.capture.captured_messages import find_captured_messages as find_captured_messages
    from mikeytool.capture.carried_messages import CarriedMessage as CarriedMessage
    from mikeytool.capture.carried_messages import messages_in as messages_in
    from mikeytool.capture.carrier import Carrier as Carrier
    from mikeytool.capture.frame_payloads import with_payload as with_payload
    from mikeytool.capture.frames import Datagram as Datagram
    from mikeytool.capture.frames import Fragment as Fragment
    from mikeytool.capture.frames import find_datagram as find_datagram
    from mikeytool.capture.one_message import choose as choose
    from mikeytool.capture.one_message import choose_offered as choose_offered
    from mikeytool.capture.packet_lines import PacketLines as PacketLines
    from mikeytool.capture.record import Capture as Capture
    from mikeytool.capture.record import Record as Record
    from mikeytool.capture.sdp import Section as Section
    from mikeytool.capture.sdp import read_sdp as read_sdp
    from mikeytool.capture.sdp_message import SdpPlace as SdpPlace
    from mikeytool.capture.signalling import Signal as Signal
    from mikeytool.capture.signalling import Signalling as Signalling
    from mikeytool.capture.signalling import signals as signals
    from mikeytool.capture.strict_text import FoundMessage as FoundMessage
    from mikeytool.capture.text import find_messages as find_messages
    from mikeytool.capture.text import format_message as format_message
    from mikeytool.capture.text_input import stream_messages as stream_messages

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "capture_files": (
            "is_capture",
            "open_capture",
        ),
        "captured_messages": (
            "CapturedMessage",
            "find_captured_messages",
        ),
        "carried_messages": (
            "CarriedMessage",
            "messages_in",
        ),
        "carrier": ("Carrier",),
        "frames": (
            "Datagram",
            "Fragment",
            "find_datagram",
        ),
        "one_message": ("choose", "choose_offered"),
        "frame_payloads": ("with_payload",),
        "packet_lines": ("PacketLines",),
        "record": (
            "Capture",
            "Record",
        ),
        "sdp": (
            "Section",
            "read_sdp",
        ),
        "sdp_message": ("SdpPlace",),
        "signalling": (
            "Signal",
            "Signalling",
            "signals",
        ),
        "strict_text": ("FoundMessage",),
        "text": (
            "find_messages",
            "format_message",
        ),
        "text_input": ("stream_messages",),
    },
)
