#!/usr/bin/perl
# HTTP as clients speak it, politely and not: connections that are kept,
# pipelined, told to continue; framing that two readers could take for two
# different things; callers who try to write headers and records.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $t = TSFace::Test->new(workers => 1);
my $sandbox = $t->sandbox;

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

my $path = '/v1/users/face/revoke';
my $body = '{"user_id":"user-1"}';
my $length = length $body;
my $fields = "Host: gateway.test\r\nX-Caller: suite\r\n"
    . "Content-Type: application/json\r\n";
my $good = "POST $path HTTP/1.1\r\n${fields}Content-Length: $length\r\n\r\n$body";

sub seen { return scalar(() = $sandbox->revokes) }
sub intents { return $t->records(type => qr/intent/) }

# All answers that come on one connection for these bytes: their statuses.
sub statuses {
    my ($bytes, %o) = @_;
    my $socket = connect_to($t->port) or die "connect: $!\n";
    local $SIG{PIPE} = 'IGNORE';
    for my $piece (ref $bytes ? @$bytes : $bytes) {
        syswrite $socket, $piece;
        sleep 0.02 if ref $bytes;
    }
    shutdown $socket, 1 if $o{shutdown};
    my ($all, $end) = ('', time() + ($o{seconds} || 0.6) * $t->{slow});
    while ((my $left = $end - time()) > 0) {
        IO::Select->new($socket)->can_read($left) or last;
        sysread $socket, $all, 65536, length $all or last;
        last if $o{n} && $o{n} <= (() = $all =~ m{^HTTP/1\.1 [2-5]}mg);
    }
    close $socket;
    return $all =~ m{^HTTP/1\.1 (\d{3})}mg;
}

sub curl {
    my (@options) = @_;
    @options = map { m{^http:} ? ('-o', '/dev/null', $_) : $_ } @options;
    my (undef, $out) = $t->run(20, 'curl', '-sS', '-w', '%{http_code}/%{num_connects} ',
        '-H', 'X-Caller: curl', '-H', 'Content-Type: application/json',
        @options);
    return $out;
}

my $url = 'http://127.0.0.1:' . $t->port . $path;

# --- connections

is $t->revoke('user-1')->status, 204, 'revoked';
is curl('-d', $body, $url, $url, $url), '204/1 204/0 204/0 ',
    'three on one connection';
is curl('-d', '{}', $url, $url), '400/1 400/0 ', 'a refusal keeps it, too';
is curl('-X', 'GET', $url, $url), '405/1 405/0 ', 'and another method';
is curl('-H', 'Connection: close', '-d', $body, $url, $url), '204/1 204/1 ',
    'unless it is to be closed';
is curl('--http1.0', '-d', $body, $url), '204/1 ', 'HTTP/1.0';
is curl('-H', 'Expect: 100-continue', '-d', $body, $url), '204/1 ',
    'Expect: 100-continue, by curl';

my $seen = seen();
is_deeply [ statuses($good x 2, n => 2) ], [ 204, 204 ], 'two pipelined';
is_deeply [ statuses($good x 20, n => 20, seconds => 5) ], [ (204) x 20 ],
    'twenty pipelined';
is_deeply [ statuses([ map { substr $good x 2, 20 * $_, 20 }
    0 .. 2 * length($good) / 20 ], n => 2, seconds => 5) ], [ 204, 204 ],
    'two in pieces that know nothing of requests';
is seen(), $seen + 24, 'each of them seen once';
is_deeply [ statuses($good =~ s/user-1/\x01ser-1/r . $good, n => 2) ],
    [ 400, 204 ], 'a refused one, then a good one';
is_deeply [ statuses("GET $path HTTP/1.1\r\n$fields\r\n$good", n => 2) ],
    [ 405, 204 ], 'an unknown method, then a good one';

# --- Expect

my $socket = connect_to($t->port);
syswrite $socket, "POST $path HTTP/1.1\r\n${fields}Content-Length: $length\r\n"
    . "Expect: 100-continue\r\n\r\n";
my $interim = '';
IO::Select->new($socket)->can_read(2 * $t->{slow})
    and sysread $socket, $interim, 1000;
is $interim, "HTTP/1.1 100 Continue\r\n\r\n", '100 before the body';
syswrite $socket, $body;
is read_answer($socket, time() + 5 * $t->{slow}, 'POST')->status, 204,
    'and 204 after it';

# nginx tells everybody to go on before it reads or discards a body.
is_deeply [ grep { $_ != 100 } statuses("POST $path HTTP/1.1\r\nHost: a\r\n"
    . "Content-Type: application/json\r\nContent-Length: $length\r\n"
    . "Expect: 100-continue\r\n\r\n", n => 1) ], [ 401 ],
    'who is refused anyway need not send it';

# --- request targets and methods

