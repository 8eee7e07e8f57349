#!/usr/bin/perl
# An endpoint that answers whatever bytes it likes, when it likes.  What is
# not a whole answer is "unknown"; no byte of one answer becomes part of
# another; the worker lives.

use lib 't/lib';
use TSFace::Test;
use feature 'state';
use Socket qw(SOL_SOCKET SO_LINGER);

my $t = TSFace::Test->new(workers => 1, log_level => 'warn');
$t->secret('client.secret', 'the-secret-of-hostile-upstream');
$t->allow(qr/ignore long locked|SSL_/);

my $token_port = $t->fake_token_server;
my $ok = "HTTP/1.1 200 OK\r\n";

# Valid answers, to be spoilt.
my @valid = (
    "HTTP/1.1 204 No Content\r\nX-Request-ID: a\r\n\r\n",
    "${ok}Content-Type: application/json\r\nContent-Length: 12\r\n\r\n"
        . '{"ok":"yes"}',
    "${ok}Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n"
        . "0\r\nX-T: 1\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error="
        . "\"insufficient_scope\"\r\nContent-Length: 0\r\n\r\n",
);

# Answer number n, the same in both processes.
sub spoilt {
    my ($n) = @_;
    my $bytes = $valid[$n % @valid];
    my $at = int($n / @valid / 4) % length $bytes;
    my $how = int($n / @valid) % 4;
    my @odd = ("\0", "\r", "\n", ' ', "\t", ':', "\x80", '0', ';', "\r\n",
        "\r\n\r\n", 'f' x 20, "\x7f", '-');
    my $odd = $odd[$n % @odd];

    return substr $bytes, 0, $at if $how == 0;
    substr $bytes, $at, 1, '' if $how == 1;
    substr $bytes, $at, 0, $odd if $how == 2;
    substr $bytes, $at, 1, $odd if $how == 3;
    return $bytes;
}

sub reset_socket {
    my ($socket) = @_;
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    return;
}

my $good = sub {
    my ($socket, $user) = @_;
    my $body = qq({"echo":"$user"});
    print $socket "${ok}Content-Length: " . length($body) . "\r\n\r\n$body";
    return 1;
};

my $poison = "${ok}Content-Length: 8\r\n\r\npoisoned";
my %act = (
    good => $good,
    spoilt => sub { my ($s, $u, $n) = @_; print $s spoilt($n); return 0 },
    cut => sub {
        my ($s, $u, $n) = @_;
        print $s substr $valid[1], 0, $n % length $valid[1];
        reset_socket($s);
        return 0;
    },
    # more than the answer, at once or a moment later; the connection stays
    trailing => sub { my ($s) = @_; print $s $valid[1] . $poison; return 1 },
    trailing_204 => sub { my ($s) = @_; print $s $valid[0] . $poison; return 1 },
    trailing_late => sub {
        my ($s) = @_;
        print $s $valid[1];
        sleep 0.03;
        print $s $poison;
        return 1;
    },
    # a 204 that brings a body
    body_204 => sub {
        my ($s) = @_;
        print $s "HTTP/1.1 204 No Content\r\nContent-Length: "
            . length($poison) . "\r\n\r\n";
        sleep 0.03;
        print $s $poison;
        return 1;
    },
    # the answer ends where nginx's buffer of 16384 bytes does, and the same
    # TLS record holds more: it waits inside OpenSSL, not in the socket
    record => sub {
        my ($s) = @_;
        my $head = "${ok}X-Pad: " . 'x' x 60 . "\r\n";
        my $rest = 16384 - length $head;
        my $second = sprintf "Content-Length: %05d\r\n\r\n", $rest - 25;
        $second .= 'y' x ($rest - length $second);
        syswrite $s, $head;
        syswrite $s, $second . substr $poison, 0, 16384 - length $second;
        return 1;
    },
    encoded => sub {
        my ($s) = @_;
        print $s "${ok}Content-Type: text/plain\r\nContent-Encoding: gzip\r\n"
            . "Content-Length: 100\r\n\r\n" . 'z' x 100;
        return 1;
    },
    interim => sub {
        my ($s) = @_;
        print $s "HTTP/1.1 102 Processing\r\n\r\n" x 5000;
        return 0;
    },
    names => sub {
        my ($s) = @_;
        print $s $ok . join('', map { "h$_:\r\n" } 1 .. 1500) . "\r\n";
        return 0;
    },
    drip => sub {
        my ($s) = @_;
        $s->blocking(1);
        for my $byte (split //, $valid[2]) { syswrite $s, $byte; sleep 0.002 }
        return 1;
    },
    chunks => sub {
        my ($s) = @_;
        print $s "${ok}Transfer-Encoding: chunked\r\n\r\n"
            . "1\r\nx\r\n" x 3000 . "0\r\n\r\n";
        return 1;
    },
    half_close => sub {
        my ($s) = @_;
        print $s "HTTP/1.1 200 OK\r\n\r\nuntil the end";
        return 0;
    },
);

my $serve = sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 30)) {
        my ($user) = $request->{body} =~ /"user_id":"(\w+)/;
        my ($n) = $request->{body} =~ /"n":(\d+)/;
        ($act{$user} || $good)->($socket, $user, $n) or last;
    }
};

