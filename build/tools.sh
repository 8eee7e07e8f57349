#!/bin/bash
# Builds tsface-audit: build/tools.sh [PROGRAM], default OUT/tsface-audit
#
# It shares the module's pure sources, so it needs headers of a configured
# nginx tree (OUT/tree, or TSFACE_TREE), but no object of nginx.
#
# CC, CFLAGS, LDFLAGS, V=1

set -euo pipefail

cd "$(dirname "$0")/.."

out=${OUT:-build-out}
tree=${TSFACE_TREE:-$out/tree}
program=${1:-$out/tsface-audit}

version=$(sed -n 's/^#define NGX_HTTP_TSFACE_MODULE_VERSION *"\(.*\)"/\1/p' \
    ngx_tsface_module/ngx_http_tsface_module.h)

sources=( tools/*.c )
for name in record record_text record_mac record_line record_sign json secret_text trail_chain trail_io; do
    sources+=( "ngx_tsface_module/ngx_http_tsface_$name.c" )
done

includes=( -I ngx_tsface_module )
for dir in objs src/core src/event src/event/modules src/event/quic src/os/unix
do
    includes+=( -isystem "$tree/$dir" )
done

# nginx's callbacks, and its headers', have parameters that are not used

# shellcheck disable=SC2206
command=( "${CC:-gcc}" -std=gnu11 -g -O2 -fstack-protector-strong
    -Wall -Wextra -Werror -Wformat -Wno-unused-parameter
    -fPIE -pie '-Wl,-z,relro' '-Wl,-z,now' ${CFLAGS:-}
    "-DTSFACE_AUDIT_VERSION=\"$version\"" "${includes[@]}"
    -o "$program.new" "${sources[@]}" ${LDFLAGS:-} -lyajl -lcrypto )

case " ${CFLAGS:-} " in
*sanitize*)
    ;;
*)
    command+=( -D_FORTIFY_SOURCE=2 )
    ;;
esac

key=$({ printf '%s\n' "${command[@]}"
    cat "${sources[@]}" tools/*.h ngx_tsface_module/*.h
    cat "$tree/objs/ngx_auto_config.h" "$tree/src/core/nginx.h"
    } | sha256sum)

if [ -x "$program" ] && [ "$key" = "$(cat "$program.key" 2> /dev/null)" ]; then
    exit 0
fi

[ -z "${V:-}" ] || echo "${command[@]}"
"${command[@]}"
mv "$program.new" "$program"
echo "$key" > "$program.key"
echo "built $program"
