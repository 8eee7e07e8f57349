#!/bin/bash
# make demo: revokes through a real nginx, is refused in three ways, shows the
# audit trail that is left, and verifies it.  Fails if an answer is not the
# expected one, or the trail is not whole.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"

set -euo pipefail

# shellcheck source=build/gateway.sh
. "$(dirname "$0")/gateway.sh"

wrong=0

# show STATUS TITLE curl arguments...
show() {
    local expected=$1 title=$2 status mark
    shift 2

    say "${bold}$title${off}"

    status=$(curl -sS --max-time 20 --cacert "$dir/ca.pem" -o "$dir/body" \
        -D "$dir/head" -w '%{http_code}' "$@" 2> "$dir/curl.err") || :

    if [ "$status" = "$expected" ]; then
        mark="${green}ok${off}"
    else
        mark="${red}expected $expected${off}"
        wrong=1
    fi

    say "  $status  $mark"
    tr -d '\r' < "$dir/head" \
        | grep -iE '^(retry-after|ratelimit(-policy)?|x-tsface-request-id):' \
        | sed "s/^.*/  ${dim}&${off}/" || :
    if [ -s "$dir/body" ]; then
        say "  ${dim}$(cat "$dir/body")${off}"
    fi
    [ ! -s "$dir/curl.err" ] || cat "$dir/curl.err"
    say
}

say "Starting the sandbox (a simulator of Transmit Security) and nginx ..."
gateway_start
say "  gateway  $url"
say "  sandbox  https://localhost:$sandbox_port, over verified TLS"
say "  callers  known by their client certificates, made for this demo"
say

face=$url/v1/users/face/revoke
json='Content-Type: application/json'
as_billing=(--cert "$dir/billing.pem")

show 204 "CN=billing revokes alice's face" \
    "${as_billing[@]}" -H "$json" -d '{"user_id":"alice"}' "$face"

show 429 "CN=billing at once again: over its limit of 6 a minute" \
    "${as_billing[@]}" -H "$json" -d '{"user_id":"bob"}' "$face"

show 401 "someone without a client certificate" \
    -H "$json" -d '{"user_id":"alice"}' "$face"

show 400 "CN=billing with two user ids in one body" \
    "${as_billing[@]}" -H "$json" \
    -d '{"user_id":"alice","user_id":"bob"}' "$face"

token=$(curl -sS --max-time 20 \
    "http://127.0.0.1:$sandbox_plain/_sandbox/token?user=carol&format=text")
printf 'header = "Authorization: Bearer %s"\n' "$token" > "$dir/carol"

show 204 "carol herself, with her own token, through CN=mobile-app" \
    --cert "$dir/mobile-app.pem" -K "$dir/carol" -X POST \
    "$url/v1/users/me/face/revoke"

say "${bold}The audit trail${off}"
perl -I"$root/t/lib" "$root/build/show-trail.pl" --key "$dir/audit.key" \
    "$dir/trail/revokes.jsonl" || wrong=1

say
say "${bold}What an auditor asks: is it whole, and signed?${off}"
"$out/tsface-audit" verify --from-start --key "$dir/audit.key" \
    --public-key "$dir/checkpoint.pub" \
    --checkpoints "$dir/trail/checkpoints.jsonl" "$dir/trail/revokes.jsonl" \
    | sed 's/^/  /' || wrong=1

say
if [ $wrong != 0 ]; then
    tail -n 20 "$dir/error.log" >&2
    fail "something is not as it should be"
fi
say "${green}All as expected.${off}  make run leaves it running; make test runs the tests."
