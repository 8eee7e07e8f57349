#!/bin/sh
# Unpacks the source of the installed nginx from Debian's source package and
# prints the folder:
#
#     build/nginx-source.sh
#
# The very version that is installed comes first.  When its package is not to
# be had (the security archive does not always keep the small files of one),
# the newest version that is comes next, and at last the upstream tarball with
# whatever patches were found.  Which it was is printed to standard error and
# kept in DIR/TSFACE-SOURCE.

set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
cache=${TSFACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tsface}

# shellcheck disable=SC2016
installed=$(dpkg-query -W -f '${Version}' nginx)
target=$cache/source/nginx-$installed

if [ -e "$target/TSFACE-SOURCE" ]; then
    echo "nginx source: $(cat "$target/TSFACE-SOURCE")" >&2
    echo "$target"
    exit 0
fi

mkdir -p "$cache/source"
work=$(mktemp -d "$cache/source/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

log=$work/log
mkdir -p "$work/lists/partial" "$work/apt/archives/partial"

# the machine's own list of sources stays as it is

sh "$here/build/mirror.sh" sources > "$work/sources.list"

apt() {
    tool=$1
    shift
    (
        cd "$work"
        "$tool" -q -o Dir::Etc::sourcelist="$work/sources.list" \
            -o Dir::Etc::sourceparts=/nonexistent \
            -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/apt" \
            -o APT::Sandbox::User="$(id -un)" "$@"
    )
}

apt apt-get update > "$log" 2>&1 || {
    cat "$log" >&2
    echo "$0: apt-get update failed" >&2
    exit 1
}

versions=$(apt apt-cache showsrc --only-source nginx 2> /dev/null \
    | awk '$1 == "Version:" { print $2 }' | sort -rV | uniq)

used=

for version in $installed $versions; do
    if apt apt-get source --download-only "nginx=$version" >> "$log" 2>&1 \
        && (
            cd "$work"
            dpkg-source --no-check -x \
                "nginx_$(echo "$version" | sed 's/^[0-9]*://').dsc" tree
        ) >> "$log" 2>&1
    then
        used="Debian's source package $version"

        if [ "$version" != "$installed" ]; then
            used="$used (the installed $installed is not to be had)"
        fi

        break
    fi

    rm -rf "$work/tree"
done

if [ -z "$used" ]; then
    upstream=$(echo "$installed" | sed 's/^[0-9]*://; s/-[^-]*$//')
    orig=$(find "$work" -maxdepth 1 -name "nginx_$upstream.orig.tar.*" \
        ! -name '*.asc' | head -n 1)

    if [ -z "$orig" ]; then
        cat "$log" >&2
        echo "$0: no source of nginx $installed is to be had" >&2
        exit 1
    fi

    mkdir "$work/tree"
    tar -C "$work/tree" --strip-components=1 -xf "$orig"
    used="upstream's $upstream"

    patches=$(find "$work" -maxdepth 1 -name 'nginx_*.debian.tar.*' \
        | sort -rV | head -n 1)

    if [ -n "$patches" ]; then
        tar -C "$work/tree" -xf "$patches"
        grep -v '^#' "$work/tree/debian/patches/series" | while read -r name; do
            patch -s -d "$work/tree" -p1 < "$work/tree/debian/patches/$name"
        done
        used="$used with the patches of $(basename "$patches")"
    else
        used="$used without Debian's patches"
    fi
fi

echo "$used" > "$work/tree/TSFACE-SOURCE"
rm -rf "$target"
mv "$work/tree" "$target" 2> /dev/null || [ -e "$target/TSFACE-SOURCE" ]

echo "nginx source: $used" >&2
echo "$target"
