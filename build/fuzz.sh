#!/bin/bash
# Builds the fuzz targets in t/fuzz with libFuzzer, AddressSanitizer and UBSan,
# and runs each for its share of FUZZ_TIME seconds (default 600):
#
#     build/fuzz.sh [TARGET...]
#
# A target is a t/fuzz/TARGET.c.  As in t/unit it names the module's sources it
# is linked with in a comment on a line of its own,
#
#     /* link: plan.c json.c */
#
# (one of another folder with it: tools/audit_chain.c), it starts from t/fuzz/seeds/TARGET and from what earlier runs found, which is
# kept in OUT/fuzz/corpus/TARGET.  An input that crashes one is kept in
# OUT/fuzz, and named.  OUT is where build.sh configured nginx, FUZZ_CC another
# clang.

set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"

seconds=${FUZZ_TIME:-600}
work=${OUT:-build-out}/fuzz
tree=${OUT:-build-out}/tree
cc=${FUZZ_CC:-clang}

case $seconds in
'' | *[!0-9]*)
    echo "$0: FUZZ_TIME is seconds, not \"$seconds\"" >&2
    exit 2
    ;;
esac

if [ $# -eq 0 ]; then
    for source in t/fuzz/*.c; do
        source=${source##*/}
        set -- "$@" "${source%.c}"
    done
fi

for target; do
    if [ ! -e "t/fuzz/$target.c" ]; then
        echo "$0: no target \"$target\" in t/fuzz" >&2
        exit 2
    fi
done

# libFuzzer takes 0 for "without end"

share=$((seconds / $#))
[ $share -gt 0 ] || share=1

flags=( -g -O1 -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter
    "-fsanitize=fuzzer,address,undefined" -fno-sanitize-recover=all
    -fno-omit-frame-pointer -I ngx_tsface_module -I tools -I t/fuzz
    '-DTSFACE_AUDIT_VERSION="0"'
    -isystem "$tree/objs" )

for dir in core event event/modules event/quic os/unix http http/modules \
    http/v2 http/v3
do
    if [ -d "$tree/src/$dir" ]; then
        flags+=( -isystem "$tree/src/$dir" )
    fi
done

export ASAN_OPTIONS=detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1

mkdir -p "$work"

build() {
    local name sources=()

    for name in $(perl -0ne 'print "$1 " while m{^/\*\s*link:([^*]*)\*/}mg' \
        "t/fuzz/$1.c")
    do
        case $name in
        */*) sources+=( "$name" ) ;;
        *) sources+=( "ngx_tsface_module/ngx_http_tsface_$name" ) ;;
        esac
    done

    "$cc" "${flags[@]}" -o "$work/$1" "t/fuzz/$1.c" "${sources[@]}" \
        -lyajl -lcrypto
}

# libFuzzer writes what it finds to the first folder.  The limit of time is its
# own; timeout is for a target that hangs where libFuzzer cannot look.

run() {
    local status=0 log=$work/$1.log options=()

    if [ -e "t/fuzz/$1.dict" ]; then
        options+=( "-dict=t/fuzz/$1.dict" )
    fi

    mkdir -p "$work/corpus/$1"

    timeout -k 10 $((share + 60)) "$work/$1" -max_total_time=$share \
        -max_len=4096 -timeout=10 -rss_limit_mb=2048 -use_value_profile=1 \
        -print_final_stats=1 -verbosity=1 "-artifact_prefix=$work/$1-" \
        "${options[@]}" "$work/corpus/$1" "t/fuzz/seeds/$1" \
        > "$log" 2>&1 || status=$?

    if [ $status -eq 0 ]; then
        awk -v target="$1" '
            /^#[0-9]+/ { for (i = 1; i < NF; i++)
                             if ($i == "cov:") cov = $(i + 1) }
            /^stat::number_of_executed_units:/ { units = $2 }
            END { printf "%-10s passed: %d inputs, %d places reached\n",
                         target, units, cov }' "$log"
        return 0
    fi

    echo "$1: FAILED (exit $status), the end of $log:"
    grep -a -v '^0x\|^Base64:' "$log" | tail -n 40

    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)

    if [ -n "$input" ]; then
        grep -a -m 1 'does not hold:\|runtime error:\|ERROR: [AL]' "$log" || :
        echo "$1: the input is in $input; again: $work/$1 $input"
    fi

    return 1
}

failed=()

for target; do
    build "$target"
done

echo "fuzzing $* for $share s each"

for target; do
    run "$target" || failed+=( "$target" )
done

if [ ${#failed[@]} -ne 0 ]; then
    echo "fuzz: FAILED: ${failed[*]}"
    exit 1
fi

echo "fuzz: passed"
