#!/bin/sh
# Prints where this machine's own apt gets Debian from, so that no address is
# written down in the project:
#
#     build/mirror.sh            the main archive's address
#     build/mirror.sh security   the security archive's address, or nothing
#     build/mirror.sh sources    deb-src lines for this release, security first

set -eu

# shellcheck disable=SC2016
targets=$(apt-get indextargets \
    --format '$(LABEL) $(REPO_URI) $(RELEASE)' \
    'Created-By: Packages' 'Origin: Debian' 'Component: main' | sort -u)

main=$(echo "$targets" | awk '$1 == "Debian" { print $2; exit }')
security=$(echo "$targets" | awk '$1 == "Debian-Security" { print $2; exit }')

if [ -z "$main" ]; then
    echo "$0: apt has no list of Debian's; run \"apt-get update\" first" >&2
    exit 1
fi

case ${1-} in

'')
    echo "$main"
    ;;

security)
    echo "$security"
    ;;

sources)
    echo "$targets" | awk '
        $1 == "Debian-Security" { print "deb-src", $2, $3, "main" }'
    echo "$targets" | awk '
        $1 == "Debian" { print "deb-src", $2, $3, "main" }'
    ;;

*)
    echo "usage: $0 [security|sources]" >&2
    exit 2
    ;;

esac
