#!/bin/bash
# Line coverage of the module and of tsface-audit by their tests: builds it with counters in a folder
# of its own, runs the tests and fails under MIN per cent (default 90).
#
# A process that is killed with SIGKILL takes its counters with it, so what
# only such a worker ran counts as not covered.

set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"

report=${OUT:-build-out}/coverage
min=${MIN:-90}

# workers run as another user: the folder must be within their reach

work=$(mktemp -d "${TMPDIR:-/tmp}/tsface-coverage.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

OUT=$work/out COVERAGE=1 NGINX_SRC='' bash build/build.sh

mkdir -p "$work/out/unit" "$report"
chmod -R a+rwX "$work/out"
find "$work/out" -type d -exec chmod 1777 {} +
find "$work/out" -type d -exec chmod -t {} +

status=0
OUT=$work/out TSFACE_COVERAGE=$work/out/unit \
    bash build/test.sh coverage "$@" || status=$?

# Headers are named relative to the folder that was compiled in: counters of
# the module, and of the unit tests and tsface-audit, are read apart and added
# up.

collect() {
    gcovr --root "$here" --filter "$here/ngx_tsface_module/" \
        --filter "$here/tools/" --object-directory "$1" --json "$2" "$3"
}

collect "$work/out/tree" "$work/module.json" "$work/out/tree/objs/addon"
collect "$here" "$work/unit.json" "$work/out/unit"

gcovr --root "$here" \
    --add-tracefile "$work/module.json" --add-tracefile "$work/unit.json" \
    --html-details "$report/index.html" --txt "$report/coverage.txt" \
    --fail-under-line "$min" || status=$?

cat "$report/coverage.txt"
echo "details: $report/index.html"

exit $status
