#!/bin/sh
# A conference in SIP: Alice creates it, calls in, sees who is in and has Carol called (REFER); both
# speak. sipp plays the telephones, system.py the conference system, mikeytool does the keys. Ends
# with a capture of everything. Needs sipp, jq, openssl, and python3 with mikeytool.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$(mktemp -d)"
room=sip:room@conf.example.com
factory=sip:factory@conf.example.com
trap 'kill $started 2>/dev/null || true' EXIT
started=

# as NAME COMMAND...: run mikeytool as a user
as() {
    name=$1
    shift
    MIKEYTOOL_STATE=$PWD/$name.state MIKEYTOOL_AS=sip:$name@example.com \
        MIKEYTOOL_PSK=file:$name.psk mikeytool "$@"
}

# phone NAME PORT SCENARIO...: run a sipp scenario; its log is NAME.log
phone() {
    name=$1 port=$2 scenario=$3
    shift 3
    sipp -sf "$here/$scenario.xml" -p "$port" -i 127.0.0.1 -m 1 -nostdin -timeout 60 -timeout_error \
        -trace_msg -message_file "$name.log" "$@" > "$name.out" 2>&1 || { cat "$name.out"; exit 1; }
}

# eventually COMMAND...: wait until a command succeeds
eventually() {
    for _ in $(seq 300); do
        if "$@" 2> waited; then return; fi
        sleep 0.1
    done
    echo "this did not happen: $*" >&2
    cat waited ./*.out >&2
    exit 1
}

# send: packets, a line each, to the system
send() {
    python3 -c '
import socket, sys
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for line in sys.stdin:
    out.sendto(bytes.fromhex(line), ("127.0.0.1", int(sys.argv[1])))' "$media"
}

# speak NAME: three packets of a member's stream
speak() {
    ssrc=$(mikeytool transfer show "$1.session" --json \
        | jq -r '[.crypto_sessions[] | select(.direction == "send")][0].ssrc | ltrimstr("0x")')
    for sequence in 1 2 3; do echo "8000000${sequence}000000a0${ssrc}68656c6c6f"; done > "$1.rtp"
    as "$1" srtp encrypt "$1.rtp" --session "$1.session" -o "$1.srtp"
    send < "$1.srtp"
}

both_in() {
    mikeytool conference show conference.db --json \
        | jq -e '[.members[] | select(.state == "joined")] | length == 2' > shown
}

echo "== A KMS, its users, and the conference system"
mikeytool kms init kms.db --id sip:kms.example.com
for name in alice carol; do
    mikeytool kms user add kms.db "sip:$name@example.com" -o "$name.psk"
done
mikeytool kms user add kms.db $factory --act-as 'sip:*@conf.example.com' -o factory.psk
mikeytool conference init conference.db --as $factory --psk file:factory.psk --kms kms.db
# shellcheck disable=SC2046
set -- $(python3 -c '
import socket
found = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
for one in found:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in found))')
sip=$1 media=$2 alice=$3 carol=$4
python3 "$here/system.py" conference.db $factory $room "$sip" "$media" lab.pcap 2> system.out &
system=$!
started=$system
eventually test -s lab.pcap

echo "== Alice creates a conference to which Carol may come"
as alice ticket request --kms kms.db --to $factory --to sip:carol@example.com --flags=+M \
    --save alice.ticket
as alice transfer init --ticket alice.ticket --to $factory --session creation.session -f sdp > offer
phone creation "$alice" create "127.0.0.1:$sip"
as alice transfer finish creation.log --index 2 --session creation.session

echo "== Alice calls in, subscribes, and has Carol called"
as alice transfer init --ticket alice.ticket --to $room --session alice.session -f sdp > offer
cat > answer <<END
MIKEYTOOL_STATE=$PWD/carol.state mikeytool transfer respond --as sip:carol@example.com \\
    --psk file:carol.psk --kms kms.db --session carol.session -f sdp > answered 2> answer.out
python3 -c '
import socket, sys
info = "INFO sip:carol SIP/2.0", "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK-info", \\
    "From: <sip:carol>;tag=1", "To: <sip:carol>", "Call-ID: " + sys.argv[1], "CSeq: 1 INFO", "", ""
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.sendto("\\r\\n".join(info).encode(), ("127.0.0.1", int(sys.argv[2])))' "\$1" "\$2"
END
phone carol "$carol" called &
started="$started $!"
phone alice "$alice" member "127.0.0.1:$sip" -key carol "$carol" &
started="$started $!"
eventually both_in
eventually sh -c 'grep -c "^NOTIFY" alice.log | grep -qx 2'
as alice transfer finish alice.log --index 2 --session alice.session

echo "== Alice reads who is in, with the event key"
key=$(mikeytool transfer show alice.session --json --show-keys \
    | jq -r '.crypto_sessions[] | select(.protocol == "CMS").key')
tr -d '\r' < alice.log | awk 'BEGIN { RS = "" } /^MI/ { last = $0 } END { print last }' \
    | openssl base64 -d \
    | openssl cms -EncryptedData_decrypt -inform DER -secretkey "$key" | tee roster
echo
grep -q 'sip:alice@example.com.*sip:carol@example.com' roster

echo "== Both speak; somebody uses an SSRC that nobody was given; the focus ends the calls"
speak alice
speak carol
printf '8000000%s000000a0deadbeef68656c6c6f\n' 1 2 > stranger.rtp
as carol srtp encrypt stranger.rtp --session carol.session --any-ssrc -o stranger.srtp
send < stranger.srtp
eventually sh -c 'grep -q "refused: SSRC 0xdeadbeef" system.out'
kill "$system"
wait

echo "== What the capture tells"
mikeytool decode lab.pcap --flow
mikeytool srtp info lab.pcap --conference conference.db
if mikeytool srtp decrypt lab.pcap --conference conference.db -o clear.pcap 2> report; then exit 1; fi
cat report
grep -q '0xdeadbeef.*nobody in sip:room' report
test "$(grep -ao hello clear.pcap | wc -l)" = 12
