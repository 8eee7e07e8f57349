#!/bin/sh
# make bench: what the gateway costs beside plain proxy_pass (a) and Lua (d),
# what herds of requests without a token cost in exchanges and failures, what
# ten thousand credentials do, and what limits cost at up to a million keys.
#
# PARTS ("gateway herd many limits")
# gateway: ROUNDS (3), DURATION seconds (3), CONNECTIONS ("32"; a list),
#     VARIANTS ("a b c cw d"), TRANSPORTS ("plain tls"), CALLGRIND (1)
# herd: SIZES ("1 10 100 1000 10000"), WORKERS (4)
# many: CREDENTIALS (10000), EXCHANGE_RATE (100)
# limits: ROUNDS, DURATION, CONNECTIONS (the first), KEYS ("1 1000 1000000")
# TSFACE_NGINX, TSFACE_MODULE

set -eu
cd "$(dirname "$0")/.."

for part in ${PARTS:-gateway herd many limits}; do
    case $part in
    gateway) perl -It/lib bench/run.pl ;;
    herd) perl -It/lib bench/herd.pl ;;
    many) perl -It/lib bench/many.pl ;;
    limits) perl -It/lib bench/limits.pl ;;
    *) echo "$0: no such part: $part" >&2; exit 2 ;;
    esac
done