is_deeply [ statuses($good =~ s{POST /}{POST http://gateway.test/}r, n => 1) ],
    [ 204 ], 'absolute form';
is_deeply [ statuses($good =~ s{POST /}{POST http://evil.test/}r, n => 1) ],
    [ 204 ], 'with another host';
my ($last) = reverse $sandbox->revokes;
is $last->{headers}{host}, '127.0.0.1:' . $sandbox->https_port,
    'which goes nowhere';

for my $case ([ 'GET', 405 ], [ 'HEAD', 405 ], [ 'OPTIONS', 405 ],
    [ 'PUT', 405 ], [ 'DELETE', 405 ], [ 'PATCH', 405 ], [ 'TRACE', 405 ],
    [ 'CONNECT', '40[05]' ], [ 'PROPFIND', 405 ], [ 'post', 400 ],
    [ 'POSTX', '40[05]' ])
{
    my ($method, $wanted) = @$case;
    my ($status) = statuses($good =~ s/^POST/$method/r, n => 1);
    like $status || 0, qr/^$wanted$/, "$method: " . ($status || 'none');
}
my $answer = raw_http($t->port, "HEAD $path HTTP/1.1\r\n$fields"
    . "Connection: close\r\n\r\n");
is $answer->header('Allow'), 'POST', 'HEAD: Allow, and no body';
is $answer->error, '', 'as HTTP has it';

# --- chunks

sub chunked {
    my ($chunks, $more) = @_;
    return "POST $path HTTP/1.1\r\n${fields}" . ($more || '')
        . "Transfer-Encoding: chunked\r\n\r\n$chunks";
}
my $first = substr $body, 0, 5;
my $rest = substr $body, 5;
my $hex = sprintf '%x', length $rest;

$seen = seen();
for my $case (
    [ 'two chunks', "5\r\n$first\r\n$hex\r\n$rest\r\n0\r\n\r\n" ],
    [ 'extensions', "5;a=b\r\n$first\r\n$hex;c;d=\"e;f\"\r\n$rest\r\n0;x\r\n\r\n" ],
    [ 'trailers', "5\r\n$first\r\n$hex\r\n$rest\r\n0\r\nX-Caller: other\r\n"
        . "Authorization: Bearer x\r\n\r\n" ],
    [ 'leading zeros', "0005\r\n$first\r\n00$hex\r\n$rest\r\n000\r\n\r\n" ],
) {
    my ($name, $chunks) = @$case;
    is_deeply [ statuses(chunked($chunks) . $good, n => 2) ], [ 204, 204 ],
        "chunked, $name, and another request";
}
is seen(), $seen + 8, 'each seen once';
my ($before) = (reverse $sandbox->revokes)[1];
is $before->{body}, $body, 'as the same body';
is $before->{headers}{'content-length'}, $length, 'with its length';
ok !exists $before->{headers}{'transfer-encoding'}, 'and not chunked';
is_deeply [ grep { $_->{caller} ne 'suite' && $_->{caller} ne 'curl'
    && $_->{caller} ne 'tester' } intents() ], [], 'a trailer names no caller';

$seen = seen();
for my $case (
    [ 'no number', "x\r\n$body\r\n0\r\n\r\n" ],
    [ 'a negative number', "-5\r\n$first\r\n0\r\n\r\n" ],
    [ 'a sign', "+5\r\n$first\r\n0\r\n\r\n" ],
    [ '0x', "0x14\r\n$body\r\n0\r\n\r\n" ],
    [ 'a huge number', "ffffffffffffffffff\r\n$body\r\n0\r\n\r\n" ],
    [ 'a short chunk', "4\r\n$first\r\n$hex\r\n$rest\r\n0\r\n\r\n" ],
) {
    my ($name, $chunks) = @$case;
    my @got = statuses(chunked($chunks) . $good, seconds => 0.4);
    is_deeply [ grep { $_ == 204 } @got ], [], "chunked, $name: @got";
}
is_deeply [ grep { $_ != 400 } statuses(chunked("14\r\n$body\r\n"),
    shutdown => 1) ], [], 'no last chunk';
is seen(), $seen, 'none of them forwarded';

# --- one request or two

$seen = seen();
my $smuggled = $good =~ s/user-1/user-9/r;
for my $case (
    [ 'two lengths', "Content-Length: $length\r\nContent-Length: 0\r\n", $body ],
    [ 'the same length twice', "Content-Length: $length\r\n" x 2, $body ],
    [ 'a list of lengths', "Content-Length: $length, $length\r\n", $body ],
    [ 'a length with a sign', "Content-Length: +$length\r\n", $body ],
    [ 'a negative length', "Content-Length: -1\r\n", $body ],
    [ 'a hexadecimal length', "Content-Length: 0x14\r\n", $body ],
    [ 'a huge length', "Content-Length: 99999999999999999999\r\n", $body ],
    [ 'length and chunked', "Content-Length: $length\r\n"
        . "Transfer-Encoding: chunked\r\n", "0\r\n\r\n" ],
    [ 'chunked and length', "Transfer-Encoding: chunked\r\n"
        . "Content-Length: 4\r\n", "14\r\n$body\r\n0\r\n\r\n" ],
    [ 'chunked twice', "Transfer-Encoding: chunked\r\n" x 2,
        "14\r\n$body\r\n0\r\n\r\n" ],
    [ 'chunked, identity', "Transfer-Encoding: chunked, identity\r\n",
        "14\r\n$body\r\n0\r\n\r\n" ],
    [ 'xchunked', "Transfer-Encoding: xchunked\r\n",
        "14\r\n$body\r\n0\r\n\r\n" ],
    [ 'a vertical tab', "Transfer-Encoding: \x0bchunked\r\n",
        "14\r\n$body\r\n0\r\n\r\n" ],
    [ 'gzip', "Transfer-Encoding: gzip\r\n", $body ],
    [ 'a blank before the colon', "Transfer-Encoding : chunked\r\n"
        . "Content-Length: 4\r\n", "14\r\n$body\r\n0\r\n\r\n" ],
    [ 'a folded line', "X-A: b\r\n Transfer-Encoding: chunked\r\n", $body ],
    [ 'a NUL in a field', "X-A: b\0c\r\nContent-Length: $length\r\n", $body ],
    [ 'two hosts', "Host: other.test\r\nContent-Length: $length\r\n", $body ],
) {
    my ($name, $framing, $content) = @$case;
    my @got = statuses("POST $path HTTP/1.1\r\n$fields$framing\r\n$content"
        . $smuggled, seconds => 0.4);
    is_deeply [ grep { $_ == 204 } @got ], [],
        "$name: " . (@got ? "@got" : 'closed');
}
is seen(), $seen, 'none of them forwarded, nor what came behind them';

# --- large headers

$seen = seen();
my $large = 'x' x 7000;
is_deeply [ statuses($good =~ s/\r\n/\r\nX-Large: $large\r\n/r, n => 1) ],
    [ 204 ], 'a header of 7 kB';
is_deeply [ statuses($good =~ s/\r\n/\r\nX-Large: $large$large\r\n/r, n => 1) ],
    [ 400 ], 'of 14 kB';
my $many = join '', map { "X-$_: y\r\n" } 1 .. 900;
is_deeply [ statuses($good =~ s/\r\n/\r\n$many/r, n => 1) ], [ 204 ],
    '900 headers';
is_deeply [ statuses($good =~ s/suite/$large/r, n => 1) ], [ 204 ],
    'a caller of 7 kB';
is seen(), $seen + 3, 'three of them forwarded';
is_deeply [ grep { $_->{headers}{cookie} || length $_->{headers}{host} > 40 }
    $sandbox->revokes ], [], 'without what they brought';

# --- what callers put into their names

$seen = seen();
my $first_record = () = $t->records;
my @names = ('a","type":"close","x":"', "tab\there", 'back\\slash', '%0d%0aX: y',
    "\xff\xfe\xc3", "\xc3\xa9", "\xe2\x80\xa8", '<script>', "\x7f", "\x1b[31m",
    '${jndi:ldap://x}', "'; drop table");
for my $name (@names) {
    my ($status) = statuses($good =~ s/suite/$name/r, n => 1);
    like $status || 0, qr/^(?:204|400)$/, 'a caller with '
        . join('', map { /[ -~]/ ? $_ : sprintf '\\x%02x', ord } split //, $name)
        . ': ' . ($status || 'none');
}
my @injected = statuses($good =~ s/suite/suite\r\nX-Request-ID: mine/r, n => 1);
is_deeply \@injected, [ 204 ], 'a request id of the caller\'s';
($last) = reverse $sandbox->revokes;
like $last->{headers}{'x-request-id'}, qr/^[0-9a-f]{32}$/, 'is not used';

my @records = $t->records;
@records = @records[$first_record .. $#records];
is scalar(grep { $_->{type} !~ /^(?:intent|outcome)$/ } @records), 0,
    'no name makes a record';
my %caller = map { $_->{caller} => 1 } grep { $_->{type} eq 'intent' } @records;
ok $caller{'a","type":"close","x":"'}, 'a quoted name is recorded as it is';
ok $caller{"\x{e9}"}, 'UTF-8 too';
is scalar(grep { $_->{_line} =~ /[\x00-\x1f\x7f]/ } @records), 0,
    'no control character is in a record';

my @wrong = $t->write_ahead;
is_deeply \@wrong, [], 'all that was seen was announced';
is $t->revoke('user-1')->status, 204, 'the gateway goes on';

done_testing;
