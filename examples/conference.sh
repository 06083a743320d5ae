#!/bin/sh
# A conference (3GPP TR 33.828 5.3.2): creation, call in, call out, an intruder, a conflict of
# SSRCs, a member who leaves, and a member from another KMS. Needs jq. Works in a temporary folder,
# in which each user has a separate state file.
set -eu
cd "$(mktemp -d)"
room=sip:room@conf.example.com

# as NAME COMMAND...: run mikeytool as a user
as() {
    name=$1
    shift
    MIKEYTOOL_STATE=$PWD/$name.state MIKEYTOOL_AS=sip:$name@example.com \
        MIKEYTOOL_PSK=file:$name.psk mikeytool "$@"
}

# deliver: give each update to its member, and the answer to the conference system
deliver() {
    while read -r update; do
        who=$(echo "$update" | jq -r '.to | ltrimstr("sip:") | sub("@.*"; "")')
        echo "$update" | jq -r .message \
            | as "$who" transfer respond --session "$who.session" \
            | mikeytool conference answer conference.db
    done
}

# packets NAME FIRST: encrypt three packets of a user's own stream
packets() {
    ssrc=$(mikeytool transfer show "$1.session" --json \
        | jq -r '[.crypto_sessions[] | select(.direction == "send")][0].ssrc | ltrimstr("0x")')
    for sequence in 0 1 2; do
        echo "8000000$(($2 + sequence))000000a0${ssrc}68656c6c6f"
    done > "$1.rtp"
    as "$1" srtp encrypt "$1.rtp" --session "$1.session" -o "$1.srtp"
}

echo "== Two KMSs that share a key, and their users"
mikeytool kms init kms.db --id sip:kms.example.com
mikeytool kms init kms-b.db --id sip:kms.example.org
mikeytool keygen psk -o between.psk
mikeytool kms peer add kms.db sip:kms.example.org --store kms-b.db --psk file:between.psk \
    --for 'sip:*@example.org'
mikeytool kms peer add kms-b.db sip:kms.example.com --store kms.db --psk file:between.psk \
    --for 'sip:*@example.com' --for 'sip:*@conf.example.com'
for name in alice bob carol eve; do
    mikeytool kms user add kms.db "sip:$name@example.com" -o "$name.psk"
done
mikeytool kms user add kms-b.db sip:dora@example.org -o dora.psk

echo "== The conference system is a user too, and may act as every focus"
mikeytool kms user add kms.db sip:factory@conf.example.com \
    --act-as 'sip:*@conf.example.com' -o factory.psk
mikeytool conference init conference.db --as sip:factory@conf.example.com \
    --psk file:factory.psk --kms kms.db

echo "== Alice creates a conference for Bob, Carol and Dora, and calls in with the same ticket"
as alice ticket request --kms kms.db --to sip:factory@conf.example.com \
    --to sip:bob@example.com --to sip:carol@example.com --to sip:dora@example.org \
    --flags=+M --save alice.ticket
as alice transfer init --ticket alice.ticket --to sip:factory@conf.example.com \
    --session creation.session \
    | mikeytool conference create conference.db --focus $room --purpose audio,events,floor \
    | as alice transfer finish --session creation.session
as alice transfer init --ticket alice.ticket --to $room --session alice.session \
    --cs dir=send,ssrc=0x11111111 --cs dir=recv \
    | mikeytool conference call-in conference.db \
    | as alice transfer finish --session alice.session

echo "== Bob calls in with Alice's SSRC and gets another one"
as bob ticket request --kms kms.db --to $room --flags=+M --key-type none --save bob.ticket
as bob transfer init --ticket bob.ticket --to $room --session bob.session \
    --cs dir=send,ssrc=0x11111111 --cs dir=recv \
    | mikeytool conference call-in conference.db \
    | as bob transfer finish --session bob.session

echo "== Carol is called out"
mikeytool conference call-out conference.db sip:carol@example.com -o to-carol
as carol transfer respond to-carol --kms kms.db --session carol.session \
    | mikeytool conference answer conference.db

echo "== Dora calls in; the KMS of the system asks her KMS to resolve the ticket"
MIKEYTOOL_STATE=$PWD/dora.state
export MIKEYTOOL_STATE
mikeytool ticket request --as sip:dora@example.org --psk file:dora.psk --kms kms-b.db \
    --to $room --flags=+M --key-type none --save dora.ticket
mikeytool transfer init --ticket dora.ticket --to $room --session dora.session \
    | mikeytool conference call-in conference.db \
    | mikeytool transfer finish --session dora.session
unset MIKEYTOOL_STATE

echo "== Eve is not in the allowed set and is refused"
as eve ticket request --kms kms.db --to $room --flags=+M --key-type none --save eve.ticket
as eve transfer init --ticket eve.ticket --to $room --session eve.session -o from-eve
if mikeytool conference call-in conference.db from-eve -o told-eve; then exit 1; fi
if as eve transfer finish told-eve --session eve.session; then exit 1; fi

echo "== Everyone hears Bob"
packets bob 1
as alice srtp decrypt bob.srtp --session alice.session | diff - bob.rtp
as carol srtp decrypt bob.srtp --session carol.session | diff - bob.rtp

echo "== Bob is removed; the remaining members get new keys"
mikeytool conference remove conference.db sip:bob@example.com > updates
grep -v dora updates | deliver
packets carol 4
as alice srtp decrypt carol.srtp --session alice.session | diff - carol.rtp
if as bob srtp decrypt carol.srtp --session bob.session; then exit 1; fi

echo "== Dora's update was lost; the system makes a new one"
mikeytool conference updates conference.db | jq -r .message \
    | MIKEYTOOL_STATE=$PWD/dora.state mikeytool transfer respond --session dora.session \
    | mikeytool conference answer conference.db
mikeytool conference show conference.db
