#!/bin/sh
# Make broken messages from a good one and let lint find the faults. decode turns the message
# into JSON, jq changes a field, and encode turns it back into a message. encode computes lengths,
# counts and next payload numbers that have been deleted. Needs jq. Works in a temporary folder.
set -eu
cd "$(mktemp -d)"
MIKEYTOOL_STATE=$PWD/state
export MIKEYTOOL_STATE

# A good message: Alice sends Bob a ticket that she has made herself with a key that they share.
mikeytool keygen tpk -o shared.tpk
mikeytool ticket create --as sip:alice@example.com --to sip:bob@example.com \
    --tpk file:shared.tpk --save alice.ticket
mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com \
    --session alice.session -o good
mikeytool lint good

# expect CODE: lint must have this finding about the message on standard input.
expect() {
    mikeytool lint --json - >findings || test $? = 1
    jq -r '.findings[] | "\(.level): \(.code): \(.text)"' findings
    jq -e --arg code "$1" 'any(.findings[]; .code == $code)' findings >/dev/null
}

# An SRTP-ID map, which Ticket Transfer must not use.
mikeytool decode --json good \
  | jq '.cs_id_map_type_value = 0 | del(.cs_id_map_type, .cs_count) | .cs_id_map = []' \
  | mikeytool encode | expect transfer-map

# Two crypto sessions with the same CS ID.
mikeytool decode --json good \
  | jq '.cs_id_map[1].cs_id = .cs_id_map[0].cs_id' \
  | mikeytool encode | expect cs-id-twice

# No RANDRi. Without next_payload in the JSON, encode links the remaining payloads.
mikeytool decode --json good \
  | jq 'del(.payloads[] | select(.payload == "RANDR"))
        | del(.payloads[] | .next_payload, .next_payload_value)' \
  | mikeytool encode | expect payload-missing

# A V payload with another algorithm, whose MAC would be longer than the one in the message.
mikeytool decode --json good \
  | jq '(.payloads[] | select(.payload == "V")) |= (.auth_alg_value = 2 | del(.auth_alg))' \
  | mikeytool encode -o broken
mikeytool lint broken && exit 1
test $? = 3
