#!/bin/sh
# A camera sends its key in the clear in the SDP of its RTSP response (RFC 3830 4.2.3), protected
# by TLS on the way. The key decrypts a capture of the camera's media. Works in a temporary folder.
set -eu
cd "$(mktemp -d)"

cat > describe <<'SDP'
RTSP/1.0 200 OK
CSeq: 2
Content-Type: application/sdp
Content-Length: 282

v=0
o=- 1 1 IN IP4 192.0.2.7
s=Gate
c=IN IP4 0.0.0.0
t=0 0
m=video 0 RTP/SAVP 96
a=key-mgmt:mikey AQAFAC9uGlUBAABNKnsQAAAAAAsA7JpS8YAAAAAKEFs6nA3h8kt9imweX3CSO0wBAAAAGwABAQEBEAIBAQMBFAQBDgcBAQgBAQoBAQsBCgAAACQAMAAQ0cWjsPDpTQyLem9eTTwrGgAOAQIDBAUGBwgJCgsMDQ4A
a=rtpmap:96 H264/90000
SDP
base64 -d > camera.pcap <<'PACKETS'
1MOyoQIABAAAAAAAAAAAAP//AAABAAAActTvaAAAAABTAAAAUwAAAAIAAAAAAQIAAAAABwgARQAARQAAAABAEfafwA
ACB8AAAgEbOsNQADEAAIBgAGQAAAAATSp7EI5Mnm3G4ow8IyP4GINQOzpBDu2LogoOVh3HPS8fctTvaCChBwBTAAAA
UwAAAAIAAAAAAQIAAAAABwgARQAARQABAABAEfaewAACB8AAAgEbOsNQADEAAIBgAGUAAA4QTSp7EFXFU5d5k+JS3T
2BuZh+c4NaNda2Oi2kTR8LljIac9TvaAAAAABTAAAAUwAAAAIAAAAAAQIAAAAABwgARQAARQACAABAEfadwAACB8AA
AgEbOsNQADEAAIBgAGYAABwgTSp7EIIkfXsFviqaSBeeIyR51q2gi1gFe0Wl5LF/xyZOc9TvaCChBwBTAAAAUwAAAA
IAAAAAAQIAAAAABwgARQAARQADAABAEfacwAACB8AAAgEbOsNQADEAAIBgAGcAACowTSp7EPpAPspruFenJPFBfCE/
LPUBaRr0tKzQZ+A3OaoL
PACKETS

# Show what the camera sent and what is unusual about it.
mikeytool decode describe
mikeytool lint describe --at 2025-10-15T17:06:00Z

# List the streams in the capture, which needs no key, and decrypt them with the camera's message.
mikeytool srtp info camera.pcap
mikeytool srtp decrypt camera.pcap --mikey describe -o clear.pcap
if cmp -s camera.pcap clear.pcap; then exit 1; fi
grep -q 'frame 3 of a camera' clear.pcap

# A message with another key decrypts nothing.
mikeytool decode describe --json | jq -c '.payloads[-1].keys[0] |= (
        .key = "00112233445566778899aabbccddeeff" | .salt = "000102030405060708090a0b0c0d")' \
    | mikeytool encode > another
if mikeytool srtp decrypt camera.pcap --mikey another -o nothing.pcap; then exit 1; fi
