#!/bin/sh
# Make broken messages from a good one, and let lint say what is wrong with them. A message
# becomes JSON, jq changes a field, and encode makes a message of it again: lengths, counts and
# next payload numbers that are deleted are made right. Works in a temporary folder.
set -eu
cd "$(mktemp -d)"
MIKEYTOOL_STATE=$PWD/state
export MIKEYTOOL_STATE

# A good message: Alice sends Bob a ticket that she makes herself, with a key they share.
mikeytool keygen tpk -o shared.tpk
mikeytool ticket create --as sip:alice@example.com --to sip:bob@example.com \
    --tpk file:shared.tpk --save alice.ticket
mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com \
    --session alice.session -o good
mikeytool lint good

# expect CODE: there must be this finding in the message on standard input.
expect() {
    mikeytool lint --json - >findings || test $? = 1
    jq -r '.findings[] | "\(.level): \(.code): \(.text)"' findings
    jq -e --arg code "$1" 'any(.findings[]; .code == $code)' findings >/dev/null
}

# A map of the old kind, which Ticket Transfer must not have.
mikeytool decode --json good \
  | jq '.cs_id_map_type_value = 0 | del(.cs_id_map_type, .cs_count) | .cs_id_map = []' \
  | mikeytool encode | expect transfer-map

# Two crypto sessions with one CS ID.
mikeytool decode --json good \
  | jq '.cs_id_map[1].cs_id = .cs_id_map[0].cs_id' \
  | mikeytool encode | expect cs-id-twice

# No RANDRi: the payload before it has to name the one behind it now.
mikeytool decode --json good \
  | jq 'del(.payloads[] | select(.payload == "RANDR"))
        | del(.payloads[] | .next_payload, .next_payload_value)' \
  | mikeytool encode | expect payload-missing

# A V payload of another algorithm, whose MAC is longer than the one that is there.
mikeytool decode --json good \
  | jq '(.payloads[] | select(.payload == "V")) |= (.auth_alg_value = 2 | del(.auth_alg))' \
  | mikeytool encode -o broken
mikeytool lint broken && exit 1
test $? = 3
