#!/bin/bash
# Copies the module to DESTDIR and the installed nginx's folder of modules,
# tsface-audit, its manual page and completion to PREFIX (/usr/local).

set -euo pipefail

cd "$(dirname "$0")/.."

out=${OUT:-build-out}
prefix=${PREFIX:-/usr/local}
module=ngx_http_tsface_module.so
nginx=${TSFACE_NGINX:-$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nginx)}

info=$("$nginx" -V 2>&1)
path=$(echo "$info" | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p')

if [ -z "$path" ]; then
    root=$(echo "$info" | sed -n 's/.*--prefix=\([^ ]*\).*/\1/p')
    path=${root:-/usr/local/nginx}/modules
fi

running=$(echo "$info" | sed -n 's,^nginx version: [^/]*/\([0-9.]*\).*,\1,p')
built=$(sed -n 's/^#define NGINX_VERSION  *"\(.*\)"/\1/p' \
    "$out/tree/src/core/nginx.h")

if [ "$running" != "$built" ]; then
    echo "the module is built for nginx $built, $nginx is $running" >&2
    exit 1
fi

mkdir -p "${DESTDIR:-}$path"

# renamed into place: a running nginx has the old file mapped
install -m 644 "$out/$module" "${DESTDIR:-}$path/$module.new"
mv "${DESTDIR:-}$path/$module.new" "${DESTDIR:-}$path/$module"

mkdir -p "${DESTDIR:-}$prefix/bin" "${DESTDIR:-}$prefix/share/man/man1"

install -m 755 "$out/tsface-audit" "${DESTDIR:-}$prefix/bin/tsface-audit"
install -m 644 docs/tsface-audit.1 \
    "${DESTDIR:-}$prefix/share/man/man1/tsface-audit.1"

completions=${DESTDIR:-}$prefix/share/bash-completion/completions
mkdir -p "$completions"
install -m 644 tools/completion/tsface-audit.bash "$completions/tsface-audit"

echo "installed ${DESTDIR:-}$path/$module"
echo "installed ${DESTDIR:-}$prefix/bin/tsface-audit"
echo "to load it: load_module $path/$module;"
