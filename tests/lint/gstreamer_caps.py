"""The MIKEY message that GStreamer's RTSP elements send for the caps of an SRTP stream.

Run as a program of its own, as tests/peers/gstreamer.py is: prints the octets in hex for the
caps in its argument.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from ctypes import POINTER, c_char_p, c_size_t, c_void_p


def message(caps: str) -> bytes:
    """The octets of the message."""
    gst, sdp, glib = (
        ctypes.CDLL(ctypes.util.find_library(name))
        for name in ("gstreamer-1.0", "gstsdp-1.0", "glib-2.0")
    )
    gst.gst_init(None, None)
    gst.gst_caps_from_string.argtypes = [c_char_p]
    gst.gst_caps_from_string.restype = c_void_p
    sdp.gst_mikey_message_new_from_caps.argtypes = [c_void_p]
    sdp.gst_mikey_message_new_from_caps.restype = c_void_p
    sdp.gst_mikey_message_to_bytes.argtypes = [c_void_p, c_void_p, c_void_p]
    sdp.gst_mikey_message_to_bytes.restype = c_void_p
    glib.g_bytes_get_data.argtypes = [c_void_p, POINTER(c_size_t)]
    glib.g_bytes_get_data.restype = c_void_p
    made = sdp.gst_mikey_message_new_from_caps(gst.gst_caps_from_string(caps.encode()))
    size = c_size_t()
    octets = sdp.gst_mikey_message_to_bytes(made, None, None)
    return ctypes.string_at(glib.g_bytes_get_data(octets, ctypes.byref(size)), size.value)


if __name__ == "__main__":
    print(message(sys.argv[1]).hex())
