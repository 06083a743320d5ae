"""Media in captures: which key opens which packet, whole captures decrypted and encrypted.

    from mikeytool.media import Settings, decrypt_capture, encrypt_capture, list_streams
    from mikeytool.srtp import parse_crypto

    packet = "8008000100000000cafebabe" + b"a payload".hex()
    with open("packets", "w") as file:  # or a capture: pcap, pcapng, rtpdump
        print(packet, file=file)
    key = parse_crypto("AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40)
    encrypt_capture("packets", "protected", [key])
    only = Settings(ssrcs=frozenset({0xCAFEBABE}))
    report = decrypt_capture("protected", "clear", [key], settings=only)
    assert open("clear").read().strip() == packet
    for stream in report.streams:
        print(stream.name, stream.done, "of", stream.packets, "opened by", stream.key)
    print(list_streams("clear").json())

Without keys `decrypt_capture` uses those in the signalling of the capture, which
`find_signalled_keys` lists. A session file is a key too, given as a `Path`. With `split` each
stream also gets a file of its own. `SignallingSteps` has the offers, answers and refusals.
`html_document` makes the page of `decode --html` of messages that an `exchange.Inspector` read,
and `ladder_lines` the ladder of `decode --flow`, from the `Row` of each message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikeytool.lazy import face

if TYPE_CHECKING:
    from mikeytool.media.flows import FlowFilter as FlowFilter
    from mikeytool.media.html_overview import overview as overview
    from mikeytool.media.html_page import HtmlSection as HtmlSection
    from mikeytool.media.html_page import html_document as html_document
    from mikeytool.media.listener import Listener as Listener
    from mikeytool.media.media_text import media_for_call as media_for_call
    from mikeytool.media.media_text import media_for_session as media_for_session
    from mikeytool.media.media_text import media_of as media_of
    from mikeytool.media.message_flow import Flow as Flow
    from mikeytool.media.message_flow import Row as Row
    from mikeytool.media.message_flow import flow_of as flow_of
    from mikeytool.media.message_flow import result_of as result_of
    from mikeytool.media.packet_files import NoSignalledKeyError as NoSignalledKeyError
    from mikeytool.media.report import Report as Report
    from mikeytool.media.report import StreamReport as StreamReport
    from mikeytool.media.session_description import describe_session as describe_session
    from mikeytool.media.session_description import describe_session_file as describe_session_file
    from mikeytool.media.settings import Settings as Settings
    from mikeytool.media.signalled_keys import SignalledKey as SignalledKey
    from mikeytool.media.signalling_steps import SignallingSteps as SignallingSteps
    from mikeytool.media.stream_list import StreamList as StreamList
    from mikeytool.media.stream_list import StreamSummary as StreamSummary
    from mikeytool.media.text_ladder import ladder_lines as ladder_lines
    from mikeytool.media.whole_captures import decrypt_capture as decrypt_capture
    from mikeytool.media.whole_captures import encrypt_capture as encrypt_capture
    from mikeytool.media.whole_captures import find_signalled_keys as find_signalled_keys
    from mikeytool.media.whole_captures import list_streams as list_streams

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "media_text": ("media_for_call", "media_for_session", "media_of"),
        "message_flow": ("Flow", "Row", "flow_of", "result_of"),
        "html_overview": ("overview",),
        "text_ladder": ("ladder_lines",),
        "flows": ("FlowFilter",),
        "html_page": ("HtmlSection", "html_document"),
        "listener": ("Listener",),
        "packet_files": ("NoSignalledKeyError",),
        "report": ("Report", "StreamReport"),
        "session_description": ("describe_session", "describe_session_file"),
        "settings": ("Settings",),
        "signalled_keys": ("SignalledKey",),
        "signalling_steps": ("SignallingSteps",),
        "stream_list": ("StreamList", "StreamSummary"),
        "whole_captures": (
            "decrypt_capture", "encrypt_capture", "find_signalled_keys", "list_streams",
        ),
    },
)  # fmt: skip
