#!/bin/sh
# Builds the module and runs its tests on several Debian releases, each in a
# debootstrap folder of its own kept in the cache, with gcc and with clang:
#
#     build/matrix.sh [SUITE...]        default: bookworm trixie forky
#
# TSFACE_CACHE        where the folders are kept
# TSFACE_COMPILERS    default: "gcc clang"
# TESTS, JOBS         as for "make test"; TESTS=none only builds

set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
cache=${TSFACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tsface}/matrix
compilers=${TSFACE_COMPILERS:-gcc clang}

if [ "$(id -u)" -ne 0 ]; then
    echo "$0: debootstrap and chroot need root" >&2
    exit 1
fi

if [ $# -eq 0 ]; then
    set -- bookworm trixie forky
fi

mkdir -p "$cache"
mirror=$(sh "$here/build/mirror.sh")
security=$(sh "$here/build/mirror.sh" security)

# Mounts are made in a private name space, so that none is left behind whatever
# happens.

inside() {
    root=$1
    shift
    # shellcheck disable=SC2016
    unshare -m sh -c '
        set -e
        mount --make-rprivate /
        mount -t proc proc "$0/proc"
        mount --rbind /dev "$0/dev"
        cp /etc/resolv.conf "$0/etc/resolv.conf" 2>/dev/null || :
        exec chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
            LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
    ' "$root" "$@" </dev/null
}

prepare() {
    suite=$1
    root=$cache/$suite

    if [ ! -e "$root/.tsface-ready" ]; then
        echo "$suite: making $root"

        rm -rf "$root" "$root.part"

        # "sid" is the script every release since has in common: an older
        # debootstrap does not know the newer releases' names
        debootstrap --variant=minbase --include=ca-certificates,make,perl \
            "$suite" "$root.part" "$mirror" sid > "$cache/$suite.log" 2>&1 || {
            tail -n 5 "$cache/$suite.log"
            return 1
        }

        touch "$root.part/.tsface-ready"
        mv "$root.part" "$root"
    fi

    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"

    echo "deb $mirror $suite main" > "$root/etc/apt/sources.list"

    if [ -n "$security" ]; then
        echo "deb $security $suite-security main" \
            >> "$root/etc/apt/sources.list"
    fi

    mkdir -p "$root/tsface/build"
    cp "$here"/build/*.sh "$root/tsface/build/"
    inside "$root" sh /tsface/build/deps.sh build test clang \
        >> "$cache/$suite.log" 2>&1 || {
        tail -n 5 "$cache/$suite.log"
        return 1
    }

    inside "$root" sh -c 'rm -rf /tsface && mkdir -p /tsface'
    tar -C "$here" --exclude=./.git --exclude=./build-out -cf - . \
        | tar -C "$root/tsface" --no-same-owner -xf -
}

table=$(mktemp)
trap 'rm -f "$table"' EXIT
trap 'exit 1' HUP INT TERM

failed=0

row() {
    printf '%-9s %-10s %-9s %-14s %s\n' "$@" >> "$table"
}

row suite nginx OpenSSL compiler result

for suite in "$@"; do

    if ! prepare "$suite"; then
        row "$suite" - - - "FAILED: not installed (see $cache/$suite.log)"
        failed=1
        continue
    fi

    root=$cache/$suite
    nginx=$(inside "$root" sh -c 'nginx -v 2>&1 | sed "s,.*/,,"')
    openssl=$(inside "$root" sh -c "openssl version | cut -d' ' -f2")

    for cc in $compilers; do
        version=$(inside "$root" "$cc" -dumpversion)
        log=$cache/$suite-$cc.log
        result=passed

        echo "$suite: nginx $nginx, OpenSSL $openssl, $cc $version"

        if ! inside "$root" make -C /tsface all CC="$cc" OUT="build-out/$cc" \
            > "$log" 2>&1
        then
            result="FAILED: does not build"

        elif [ "${TESTS-}" = none ]; then
            result="built"

        elif ! inside "$root" make -C /tsface prove CC="$cc" \
            OUT="build-out/$cc" ${TESTS:+TESTS="$TESTS"} ${JOBS:+JOBS="$JOBS"} \
            >> "$log" 2>&1
        then
            result="FAILED: tests"

        else
            result="passed: $(grep '^Files=' "$log" | tail -n 1 \
                | sed 's/,  *[0-9]* wallclock.*//')"
        fi

        case $result in FAILED*)
            failed=1
            tail -n 30 "$log"
            result="$result (see $log)"
            ;;
        esac

        row "$suite" "$nginx" "$openssl" "$cc $version" "$result"
    done
done

echo
cat "$table"

exit $failed
