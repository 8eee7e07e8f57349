#!/bin/bash
# make run: the gateway of the demo, until Ctrl-C.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"

set -euo pipefail

# shellcheck source=build/gateway.sh
. "$(dirname "$0")/gateway.sh"

say "Starting the sandbox and nginx ..."
gateway_start

cat << END

${bold}The gateway runs at $url${off}; its caller is whoever the client
certificate names.  The sandbox behind it knows the users alice, bob, carol,
dave (no face) and erin (of another app).

${bold}Revoke (one in ten seconds for each caller, then 429)${off}
  curl -i --cacert $dir/ca.pem --cert $dir/billing.pem \\
    -H 'Content-Type: application/json' -d '{"user_id":"alice"}' \\
    $url/v1/users/face/revoke

${bold}A user for herself, with her own token${off}
  curl -i --cacert $dir/ca.pem --cert $dir/mobile-app.pem -X POST \\
    -H "Authorization: Bearer \$(curl -s 'http://127.0.0.1:$sandbox_plain/_sandbox/token?user=bob&format=text')" \\
    $url/v1/users/me/face/revoke

${bold}Refused: nobody (401), a bad body (400)${off}
  curl -i --cacert $dir/ca.pem -H 'Content-Type: application/json' \\
    -d '{"user_id":"alice"}' $url/v1/users/face/revoke
  curl -i --cacert $dir/ca.pem --cert $dir/billing.pem \\
    -H 'Content-Type: application/json' -d '{}' $url/v1/users/face/revoke

${bold}What it did, and how it is${off}
  perl -I$root/t/lib $root/build/show-trail.pl --key $dir/audit.key \\
    $dir/trail/revokes.jsonl
  $out/tsface-audit verify --key $dir/audit.key \\
    --public-key $dir/checkpoint.pub $dir/trail/revokes.jsonl
  curl -s --cacert $dir/ca.pem $url/tsface/status
  tail -f $dir/error.log

${bold}Make the sandbox fail${off} (more: t/sandbox --help)
  curl -s http://127.0.0.1:$sandbox_plain/_sandbox/fault \\
    -d '{"path":"revoke","kind":"edge","status":502}'

Ctrl-C stops it and removes $dir
END

trap 'say; say "Stopping ..."; exit 0' INT TERM
wait "$nginx_pid" || :
fail "nginx has ended: $(tail -n 5 "$dir/error.log")"
