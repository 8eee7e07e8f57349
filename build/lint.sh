#!/bin/bash
# Style (build/style.pl), the list of files in "config", cppcheck and
# clang-tidy over the sources of module and tools.  OUT is where build.sh
# configured nginx.

set -uo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here" || exit 1

out=${OUT:-build-out}
tree=$out/tree
failed=0

shopt -s nullglob
sources=( ngx_tsface_module/*.c tools/*.c )
headers=( ngx_tsface_module/*.h tools/*.h )
units=( t/unit/*.c t/unit/*.h t/fuzz/*.c t/fuzz/*.h )

echo "style: ${#sources[@]} sources, ${#headers[@]} headers," \
     "${#units[@]} files of unit tests and fuzz targets"
perl build/style.pl "${sources[@]}" "${headers[@]}" "${units[@]}" || failed=1

sh build/names.sh || failed=1

includes=()
for dir in core event event/modules event/quic os/unix http http/modules \
    http/v2 http/v3
do
    if [ -d "$tree/src/$dir" ]; then
        includes+=( "-isystem" "$tree/src/$dir" )
    fi
done
includes+=( -isystem "$tree/objs" -I ngx_tsface_module )

# cppcheck is kept off nginx's headers: without them it reads the module alone,
# and is told the few macros that matter

echo "cppcheck"
cppcheck --quiet --error-exitcode=1 --std=c99 --inline-suppr \
    --enable=warning,portability --suppress=missingInclude \
    --suppress=unknownMacro --suppress=nullPointerRedundantCheck \
    -I ngx_tsface_module \
    -D"ngx_string(s)={sizeof(s)-1,(u_char*)s}" -Dngx_inline=inline \
    -D"ngx_null_string={0,0}" -Dngx_cdecl= -Dngx_libc_cdecl= \
    -DNGX_THREADS=1 -DNGX_HTTP_SSL=1 -DNGX_HTTP_V2=1 -DNGX_PTR_SIZE=8 \
    "${sources[@]}" || failed=1

echo "clang-tidy"
# shellcheck disable=SC2016
printf '%s\n' "${sources[@]}" | FLAGS="${includes[*]}" \
    xargs -P "$(nproc)" -n 2 bash -c 'clang-tidy --quiet "$@" -- $FLAGS \
        -std=gnu11 -DNGX_DEBUG=0 -DTSFACE_AUDIT_VERSION=\"0\" -Wall -Wextra \
        -Wno-unused-parameter' tidy \
    > "$out/clang-tidy.log" 2> "$out/clang-tidy.err" || failed=1

grep -v '^$' "$out/clang-tidy.log"
grep 'error:' "$out/clang-tidy.err"

if [ $failed -ne 0 ]; then
    echo "lint: FAILED"
    exit 1
fi

echo "lint: passed"
