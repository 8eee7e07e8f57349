#!/usr/bin/perl
# HTTP/2 clients: bodies in any pieces, many streams, streams reset and
# connections dropped while the request is anywhere.  What was begun is
# finished and recorded.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $t = TSFace::Test->new(workers => 1);
my $sandbox = $t->sandbox;

my ($version) = `$t->{nginx} -v 2>&1` =~ m{/(\d+\.\d+\.\d+)};
my ($major, $minor, $patch) = split /\./, $version;
my $new = $major > 1 || $minor > 25 || $minor == 25 && $patch >= 1;
my ($old_way, $new_way) = $new ? ('', 'http2 on;') : ('http2', '');

$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        # two hundred handshakes at once
        connect_timeout 20s;
        read_timeout    20s;
    }
    %%TRAIL%%

    tsface_limit_zone \$http_x_turn zone=turn:1m rate=20r/m;

    server {
        listen 127.0.0.1:%%PORT_0%% $old_way;
        listen 127.0.0.1:%%PORT_1%% $old_way ssl;
        $new_way
        ssl_certificate     %%CERTS%%/localhost.pem;
        ssl_certificate_key %%CERTS%%/localhost.key;
        location / {
            tsface_pass   sandbox;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
            tsface_limit  zone=turn delay=20;
        }
    }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        location = /status { tsface_status json; }
    }
}
END

my ($worker) = $t->workers;
my $path = '/v1/users/face/revoke';

# ------------------------------------------------- a blunt HTTP/2 client

use constant { DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4,
    GOAWAY => 7, WINDOW_UPDATE => 8, CONTINUATION => 9 };
use constant { END_STREAM => 1, END_HEADERS => 4, PADDED => 8, ACK => 1 };

sub frame {
    my ($type, $flags, $stream, $payload) = @_;
    $payload = '' if !defined $payload;
    return substr(pack('N', length $payload), 1)
        . pack('CCN', $type, $flags, $stream) . $payload;
}

# Literals, never indexed, no Huffman coding: names and values as they are.
sub block {
    my @fields = @_;
    my $block = '';
    while (my ($name, $value) = splice @fields, 0, 2) {
        $block .= "\x10";
        for my $string ($name, $value) {
            my $n = length $string;
            $block .= $n < 127 ? pack('C', $n)
                : pack('CCC', 127, ($n - 127) % 128 | 128, ($n - 127) >> 7);
            $block .= $string;
        }
    }
    return $block;
}

sub request {
    my (@fields) = @_;
    return block(':method', 'POST', ':scheme', 'http', ':path', $path,
        ':authority', 'gateway.test', 'content-type', 'application/json',
        'x-caller', 'h2', @fields);
}

sub h2_connect {
    my $socket = connect_to($t->port) or die "connect: $!\n";
    syswrite $socket, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(SETTINGS, 0, 0);
    return $socket;
}

# Frames until code->(frame) is true, or time is up: a list of { type, flags,
# stream, payload }.
sub frames {
    my ($socket, $code, $seconds) = @_;

    my $end = time() + ($seconds || 5) * $t->{slow};
    my ($buffer, @frames) = ('');
    for ( ;; ) {
        while (length $buffer >= 9) {
            my ($high, $low, $type, $flags, $stream) = unpack 'CnCCN', $buffer;
            my $length = $high << 16 | $low;
            last if length $buffer < 9 + $length;
            push @frames, { type => $type, flags => $flags, stream => $stream,
                payload => substr $buffer, 9, $length };
            substr($buffer, 0, 9 + $length) = '';
            return @frames if $code->($frames[-1]);
        }
        my $left = $end - time();
        return @frames if $left <= 0 || !IO::Select->new($socket)
            ->can_read($left) || !sysread $socket, $buffer, 65536, length $buffer;
    }
}

# The first byte of a block that nginx sends is the status, indexed when it
# is a usual one (204 is 9, 400 is 12).
sub status {
    my ($frame) = @_;
    my $first = ord $frame->{payload};
    return { 0x88 => 200, 0x89 => 204, 0x8c => 400, 0x8d => 404 }->{$first}
        || ($frame->{payload} =~ /^[\x08\x48]\x03(\d{3})/ ? $1 : $first);
}

