#!/bin/sh
# Alice calls Bob: a KMS, a ticket, the three exchanges of RFC 6043, and a packet each way.
# Every message goes into a file, in place of a network. Works in a temporary folder.
set -eu
cd "$(mktemp -d)"
MIKEYTOOL_STATE=$PWD/state
export MIKEYTOOL_STATE
alice='--as sip:alice@example.com --psk file:alice.psk --kms-id sip:kms.example.com'
bob='--as sip:bob@example.com --psk file:bob.psk --kms-id sip:kms.example.com'

mikeytool kms init kms.db --id sip:kms.example.com
mikeytool kms user add kms.db sip:alice@example.com -o alice.psk
mikeytool kms user add kms.db sip:bob@example.com -o bob.psk

# Ticket Request (4.2.1)
# shellcheck disable=SC2086 # the variable holds several words
mikeytool ticket request $alice --to sip:bob@example.com --pending asked -o request-init
mikeytool kms handle kms.db request-init -o request-resp
mikeytool ticket accept request-resp --pending asked --save alice.ticket
mikeytool ticket show alice.ticket

# Ticket Transfer (4.2.2), in an SDP attribute
mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com \
    --cs dir=send,ssrc=0x11111111 --cs dir=recv --session alice.session -f sdp -o offer

# Ticket Resolve (4.2.3)
# shellcheck disable=SC2086
mikeytool ticket resolve offer $bob --pending resolving -o resolve-init
mikeytool kms handle kms.db resolve-init -o resolve-resp
mikeytool ticket accept resolve-resp --pending resolving --save bob.ticket

mikeytool transfer respond offer --as sip:bob@example.com --ticket bob.ticket \
    --cs id=2,dir=send,ssrc=0x22222222 --session bob.session -f sdp -o answer
mikeytool transfer finish answer --session alice.session

# Media
echo 80000001000000a01111111168656c6c6f20626f62 > alice.rtp
mikeytool srtp encrypt alice.rtp --session alice.session -o alice.srtp
mikeytool srtp decrypt alice.srtp --session bob.session | diff - alice.rtp
echo 80000001000000a02222222268656c6c6f20616c696365 > bob.rtp
mikeytool srtp encrypt bob.rtp --session bob.session -o bob.srtp
mikeytool srtp decrypt bob.srtp --session alice.session | diff - bob.rtp

mikeytool kms log kms.db
