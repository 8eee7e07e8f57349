#!/bin/bash
# Builds the dynamic module, OUT/ngx_http_tsface_module.so, and OUT/tsface-audit
#
#     build/build.sh [--configure-only]
#
# OUT          folder for everything that is made, default build-out
# NGINX_SRC    nginx source tree, default: the one of Debian's nginx-dev
# NGINX_FLAGS  configure flags for a tree that does not bring its own
# CC, CFLAGS, LDFLAGS, COVERAGE=1, V=1
#
# The tree is copied and configured once, and again when the tree, the
# compiler, a flag or the module's own list of files changes.  After that only
# what changed is compiled.

set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"

debian_src=/usr/share/nginx/src
src=${NGINX_SRC:-$debian_src}
out=${OUT:-build-out}
cc=${CC:-gcc}
tree=$out/tree
module=ngx_http_tsface_module

if [ ! -e "$src/src/core/nginx.h" ]; then
    echo "no nginx source in $src: install nginx-dev (make deps)," \
         "or say NGINX_SRC=DIR" >&2
    exit 1
fi

if ! command -v "$cc" > /dev/null; then
    echo "compiler $cc not found (make deps)" >&2
    exit 1
fi

version=$(sed -n 's/^#define NGINX_VERSION  *"\(.*\)"/\1/p' \
    "$src/src/core/nginx.h")

# A module must be built with the headers of the nginx that loads it.  A
# distribution may have changed them without changing the version, and nginx
# cannot see that when it loads the module.

if [ -z "${NGINX_SRC:-}" ]; then
    installed=$(dpkg-query -W -f '${Version}' nginx 2> /dev/null || :)
    headers=$(dpkg-query -W -f '${Version}' nginx-dev 2> /dev/null || :)

    if [ "$installed" != "$headers" ]; then
        echo "warning: nginx is ${installed:-not installed}" \
             "but nginx-dev is ${headers:-not installed}" >&2
    fi

elif grep -qs "\"$version\"" $debian_src/src/core/nginx.h \
    && ! diff -rq "$src/src/core" $debian_src/src/core 2> /dev/null \
        | awk '/ differ$/ { exit 1 }'
then
    echo "warning: $src is nginx $version, as the installed nginx is, but its" \
         "headers differ: do not load this module into the installed nginx" >&2
fi

# nginx's callbacks have parameters that not each of them needs

opt="-g -fstack-protector-strong -Wall -Wextra -Werror -Wformat \
-Werror=format-security -Wno-unused-parameter"
ld="-Wl,-z,relro -Wl,-z,now"

if [ -n "${COVERAGE:-}" ]; then
    opt="$opt -O0 --coverage -fprofile-update=atomic"
    ld="$ld --coverage"
else
    opt="$opt -O2 -D_FORTIFY_SOURCE=2"
fi

opt="$opt${CFLAGS:+ $CFLAGS}"
ld="$ld${LDFLAGS:+ $LDFLAGS}"

if [ -n "${NGINX_FLAGS:-}" ]; then
    # shellcheck disable=SC2206
    NGX_CONF_FLAGS=( $NGINX_FLAGS )
elif [ -e "$src/conf_flags" ]; then
    # shellcheck disable=SC1091
    . "$src/conf_flags"
else
    NGX_CONF_FLAGS=( --with-compat --with-debug --with-threads
        --with-http_ssl_module --with-http_v2_module )
fi

key=$({
    echo "$here" "$src" "$cc" "$opt" "$ld" "${NGX_CONF_FLAGS[@]}"
    "$cc" -v 2>&1 | grep version
    cat config
    find "$src/src" "$src/auto" -type f | LC_ALL=C sort | xargs cat
} | sha256sum)

if [ "$key" != "$(cat "$out/tree.key" 2> /dev/null)" ]; then
    echo "configuring nginx $version ($src) for $cc"

    rm -rf "$tree" "$out/tree.key" "$out/$module.so"
    mkdir -p "$tree"
    tar -C "$src" --exclude=./objs --exclude=./.git --exclude=./Makefile \
        -cf - . | tar -C "$tree" --no-same-owner -xf -

    configure=./configure
    [ -e "$tree/configure" ] || configure=auto/configure

    (
        cd "$tree"
        bash $configure --with-cc="$cc" --with-cc-opt="$opt" \
            --with-ld-opt="$ld" "${NGX_CONF_FLAGS[@]}" \
            --add-dynamic-module="$here" > configure.log 2>&1
    ) || {
        tail -n 15 "$tree/configure.log" >&2
        echo "nginx's configure failed, see $tree/configure.log" \
             "and $tree/objs/autoconf.err" >&2
        exit 1
    }

    echo "$key" > "$out/tree.key"
fi

if [ "${1-}" = --configure-only ]; then
    exit 0
fi

sh build/names.sh || echo "warning: the list in config is not right" >&2

silent=-s
[ -z "${V:-}" ] || silent=

unset MAKEFLAGS MAKELEVEL MFLAGS
# shellcheck disable=SC2086
make $silent -j"$(nproc)" -C "$tree" -f objs/Makefile "objs/$module.so"

if ! cmp -s "$tree/objs/$module.so" "$out/$module.so"; then
    # a new file, never the old one rewritten: an nginx may have it mapped
    cp "$tree/objs/$module.so" "$out/$module.so.new"
    mv "$out/$module.so.new" "$out/$module.so"
    echo "built $out/$module.so for nginx $version"
fi

# not TSFACE_TREE, which tests set: the tree that was just configured
OUT=$out CC=$cc TSFACE_TREE=$tree bash build/tools.sh