# Status of a stream that has the whole connection.
sub answer {
    my ($socket) = @_;
    my ($headers) = grep { $_->{type} == HEADERS }
        frames($socket, sub { $_[0]{type} == HEADERS });
    return $headers ? status($headers) : 'none';
}

sub outcomes { return $t->records(type => qr/outcome/) }
sub refusals { return grep { $_->{reason} eq 'client_closed' }
    $t->records(type => qr/refusal/) }

# --- known clients

my @curl = ('curl', '-s', '-o', $t->dir . '/tmp/body', '-w',
    '%{http_version} %{http_code}', '-H', 'X-Caller: curl',
    '-H', 'Content-Type: application/json');
my $url = 'http://127.0.0.1:' . $t->port . $path;
my $big = $t->write_file('tmp/big.json',
    '{"user_id":"user-1","x":"' . 'x' x 60_000 . '"}');

for my $case (
    [ 'a body', '2 204', '-d', '{"user_id":"user-1"}' ],
    [ 'of 60 kB', '2 204', '-d', "\@$big" ],
    [ 'without a length', '2 204', '-H', 'Content-Length:', '-T', $big,
        '-X', 'POST' ],
    [ 'no body', '2 400', '-X', 'POST' ],
    [ 'GET', '2 405' ],
) {
    my ($name, $wanted, @options) = @$case;
    my (undef, $out) = $t->run(10, @curl, '--http2-prior-knowledge', @options,
        $url);
    is $out, $wanted, "curl, $name";
}

my (undef, $out) = $t->run(10, @curl, '--http2', '--cacert',
    $t->certs_dir . '/ca.pem', '--resolve', 'localhost:' . $t->port(1)
    . ':127.0.0.1', '-d', "\@$big", 'https://localhost:' . $t->port(1) . $path);
is $out, '2 204', 'curl over TLS, by ALPN';

# --- many streams

my $seen = () = $sandbox->revokes;
my $data = $t->write_file('tmp/small.json', '{"user_id":"user-2"}');
(undef, $out) = $t->run(30, 'h2load', '-n', 400, '-c', 2, '-m', 100, '-d',
    $data, '-H', 'Content-Type: application/json', '-H', 'X-Caller: h2load',
    $url);
like $out, qr/\b400 succeeded, 0 failed/, '400 requests, 100 streams at a time'
    or diag $out;
like $out, qr/\b400 2xx/, 'all of them 2xx';
is scalar(() = $sandbox->revokes), $seen + 400, 'all of them seen';
my @wrong = $t->write_ahead;
is_deeply \@wrong, [], 'and announced';

# --- one byte in a frame, padding, trailers, a block in pieces

my $body = '{"user_id":"user-3"}';
my $socket = h2_connect();
syswrite $socket, frame(HEADERS, END_HEADERS, 1, request());
for my $byte (split //, $body) {
    syswrite $socket, frame(DATA, 0, 1, $byte);
    syswrite $socket, frame(DATA, PADDED, 1, "\x05" . "\0" x 5);
}
syswrite $socket, frame(DATA, END_STREAM, 1);
is answer($socket), 204, 'a body byte by byte, with padding and empty frames';

$socket = h2_connect();
my $block = request();
syswrite $socket, frame(HEADERS, 0, 1, substr $block, 0, 7)
    . frame(CONTINUATION, 0, 1, substr $block, 7, 11)
    . frame(CONTINUATION, END_HEADERS, 1, substr $block, 18)
    . frame(DATA, END_STREAM, 1, $body);
is answer($socket), 204, 'headers in pieces';

# --- too large, told before and not (curl itself gives up over the
# RST_STREAM that nginx ends such a stream with)

my $large = '{"user_id":"user-1","x":"' . 'x' x 70_000 . '"}';
for my $fields ([ 'content-length', length $large ], []) {
    $socket = h2_connect();
    syswrite $socket, frame(HEADERS, END_HEADERS, 1, request(@$fields));
    my @pieces = unpack '(a14000)*', $large;
    for my $i (0 .. $#pieces) {
        syswrite $socket, frame(DATA, $i == $#pieces ? END_STREAM : 0, 1,
            $pieces[$i]);
        sleep 0.05;     # for the window to open
    }
    is answer($socket), 413, 'over 64 kB, '
        . (@$fields ? 'with its length' : 'without');
}

