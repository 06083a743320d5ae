"""GStreamer's RTSP server: half a second of sound in SRTP, with keys in MIKEY.

Run by the Python that has its bindings; prints its port.
"""

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( audiotestsrc is-live=true num-buffers=25 samplesperbuffer=160 ! "
    "audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay0 pt=0 )"
)
factory.set_profiles(GstRtsp.RTSPProfile.SAVP)
server.get_mount_points().add_factory("/sound", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
