#!/usr/bin/perl
# A token endpoint that answers whatever it likes: what is not a usable token
# is none, the callers hear 503, the exchanges stay apart, the worker lives.

use lib 't/lib';
use TSFace::Test;
use Socket qw(SOL_SOCKET SO_LINGER);

my $t = TSFace::Test->new(workers => 1);
$t->secret('client.secret', 'the-secret-of-hostile-token');
$t->allow(qr/SSL_/);

my $endpoint = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 30)) {
        my ($token) = $request->{headers}{authorization} =~ /^Bearer (.*)/;
        my $body = length($token) . ' ' . substr $token, 0, 20;
        print $socket "HTTP/1.1 200 OK\r\nContent-Length: " . length($body)
            . "\r\n\r\n$body";
    }
});

my $ok = "HTTP/1.1 200 OK\r\n";
sub json_answer {
    my ($body) = @_;
    return "${ok}Content-Type: application/json\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body";
}
sub token {
    my ($token, $rest) = @_;
    return json_answer(qq({"access_token":$token,"token_type":"Bearer")
        . (defined $rest ? ",$rest" : '') . '}');
}
sub expires { return token('"goodtoken"', qq("expires_in":$_[0])) }

my $long = 'x' x 8192;
my $deep = '[' x 5000;

# name => [ answer, or code; what the endpoint sees: undef for no token ]
my %case = (
    good          => [ expires(3600), '9 goodtoken' ],
    longest       => [ token(qq("$long"), '"expires_in":3600'), '8192 ' . 'x' x 20 ],
    chunked       => [ "${ok}Transfer-Encoding: chunked\r\n\r\n" . join('',
        map { "1\r\n$_\r\n" } split //, '{"access_token":"chunked1","expires_in":9999}')
        . "0\r\n\r\n", '8 chunked1' ],
    closed        => [ "${ok}\r\n" . '{"access_token":"closed12","expires_in":9999}',
        '8 closed12' ],
    interim       => [ "HTTP/1.1 100 Continue\r\n\r\n" . expires(3600), '9 goodtoken' ],
    no_expiry     => [ token('"goodtoken"'), '9 goodtoken' ],
    null_expiry   => [ expires('null'), '9 goodtoken' ],
    string_expiry => [ expires('"3600"'), '9 goodtoken' ],
    huge_expiry   => [ expires('9' x 15), '9 goodtoken' ],    # ten years
    vast_expiry   => [ expires('9' x 400), '9 goodtoken' ],
    float_expiry  => [ expires('3600.5') ],
    exp_expiry    => [ expires('1e400') ],
    zero_expiry   => [ expires('0') ],
    minus_expiry  => [ expires('-1') ],
    true_expiry   => [ expires('true') ],
    list_expiry   => [ expires('[3600]') ],
    # the connection ends with it, so nobody will read the second
    trailing      => [ expires(3600) . token('"other"'), '9 goodtoken' ],
    too_long      => [ token(qq("x$long"), '"expires_in":3600') ],
    empty         => [ token('""') ],
    number        => [ token('5') ],
    null          => [ token('null') ],
    object        => [ token('{"a":"b"}') ],
    space         => [ token('"good token"') ],
    newline       => [ token('"good\\r\\nX-Evil: 1"') ],
    raw_newline   => [ token("\"good\r\ntoken\"") ],
    nul           => [ token('"good\\u0000token"') ],
    latin         => [ token("\"good\xfftoken\"") ],
    unicode       => [ token('"good\\u00e9token"') ],
    surrogate     => [ token('"good\\ud800token"') ],
    twice         => [ token('"goodtoken","access_token":"other"') ],
    mac_type      => [ json_answer('{"access_token":"goodtoken","token_type":"mac"}') ],
    no_token      => [ json_answer('{}') ],
    not_json      => [ json_answer('hello') ],
    array         => [ json_answer('["goodtoken"]') ],
    deep          => [ json_answer($deep) ],
    deep_object   => [ json_answer('{"a":' x 5000) ],
    many          => [ json_answer('{' . join(',', map { qq("k$_":1) } 1 .. 5000) . '}') ],
    no_body       => [ "${ok}Content-Length: 0\r\n\r\n" ],
    s204          => [ "HTTP/1.1 204 No Content\r\n\r\n" ],
    s302          => [ "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n"
        . "Content-Length: 0\r\n\r\n" ],
    s401          => [ "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n" ],
    s429          => [ "HTTP/1.1 429 Slow\r\nRetry-After: 999999999999999999999\r\n"
        . "Content-Length: 0\r\n\r\n" ],
    s503          => [ "HTTP/1.1 503 Slow\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT"
        . "\r\nContent-Length: 0\r\n\r\n" ],
    s503_past     => [ "HTTP/1.1 503 Slow\r\nRetry-After: Thu, 01 Jan 1970 00:00:00 GMT"
        . "\r\nContent-Length: 0\r\n\r\n" ],
    s503_minus    => [ "HTTP/1.1 503 Slow\r\nRetry-After: -5\r\nContent-Length: 0\r\n\r\n" ],
    short         => [ "${ok}Content-Length: 500\r\n\r\n{}" ],
    two_lengths   => [ "${ok}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" ],
    large         => [ "${ok}Content-Length: 70000\r\n\r\n" . ' ' x 70000 ],
    large_chunks  => [ "${ok}Transfer-Encoding: chunked\r\n\r\n"
        . "1000\r\n" . ' ' x 4096 . "\r\n" ],
    large_header  => [ $ok . "X: " . 'x' x 20000 . "\r\n\r\n" ],
    full_header   => [ $ok . "X: " . 'x' x (16384 - 22) . "\r\n\r\n" . 'x' x 100 ],
    flood         => [ sub { my ($s) = @_;
        print $s "HTTP/1.1 102 X\r\n\r\n" x 20000 } ],
    endless       => [ sub { my ($s) = @_; print $s "${ok}\r\n";
        print $s 'x' x 10000 or last for 1 .. 5000 } ],
    nothing       => [ sub { } ],
    reset         => [ sub { my ($s) = @_;
        setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 } ],
    silent        => [ sub { sleep 5 } ],
    drip          => [ sub { my ($s) = @_;
        for (split //, expires(3600)) { print $s $_; sleep 0.1 } } ],
    dripped_well  => [ sub { my ($s) = @_;
        for (split //, expires(3600)) { print $s $_; sleep 0.003 } }, '9 goodtoken' ],
    early         => [ sub { }, '9 goodtoken' ],
    tls_garbage   => [ '' ],
    tls_early     => [ '' ],
);
# hidden from the error log and from records
$t->hide($long, 'goodtoken', 'chunked1', 'closed12');

my $counter = $t->dir . '/tmp/exchanges';
my $port = $t->fake_server(sub {
    my ($socket) = @_;
    my $request = read_request($socket, 10) or return;
    my ($name) = $request->{line} =~ m{/t/(\w+) };
    open my $log, '>>', $counter;
    syswrite $log, "$name\n";
    my $answer = $case{$name}[0];
    ref $answer ? $answer->($socket) : print $socket $answer;
});
my %other = (
    early => $t->fake_server(sub {
        my ($socket) = @_;
        print $socket expires(3600);
        read_request($socket, 5);
    }),
    tls_garbage => $t->fake_server(sub {
        my ($socket) = @_;
        print $socket "\x16\x03\x03\x00\x04\x02\x00\x00\x00" x 100;
    }),
    # as CVE-2026-1642 would like it: a token in plain text before the handshake
    tls_early => $t->fake_server(sub {
        my ($socket) = @_;
        print $socket expires(3600);
        sleep 1;
    }),
);

my @names = sort keys %case;
my $blocks = join '', map { <<"END" } @names;
    tsface_credentials $_ {
        endpoint         http://127.0.0.1:$endpoint/cis;
        token_endpoint   http@{[ /^tls/ ? 's' : '' ]}://127.0.0.1:@{[ $other{$_} || $port ]}/t/$_;
        client_id        x;
        client_secret    file:%%DIR%%/secrets/client.secret;
        verify           off;
        token_wait       1s;
        exchange_timeout 2s;
    }
END

$t->{blocks}{ZONE} = sub { 'tsface_zone zone=tsface:4m;' };
$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
$blocks
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   \$http_x_which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
        location = /status { tsface_status; }
    }
}
END

my ($worker) = $t->workers;
sleep 2.5;

# One process each, as the bad ones wait.
my %pid;
for my $name (@names) {
    my $pid = fork;
    if (!$pid) {
        my $answer = $t->revoke('u', headers => [ 'X-Which', $name ]);
        open my $fh, '>', $t->dir . "/tmp/got.$name";
        print $fh $answer->status . "\n" . ($answer->status == 200
            ? $answer->body : $answer->problem . ' '
                . ($answer->header('Retry-After') || 'none'));
        close $fh;
        POSIX::_exit(0);
    }
    $pid{$pid} = 1;
}
waitpid $_, 0 for keys %pid;

for my $name (@names) {
    my ($status, $got) = split /\n/, $t->read_file("tmp/got.$name"), 2;
    my $want = $case{$name}[1];
    if (defined $want) {
        is $got, $want, "$name: a token";
    } else {
        is $status, 503, "$name: 503";
        like $got, qr/^no_token \d{1,4}$/, 'and when to come again';
    }
}

my $status = http($t->port, 'GET', '/status')->json;
ok $status, 'the status is JSON';
my %state = map { $_->{name} => $_ } @{ $status->{credentials} };
is_deeply [ grep { defined $case{$_}[1] != ($state{$_}{state} eq 'ready') }
    @names ], [], 'and knows which have a token';
is_deeply [ grep { $_->{expires_in_ms} && $_->{expires_in_ms} < 100_000 }
    values %state ], [], 'no life time is taken for another';

# They are made again, but not all the time: at 0, 0.5 .. 1, 1 .. 3 s ...
my %made;
$made{$_}++ for split /\n/, $t->read_file('tmp/exchanges');
is_deeply [ grep { $made{$_} > 12 } keys %made ], [], 'no endpoint is hammered';
is_deeply [ grep { $case{$_}[1] && $made{$_} && $made{$_} != 1 } keys %made ], [],
    'a good one is asked once';

is_deeply [ $t->workers ], [ $worker ], 'the worker lives';

done_testing;