# --- what lies about its length

my $revokes = () = $sandbox->revokes;
for my $length (length($body) + 1, length($body) - 1) {
    $socket = h2_connect();
    syswrite $socket, frame(HEADERS, END_HEADERS, 1,
        request('content-length', $length))
        . frame(DATA, END_STREAM, 1, $body);
    my @frames = frames($socket, sub { $_[0]{type} == HEADERS
        || $_[0]{type} == RST_STREAM || $_[0]{type} == GOAWAY });
    my ($last) = reverse @frames;
    ok $last && ($last->{type} != HEADERS || status($last) >= 400),
        "content-length $length of " . length($body) . ' is refused';
}
is scalar(() = $sandbox->revokes), $revokes, 'and nothing forwarded';

# --- smuggled fields

for my $field ([ 'transfer-encoding', 'chunked' ], [ 'connection', 'close' ],
    [ 'X-Upper', 'a' ], [ 'x-caller2', "a\r\nx-injected: b" ])
{
    $socket = h2_connect();
    syswrite $socket, frame(HEADERS, END_HEADERS, 1, request(@$field))
        . frame(DATA, END_STREAM, 1, $body);
    my $status = answer($socket);
    # 1.22 lets hop-by-hop fields pass; none of them reaches the endpoint.
    like $status, qr/^(?:204|400|none)$/, "$field->[0]: $status";
}
is scalar(grep { $_->{headers}{'transfer-encoding'}
    || ($_->{headers}{connection} || '') =~ /close/ } $sandbox->revokes), 0,
    'no such field is forwarded';

# --- RST_STREAM while the endpoint thinks, at once, and before the end

my $n = () = outcomes();
$sandbox->fault(kind => 'delay', path => 'revoke', ms => 1500, count => 5);
$socket = h2_connect();
syswrite $socket, join '', map { frame(HEADERS, END_HEADERS, $_, request())
    . frame(DATA, END_STREAM, $_, $body) } 1, 3, 5, 7, 9;
$t->wait_for(sub { $t->records(type => qr/intent/) >= $n + 5 }, 5);
sleep 0.2;
syswrite $socket, join '', map { frame(RST_STREAM, 0, $_, pack 'N', 8) } 1, 5, 9;
$t->wait_records($n + 5, type => qr/outcome/);
my @outcomes = outcomes();
is scalar @outcomes, $n + 5, 'reset while the endpoint thinks: all outcomes';
is_deeply [ map { $_->{result} } @outcomes[$n .. $n + 4] ],
    [ ('success') x 5 ], 'as what they were';
my $answers = 0;
my @answered = grep { $_->{type} == HEADERS }
    frames($socket, sub { $_[0]{type} == HEADERS && ++$answers == 2 }, 10);
is_deeply [ map { status($_) } @answered ], [ 204, 204 ],
    'the other streams get their answers';

$n = () = outcomes();
$revokes = () = $sandbox->revokes;
my $intents = () = $t->records(type => qr/intent/);
syswrite $socket, join '', map { frame(HEADERS, END_HEADERS, $_, request())
    . frame(DATA, END_STREAM, $_, $body)
    . frame(RST_STREAM, 0, $_, pack 'N', 8) } map { 11 + 2 * $_ } 0 .. 49;
syswrite $socket, frame(HEADERS, END_HEADERS, 201, request())
    . frame(DATA, END_STREAM, 201, $body);
frames($socket, sub { $_[0]{type} == HEADERS && $_[0]{stream} == 201 });
$t->wait_for(sub {
    $t->records(type => qr/intent/) == $t->records(type => qr/outcome/)
        && @{ [ outcomes() ] } > $n }, 5);
is scalar(() = $t->records(type => qr/intent/)), scalar(() = outcomes()),
    '50 streams reset at once: each intent has its outcome';
