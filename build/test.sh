#!/bin/bash
# Runs the tests with prove:
#
#     build/test.sh plain|asan|valgrind|coverage [TEST...]
#
# OUT      where build.sh or static.sh put what they made
# JOBS     tests at a time
# TSFACE_NGINX, TSFACE_MODULE    instead of the installed nginx and our .so

set -euo pipefail

flavour=$1
shift

here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"

out=$(cd "${OUT:-build-out}" && pwd)
module=$out/ngx_http_tsface_module.so

# Those that take longest come first, so that none of them is left to run alone
# at the end.  With sanitizers, what is in no C need not run a second time.

if [ $# -eq 0 ] || [ "$*" = t ]; then
    long=( t/{budget,checkpoint_hang,dns,syslog_receivers,audit_tool}.t
        t/{stall,workers,gate_waits}.t )
    short=()

    for file in t/*.t; do
        case " ${long[*]} " in *" $file "*)
            continue
            ;;
        esac

        case $flavour:$file in
        asan:t/audit_completion.t | asan:t/docs_complete.t | asan:t/sandbox.t)
            ;;
        *)
            short+=( "$file" )
            ;;
        esac
    done

    set -- "${long[@]}" "${short[@]}"
fi

for dir in /usr/sbin /usr/local/sbin /sbin; do
    case :$PATH: in *:$dir:*) ;; *) PATH=$PATH:$dir ;; esac
done

export PATH
export PERL5LIB="$here/t/lib${PERL5LIB:+:$PERL5LIB}"
export CC="${CC:-gcc}"

case $flavour in

plain)
    TSFACE_NGINX=${TSFACE_NGINX:-$(command -v nginx)}
    TSFACE_MODULE=${TSFACE_MODULE:-$module}
    TSFACE_TREE=$out/tree
    ;;

coverage)
    TSFACE_NGINX=${TSFACE_NGINX:-$(command -v nginx)}
    TSFACE_MODULE=$module
    TSFACE_TREE=$out/tree
    # the counters' files are written by the master and by its workers, which
    # are different users
    umask 0
    ;;

asan)
    TSFACE_MODULE=static
    TSFACE_NGINX=$out/asan/nginx-asan
    TSFACE_TREE=$out/asan/tree
    export TSFACE_SANITIZE=1

    reports=$(mktemp -d "${TMPDIR:-/tmp}/tsface-asan.XXXXXX")
    chmod 1777 "$reports"
    trap 'rm -rf "$reports"' EXIT

    # nginx clears its environment before it runs itself anew (USR2), so the
    # options come from a wrapper, which by argv[0] is what gets run

    cat > "$TSFACE_NGINX" << END
#!/bin/bash
base=detect_odr_violation=0:detect_stack_use_after_return=1:abort_on_error=0
case "\${ASAN_OPTIONS-}" in
*log_path=*) ;;
*) base=\$base:log_path=$reports/asan ;;
esac
# one that only looks at its configuration leaves its pools to the system
for argument; do
    case \$argument in
    -[?hvVtTqs]*) base=\$base:detect_leaks=0 ;;
    esac
done
export ASAN_OPTIONS=\$base\${ASAN_OPTIONS:+:\$ASAN_OPTIONS}
export UBSAN_OPTIONS=print_stacktrace=1\${UBSAN_OPTIONS:+:\$UBSAN_OPTIONS}
export LSAN_OPTIONS=suppressions=$here/build/lsan.supp:print_suppressions=0
exec -a "\$0" "$out/asan/nginx" "\$@"
END
    chmod 755 "$TSFACE_NGINX"
    ;;

valgrind)
    TSFACE_MODULE=static
    TSFACE_NGINX=$out/valgrind/nginx
    TSFACE_TREE=$out/valgrind/tree
    export TSFACE_TEST_VALGRIND=1
    ;;

*)
    echo "usage: $0 plain|asan|valgrind|coverage [TEST...]" >&2
    exit 2
    ;;

esac

export TSFACE_NGINX TSFACE_MODULE TSFACE_TREE

# most of a test is waiting
jobs=${JOBS:-$(($(nproc) * 3))}

echo "prove -j$jobs -r $*  (nginx: $TSFACE_NGINX, module: $TSFACE_MODULE)"

status=0
prove -j"$jobs" -r "$@" || status=$?

if [ $flavour = asan ]; then
    shopt -s nullglob
    found=( "$reports"/* )

    if [ ${#found[@]} -ne 0 ]; then
        cat "${found[@]}"
        echo "${#found[@]} sanitizer reports"
        status=1
    else
        echo "no sanitizer report"
    fi
fi

exit $status