my $plain = $t->fake_server($serve);
my $tls = $t->fake_server($serve, tls => 'localhost');

# Answers before it is asked anything, then reads.
my $early = $t->fake_server(sub {
    my ($socket, $n) = @_;
    print $socket $poison;
    read_request($socket, 5);
    reset_socket($socket) if $n % 2;
});

my %garbage = (
    text => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    alert => "\x15\x03\x03\x00\x02\x02\x28",
    hello => "\x16\x03\x03\x00\x04\x02\x00\x00\x00",
    long => "\x16\x03\x03\x3f\xff" . "\x02" x 16383,
    zeros => "\0" x 5000,
    none => '',
);
my %garbage_port;
for my $name (sort keys %garbage) {
    $garbage_port{$name} = $t->fake_server(sub {
        my ($socket) = @_;
        print $socket $garbage{$name};
        sleep 0.05;
    });
}

my $blocks = '';
for my $row ([ plain => "http://127.0.0.1:$plain" ], [ tls => "https://127.0.0.1:$tls" ],
    [ early => "http://127.0.0.1:$early" ],
    map { [ "garbage_$_" => "https://127.0.0.1:$garbage_port{$_}" ] }
        sort keys %garbage)
{
    $blocks .= <<"END";
    tsface_credentials $row->[0] {
        endpoint        $row->[1]/cis;
        token_endpoint  http://127.0.0.1:$token_port/oidc/token;
        client_id       x;
        client_secret   file:%%DIR%%/secrets/client.secret;
        trusted_certificate %%CERTS%%/ca.pem;
        ssl_name        localhost;
        read_timeout    6s;
    }
END
}

$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
$blocks
    server {
        listen 127.0.0.1:%%PORT_0%%;
        keepalive_requests 100000;
        gzip on;
        gzip_types *;
        gzip_min_length 1;
        location / {
            tsface_pass   \$http_x_which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
            add_header    X-Sent \$upstream_bytes_sent always;
            add_header    X-Connect \$upstream_connect_time always;
        }
    }
}
END

my ($worker) = $t->workers;

# Over one kept connection, for speed; the trail is read once, at the end.
my ($client, @asked);
sub ask {
    my ($which, $user, $n) = @_;

    $client = connect_to($t->port) if !$client || !$client->connected;
    my $bytes = TSFace::HTTP::build_request('POST', '/v1/users/face/revoke',
        keep => 1, headers => [ 'X-Caller', 'a', 'X-Which', $which ],
        json => { user_id => $user, defined $n ? (n => $n) : () });
    my $answer = raw_http($t->port, $bytes, socket => $client, timeout => 10);
    undef $client if $answer->error
        || lc($answer->header('connection') || '') eq 'close';
    push @asked, [ $answer, "$which $user" . (defined $n ? " $n" : '') ];
    return $answer;
}