@wrong = $t->write_ahead;
is_deeply \@wrong, [], 'and nothing is seen unannounced';

my $closed = () = refusals();
syswrite $socket, frame(HEADERS, END_HEADERS, 203, request())
    . frame(DATA, 0, 203, substr $body, 0, 5)
    . frame(RST_STREAM, 0, 203, pack 'N', 8);
$t->wait_for(sub { refusals() > $closed }, 5);
is scalar(() = refusals()), $closed + 1,
    'reset within its body: a refusal, client_closed';

# --- reset, and the connection dropped, while they wait for their turn

$n = () = $t->records(type => qr/intent/);
$closed = () = refusals();
$socket = h2_connect();
syswrite $socket, join '', map { frame(HEADERS, END_HEADERS, $_,
    request('x-turn', 'a')) . frame(DATA, END_STREAM, $_, $body) } 1, 3, 5, 7;
frames($socket, sub { $_[0]{type} == HEADERS && $_[0]{stream} == 1 });
syswrite $socket, join '', map { frame(RST_STREAM, 0, $_, pack 'N', 8) } 3, 7;
$t->wait_for(sub { refusals() >= $closed + 2 }, 5);
is scalar(() = refusals()), $closed + 2,
    'reset while it waits for its turn: a refusal, client_closed';
my ($third) = grep { $_->{type} == HEADERS && $_->{stream} == 5 }
    frames($socket, sub { $_[0]{type} == HEADERS && $_[0]{stream} == 5 }, 20);
is status($third), 204, 'another gets its turn';

my $second = h2_connect();
syswrite $second, join '', map { frame(HEADERS, END_HEADERS, $_,
    request('x-turn', 'b')) . frame(DATA, END_STREAM, $_, $body) } 1, 3, 5;
frames($second, sub { $_[0]{type} == HEADERS });
close $second;
$t->wait_for(sub { refusals() >= $closed + 4 }, 5);
is scalar(() = refusals()), $closed + 4, 'the connection goes: both at once';
is scalar(() = $t->records(type => qr/intent/)), $n + 3,
    'none of them was begun';

# --- the whole connection goes, with streams in every state

$n = () = $t->records(type => qr/intent/);
$closed = () = refusals();
$sandbox->fault(kind => 'delay', path => 'revoke', ms => 1000, count => 3);
$socket = h2_connect();
syswrite $socket, join '', map { frame(HEADERS, END_HEADERS, $_, request())
    . frame(DATA, END_STREAM, $_, $body) } 1, 3, 5;
syswrite $socket, frame(HEADERS, END_HEADERS, 7, request())
    . frame(DATA, 0, 7, substr $body, 0, 5);
$t->wait_for(sub { $t->records(type => qr/intent/) >= $n + 3 }, 5);
sleep 0.1;
close $socket;
$t->wait_for(sub { outcomes() >= $n + 3 }, 5);
@outcomes = outcomes();
is scalar @outcomes, $n + 3, 'the connection is dropped: all outcomes';
is_deeply [ map { $_->{result} } @outcomes[-3 .. -1] ], [ ('success') x 3 ],
    'as what they were';
$t->wait_for(sub { refusals() > $closed }, 5);
is scalar(() = refusals()), $closed + 1, 'and a refusal for the half one';

# --- no window for the answer

$socket = connect_to($t->port) or die;
syswrite $socket, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    . frame(SETTINGS, 0, 0, pack 'nN', 4, 0)       # INITIAL_WINDOW_SIZE
    . frame(HEADERS, END_HEADERS, 1, request())
    . frame(DATA, END_STREAM, 1, '{"user_id":""}');
is answer($socket), 400, 'a problem whose body may not be sent yet';
close $socket;

is +($t->run(10, @curl, '--http2-prior-knowledge', '-d', $body, $url))[1], '2 204',
    'the gateway goes on';
is_deeply [ $t->workers ], [ $worker ], 'in the same worker';

# --- none of them all is left at the gate

ok $t->wait_for(sub {
    http($t->port(2), 'GET', '/status')->json->{credentials}[0]{gate}{in_flight}
        == 0 }, 5), 'none is in flight';

done_testing;
