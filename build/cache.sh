#!/bin/sh
# The cache of nginx sources, builds and chroots:
#
#     build/cache.sh           prints where it is and what is in it
#     build/cache.sh remove    removes it

set -eu

cache=${TSFACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tsface}

case ${1-} in

'')
    echo "$cache"
    [ ! -d "$cache" ] || du -sh "$cache"/*
    ;;

remove)
    # a mounted folder inside means that a chroot is in use right now
    if grep -qs " $cache/" /proc/self/mounts; then
        echo "$0: something is mounted in $cache" >&2
        exit 1
    fi

    for part in source asan valgrind matrix; do
        rm -rf --one-file-system "${cache:?}/$part"
    done
    ;;

*)
    echo "usage: $0 [remove]" >&2
    exit 2
    ;;

esac