sub is_good {
    my ($which, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    state $n = 0;
    my $user = 'user' . ++$n;
    return is ask($which, $user)->body, qq({"echo":"$user"}), $name;
}


# --- what follows an answer on its connection is nobody's answer

for my $which (qw(plain tls)) {
    is_good($which, "$which: a good one") for 1 .. 2;
    for my $name (qw(trailing trailing_204 trailing_late body_204 record)) {
        ask($which, $name);
        sleep 0.08 if $name =~ /late|body/;
        is_good($which, "$which: not poisoned by $name") for 1 .. 2;
    }
    for my $name (qw(interim names)) {
        is ask($which, $name)->status, 502, "$which: $name";
    }
    is ask($which, 'drip')->body, 'hello!', "$which: drip";
    is ask($which, 'chunks')->status, 200, "$which: many chunks";
    my $answer = ask($which, 'half_close');
    is $answer->body, 'until the end', "$which: closed";
    is_good($which, "$which: a good one after all");
}

my @sent = map { ask('plain', 'same')->header('X-Sent') } 1 .. 3;
is $sent[2], $sent[1], '$upstream_bytes_sent counts one request';

my $encoded = $t->revoke('encoded', headers => [ 'X-Which', 'plain',
    'Accept-Encoding', 'gzip' ]);
is_deeply [ $encoded->all_headers('content-encoding') ], [ 'gzip' ],
    'what is encoded is not encoded again';
is $encoded->body, 'z' x 100, 'and comes as it was';

for (1 .. 10) {
    my $answer = ask('early', 'x');
    ok $answer->status =~ /^(?:200|502)$/, 'an early answer: ' . $answer->status;
}
for my $name (sort keys %garbage) {
    is ask("garbage_$name", 'x')->status, 502, "TLS: $name" for 1 .. 2;
}

# --- cut at each byte, spoilt at each byte

my $start = time();
my $bad = 0;
for my $n (0 .. length($valid[1]) - 1) {
    my $answer = ask('plain', 'cut', $n);
    $bad++ if $answer->status != 502;
}
is $bad, 0, 'reset after each byte';

my $n = 0;
my %seen;
while ($n < 1200 && time() < $start + 15 * $t->{slow}) {
    my $answer = ask($n % 17 ? 'plain' : 'tls', 'spoilt', $n);
    $seen{$answer->status}++;
    diag "$n: no answer: " . $answer->error if !$answer->status;
    $n++;
}
ok !$seen{0}, "$n spoilt answers, all answered: "
    . join ' ', map { "$_=$seen{$_}" } sort keys %seen;
is_good('plain', 'a good one at the end');
is_good('tls', 'a good one at the end');

# --- one outcome each, and it is the answer's

my %outcome;
push @{ $outcome{$_->{request_id}} }, $_ for $t->records(type => qr/outcome/);
my @wrong;
for my $row (@asked) {
    my ($answer, $name) = @$row;
    my $id = $answer->header('X-TSFace-Request-ID') || '';
    my @outcomes = @{ $outcome{$id} || [] };
    my $last = $outcomes[-1] || {};
    my $unknown = $answer->problem =~ /^upstream_/;
    push @wrong, "$name: " . $answer->status . " @{[ scalar @outcomes ]} "
        . ($last->{result} || 'none')
        if !@outcomes || @outcomes > 2 || $last->{status} != $answer->status
            || $unknown != ($last->{result} eq 'unknown');
}
is_deeply \@wrong, [], 'each has its outcome';

is_deeply [ $t->workers ], [ $worker ], 'the worker lives';

done_testing;
