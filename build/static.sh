#!/bin/bash
# Builds a whole nginx with the module linked in, for tests that look inside:
#
#     build/static.sh asan|valgrind
#
# It makes OUT/FLAVOUR/nginx.  nginx itself is compiled once and kept in the
# cache; later only the module is.

set -euo pipefail

flavour=$1
here=$(cd "$(dirname "$0")/.." && pwd)
out=${OUT:-build-out}
cc=${CC:-gcc}
cache=${TSFACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tsface}

# NGX_DEBUG_PALLOC makes every pool allocation a malloc, NGX_DEBUG_MALLOC fills
# freed slab memory, NGX_HAVE_NONALIGNED=0 switches core's own unaligned reads
# off, and nonnull-attribute would stop at core's ngx_pstrdup() of nothing.

debug="-g -fno-omit-frame-pointer -DNGX_DEBUG_PALLOC=1 -DNGX_DEBUG_MALLOC=1
    -DNGX_HAVE_NONALIGNED=0 -Wall -Wextra -Werror
    -Wno-unused-parameter"

case $flavour in

asan)
    opt="-O1 $debug -fsanitize=address,undefined
        -fno-sanitize=nonnull-attribute -fno-sanitize-recover=undefined"
    ld="-fsanitize=address,undefined"
    ;;

valgrind)
    opt="-O1 $debug"
    ld=
    ;;

*)
    echo "usage: $0 asan|valgrind" >&2
    exit 2
    ;;

esac

# shellcheck disable=SC2086
opt=$(echo $opt)

flags=( --with-debug --with-compat --with-threads --with-http_ssl_module
    --with-http_v2_module --with-http_auth_request_module
    --with-http_realip_module --with-http_stub_status_module
    --with-http_slice_module
    --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf
    --error-log-path=stderr --http-log-path=/dev/null
    --pid-path=/run/nginx.pid --lock-path=/run/nginx.lock
    --http-client-body-temp-path=/tmp/tsface-body
    --http-proxy-temp-path=/tmp/tsface-proxy
    --http-fastcgi-temp-path=/tmp/tsface-fastcgi
    --http-scgi-temp-path=/tmp/tsface-scgi
    --http-uwsgi-temp-path=/tmp/tsface-uwsgi )

src=$(sh "$here/build/nginx-source.sh")
version=$(basename "$src")
work=$cache/$flavour/$version-$cc
mkdir -p "$work"

# one build at a time in the shared folder

exec 9> "$work/lock"
flock 9

nginx_key=$({
    echo "$src" "$cc" "$opt" "$ld" "${flags[@]}"
    "$cc" -v 2>&1 | grep version
    cat "$src/TSFACE-SOURCE"
} | sha256sum)

if [ "$nginx_key" != "$(cat "$work/nginx.key" 2> /dev/null)" ]; then
    rm -rf "$work/tree" "$work/nginx.key" "$work/module.key"
    cp -R "$src" "$work/tree"
    echo "$nginx_key" > "$work/nginx.key"
fi

# The module is reached through a link, so that checkouts in different folders
# can share the objects of nginx; the module's own are dropped when the link
# moves, as times of files in different checkouts say nothing.

if [ "$(readlink "$work/tree/tsface" || :)" != "$here" ]; then
    ln -sfn "$here" "$work/tree/tsface"
    rm -rf "$work/tree/objs/addon"
    rm -f "$work/module.key"
fi

module_key=$(sha256sum < "$here/config")

cd "$work/tree"

if [ "$module_key" != "$(cat "$work/module.key" 2> /dev/null)" ]; then
    echo "configuring $version for $flavour"

    # configure writes these anew each time, and all of nginx depends on them

    kept=$(mktemp -d)
    cp -p objs/ngx_auto_*.h "$kept/" 2> /dev/null || :

    ./configure --with-cc="$cc" --with-cc-opt="$opt" --with-ld-opt="$ld" \
        "${flags[@]}" --add-module=tsface > "$work/configure.log" 2>&1 || {
        tail -n 15 "$work/configure.log" >&2
        echo "nginx's configure failed, see $work/configure.log" >&2
        exit 1
    }

    for header in "$kept"/*.h; do
        if cmp -s "$header" "objs/${header##*/}"; then
            cp -p "$header" "objs/"
        fi
    done

    rm -rf "$kept"
    echo "$module_key" > "$work/module.key"
fi

silent=-s
[ -z "${V:-}" ] || silent=

unset MAKEFLAGS MAKELEVEL MFLAGS
# shellcheck disable=SC2086
make $silent -j"$(nproc)" -f objs/Makefile binary

cd "$here"
mkdir -p "$out/$flavour"
ln -sfn "$work/tree" "$out/$flavour/tree"

if ! cmp -s "$work/tree/objs/nginx" "$out/$flavour/nginx"; then
    cp "$work/tree/objs/nginx" "$out/$flavour/nginx.new"
    mv "$out/$flavour/nginx.new" "$out/$flavour/nginx"
    echo "built $out/$flavour/nginx"
fi
