# shellcheck shell=bash disable=SC2034
#
# Sourced by demo.sh and run.sh: a sandbox and a gateway in a folder of their
# own, on loopback, gone afterwards.
#
# TSFACE_NGINX, TSFACE_MODULE (a .so or "static"), TSFACE_PORT

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
nginx=${TSFACE_NGINX:-nginx}
out=${OUT:-build-out}
case $out in /*) ;; *) out=$root/$out ;; esac
module=${TSFACE_MODULE:-$out/ngx_http_tsface_module.so}
dir=
sandbox_pid=
nginx_pid=

command -v "$nginx" > /dev/null || nginx=/usr/sbin/nginx

if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' off=$'\e[0m'
else
    bold='' dim='' red='' green='' off=''
fi

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "${red}$*${off}" >&2; exit 1; }

# A port nobody listens on: the wanted one, or any.
free_port() {
    perl -MIO::Socket::INET -e '
        for my $port (@ARGV, 0) {
            my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1",
                LocalPort => $port, Listen => 1, ReuseAddr => 1) or next;
            print $s->sockport, "\n";
            exit;
        }
        exit 1' "$@"
}

# Bounded: about 15 s.
wait_for() {
    local _
    for _ in $(seq 300); do
        if "$@"; then return 0; fi
        sleep 0.05
    done
    return 1
}

make_certificates() {
    local new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes' name

    (
        cd "$dir"
        umask 077
        # shellcheck disable=SC2086
        {
            openssl req -x509 $new -keyout ca.key -out ca.pem -days 2 \
                -subj /CN=demo-ca

            for name in localhost billing mobile-app; do
                openssl req $new -keyout "$name.key" -out "$name.csr" \
                    -subj "/CN=$name"
                {
                    echo basicConstraints=CA:FALSE
                    [ $name != localhost ] \
                        || echo subjectAltName=DNS:localhost,IP:127.0.0.1
                } > ext
                openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key \
                    -CAcreateserial -days 2 -extfile ext -out "$name.crt"
                cat "$name.crt" "$name.key" > "$name.pem"
            done
        } > openssl.log 2>&1
    ) || fail "openssl failed: $(tail -n 3 "$dir/openssl.log")"
}

gateway_start() {
    [ "$module" = static ] || [ -e "$module" ] \
        || fail "no module at $module: run make"

    dir=$(mktemp -d "${TMPDIR:-/tmp}/tsface.XXXXXXXX")
    trap gateway_stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    chmod 755 "$dir"
    mkdir "$dir/trail" "$dir/tmp"
    make_certificates

    (umask 077
     printf 'sandbox-secret' > "$dir/client.secret"
     openssl rand -hex 32 > "$dir/audit.key"
     openssl genpkey -algorithm ed25519 -out "$dir/checkpoint.key" \
        && openssl pkey -in "$dir/checkpoint.key" -pubout \
            -out "$dir/checkpoint.pub") || fail "openssl failed"

    local user=
    if [ "$(id -u)" = 0 ]; then
        user='user www-data;'
        chown www-data: "$dir/trail" "$dir/tmp"
    fi

    port=$(free_port "${TSFACE_PORT:-8443}") || fail "no free port"
    sandbox_port=$(free_port 8490) || fail "no free port"
    sandbox_plain=$(free_port 8090) || fail "no free port"

    # setsid: a Ctrl-C is for this script, which then stops them in order
    setsid perl -I"$root/t/lib" "$root/t/sandbox" --quiet \
        --listen "https://127.0.0.1:$sandbox_port?cert=$dir/localhost.pem&key=$dir/localhost.pem" \
        --listen "http://127.0.0.1:$sandbox_plain" \
        --log "$dir/sandbox.jsonl" --ready-file "$dir/sandbox.ready" \
        > "$dir/sandbox.out" 2>&1 &
    sandbox_pid=$!

    wait_for test -e "$dir/sandbox.ready" \
        || fail "the sandbox did not start: $(cat "$dir/sandbox.out")"

    local load=
    [ "$module" = static ] || load="load_module $module;"

    sed -e "s|@MODULE@|$load|; s|@USER@|$user|; s|@DIR@|$dir|g" \
        -e "s|@PORT@|$port|; s|@SANDBOX@|$sandbox_port|" \
        "$root/build/gateway.conf.in" > "$dir/nginx.conf"

    setsid "$nginx" -p "$dir/" -c "$dir/nginx.conf" -e "$dir/error.log" \
        > "$dir/nginx.out" 2>&1 &
    nginx_pid=$!

    wait_for gateway_ready \
        || fail "nginx did not start: $(cat "$dir/nginx.out" "$dir/error.log")"

    url=https://localhost:$port
}

# Started, or gone: both end the wait.
gateway_ready() {
    if ! kill -0 "$nginx_pid" 2> /dev/null; then
        fail "nginx did not start: $(cat "$dir/nginx.out" "$dir/error.log")"
    fi
    [ -s "$dir/nginx.pid" ]
}

gateway_stop() {
    local code=$? pid signal
    trap - EXIT
    trap '' INT TERM

    for pid in $nginx_pid $sandbox_pid; do
        for signal in QUIT TERM KILL; do
            [ "$pid" = "$sandbox_pid" ] && [ $signal = QUIT ] && continue
            kill -$signal "$pid" 2> /dev/null || break
            for _ in $(seq 100); do
                kill -0 "$pid" 2> /dev/null || break 2
                sleep 0.05
            done
        done
        wait "$pid" 2> /dev/null || :
    done

    if [ -n "${TSFACE_KEEP:-}" ]; then
        say "kept: $dir"
    elif [ -n "$dir" ]; then
        rm -rf "$dir"
    fi

    exit $code
}
