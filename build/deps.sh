#!/bin/sh
# Installs the Debian packages that the named groups of targets need:
#
#     build/deps.sh GROUP...
#
# As root it installs what is missing; as anyone else it says what is missing
# and fails.  No service (nginx, prometheus) is ever started by it: while
# packages are installed a policy-rc.d refuses, and what was there before is
# put back.

set -eu

if [ $# -eq 0 ]; then
    echo "usage: $0 build|test|asan|valgrind|fuzz|coverage|lint|bench|matrix..." \
        >&2
    exit 2
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "$0: not a Debian system; install by hand what this file names" >&2
    exit 1
fi

build="gcc libc6-dev nginx nginx-dev libyajl-dev libhiredis-dev libssl-dev
    libpcre2-dev zlib1g-dev"

# the store of the tests of shared limits

# shellcheck source=/dev/null
case $(. /etc/os-release && echo "${VERSION_CODENAME-}") in
bookworm) store=redis-server ;;
*) store=valkey-server ;;
esac

want=

for group in "$@"; do
    case $group in

    build)
        want="$want $build"
        ;;

    test)
        want="$want perl ca-certificates openssl procps curl nghttp2-client
            libmojolicious-perl libio-socket-ssl-perl libev-perl
            libcryptx-perl libcpanel-json-xs-perl libnet-dns-perl
            libprotocol-http2-perl libjson-validator-perl prometheus
            rsyslog"
        want="$want $store"
        ;;

    asan | source)
        want="$want $build dpkg-dev xz-utils patch"
        ;;

    valgrind)
        want="$want $build dpkg-dev xz-utils patch valgrind"
        ;;

    fuzz)
        want="$want $build clang libclang-rt-dev"
        ;;

    coverage)
        want="$want $build gcovr"
        ;;

    lint)
        want="$want $build cppcheck clang-tidy"
        ;;

    bench)
        want="$want wrk valgrind libnginx-mod-http-lua lua-cjson"
        ;;

    matrix)
        want="$want debootstrap debian-archive-keyring util-linux"
        ;;

    clang)
        want="$want clang"
        ;;

    *)
        echo "$0: unknown group \"$group\"" >&2
        exit 2
        ;;

    esac
done

missing=

for package in $want; do
    case " $missing " in *" $package "*) continue ;; esac

    # shellcheck disable=SC2016
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) \
        || status=

    if [ "$status" != installed ]; then
        missing="$missing $package"
    fi
done

if [ -z "$missing" ]; then
    exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
    echo "missing packages; as root run:" >&2
    echo "    apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

# nginx-dev fits only the nginx it was built with: when either is missing, both
# come to the newest version together

case " $missing " in
*" nginx "* | *" nginx-dev "*)
    missing="$missing nginx nginx-dev"
    ;;
esac

policy=/usr/sbin/policy-rc.d
made=no

restore() {
    if [ $made = yes ]; then
        rm -f $policy
    fi
}

trap restore EXIT
trap 'exit 1' HUP INT TERM

if [ ! -e $policy ]; then
    made=yes
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
fi

export DEBIAN_FRONTEND=noninteractive

echo "installing:$missing"

log=$(mktemp)

install() {
    # shellcheck disable=SC2086
    apt-get install -y -q --no-install-recommends \
        -o Dpkg::Options::=--force-confold $missing </dev/null
}

{ apt-get update -q </dev/null && install; } > "$log" 2>&1 || {
    # an update that fails because of a third party's source is no reason to
    # stop as long as Debian's packages can be installed
    install > "$log" 2>&1 || {
        cat "$log" >&2
        rm -f "$log"
        echo "$0: installation failed" >&2
        exit 1
    }
}

rm -f "$log"
