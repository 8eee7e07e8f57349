#!/bin/sh
# make bench: what the gateway costs beside plain proxy_pass (a) and Lua (d),
# what herds of requests without a token cost in exchanges and failures, and
# what ten thousand credentials do.
#
# PARTS ("gateway herd many")
# gateway: ROUNDS (3), DURATION seconds (3), CONNECTIONS ("32"; a list),
#     VARIANTS ("a b c cw d"), TRANSPORTS ("plain tls"), CALLGRIND (1)
# herd: SIZES ("1 10 100 1000 10000"), WORKERS (4)
# many: CREDENTIALS (10000), EXCHANGE_RATE (100)
# TSFACE_NGINX, TSFACE_MODULE

set -eu
cd "$(dirname "$0")/.."

for part in ${PARTS:-gateway herd many}; do
    case $part in
    gateway) perl -It/lib bench/run.pl ;;
    herd) perl -It/lib bench/herd.pl ;;
    many) perl -It/lib bench/many.pl ;;
    *) echo "$0: no such part: $part" >&2; exit 2 ;;
    esac
done
