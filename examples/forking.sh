#!/bin/sh
# A call that forks (RFC 6043 5.1.1): Alice calls the help desk, Bob and Carol both answer, and
# each of them shares different keys with her. Works in a temporary folder.
set -eu
cd "$(mktemp -d)"
helpdesk=sip:helpdesk@example.com

mikeytool kms init kms.db --id sip:kms.example.com
for name in alice bob carol; do
    mikeytool kms user add kms.db "sip:$name@example.com" -o "$name.psk"
done
mikeytool kms group add kms.db $helpdesk sip:bob@example.com sip:carol@example.com

MIKEYTOOL_STATE=$PWD/alice.state
export MIKEYTOOL_STATE
mikeytool ticket request --as sip:alice@example.com --psk file:alice.psk --kms kms.db \
    --to $helpdesk --save alice.ticket
mikeytool transfer init --ticket alice.ticket --to $helpdesk --cs dir=send,ssrc=0x11111111 \
    --cs dir=recv --session with-bob.session -o call

for name in bob carol; do
    MIKEYTOOL_STATE=$PWD/$name.state mikeytool transfer respond call \
        --as "sip:$name@example.com" --psk "file:$name.psk" --kms kms.db \
        --session $name.session -o "answer-of-$name"
done

# One call, two answers, two sessions.
mikeytool transfer finish answer-of-bob --session with-bob.session
mikeytool transfer finish answer-of-carol --session with-bob.session \
    --save-as with-carol.session
mikeytool transfer show with-bob.session
mikeytool transfer show with-carol.session

# Carol received the same TRANSFER_INIT but cannot decrypt what Alice sends to Bob.
echo 80000001000000a01111111168656c6c6f20626f62 > alice.rtp
mikeytool srtp encrypt alice.rtp --session with-bob.session -o alice.srtp
mikeytool srtp decrypt alice.srtp --session bob.session | diff - alice.rtp
if mikeytool srtp decrypt alice.srtp --session carol.session; then exit 1; fi
