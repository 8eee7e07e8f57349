#!/bin/sh
# make bench: what the gateway costs beside plain proxy_pass (a) and Lua (d).
#
# ROUNDS (3), DURATION seconds (3), CONNECTIONS (32), VARIANTS ("a b c cw d"),
# TRANSPORTS ("plain tls"), CALLGRIND (1), TSFACE_NGINX, TSFACE_MODULE

set -eu
cd "$(dirname "$0")/.."
exec perl -It/lib bench/run.pl "$@"
