#!/usr/bin/perl
# Answers of the endpoint: relayed as they are when they are whole, 502 or 504
# and "unknown" when they are not; never asked twice.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
$t->secret('client.secret', 'the-secret-of-forward.t');

# What the endpoint does is in the user id's first word, see %act below.
my %act;
my $counter = $t->dir . '/tmp/requests';
my $endpoint = TSFace::Test::free_port();
my $token_port = $t->fake_token_server;

$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%

    tsface_credentials fake {
        endpoint        http://127.0.0.1:$endpoint/cis;
        token_endpoint  http://127.0.0.1:$token_port/oidc/token;
        client_id       fake;
        client_secret   file:%%DIR%%/secrets/client.secret;
        read_timeout    4s;
        send_timeout    4s;
        connect_timeout 4s;
        retry_after_max off;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   fake;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

sub answer_with {
    my ($bytes, %o) = @_;
    return sub {
        my ($socket) = @_;
        for my $piece (ref $bytes ? @$bytes : $bytes) {
            syswrite $socket, $piece;
            sleep($o{pause} || 0.05) if ref $bytes;
        }
        sleep 20 if $o{hang};
        return $o{keep};
    };
}

my $ok = "HTTP/1.1 200 OK\r\n";
my $mib = 1024 * 1024;

# name => [ what the endpoint does, status, result, upstream_status ]
my @rows = (
    [ relay_204 => answer_with("HTTP/1.1 204 No Content\r\n\r\n", keep => 1),
        204, 'success', 204 ],
    [ relay_200 => answer_with("${ok}Content-Length: 2\r\n"
        . "Content-Type: application/json\r\n\r\n{}", keep => 1), 200,
        'success', 200, '{}' ],
    [ relay_chunks => answer_with([ "${ok}Transfer-Encoding: chunked\r\n\r\n",
        "2\r\nab\r\n", "3;x=y\r\ncde\r\n", "0\r\n\r\n" ], keep => 1), 200,
        'success', 200, 'abcde' ],
    [ relay_dripped => answer_with([ split /(?<=.)/s,
        "${ok}Content-Length: 3\r\n\r\nabc" ], pause => 0.005, keep => 1), 200,
        'success', 200, 'abc' ],
    [ relay_100 => answer_with("HTTP/1.1 100 Continue\r\n\r\n"
        . "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        . "HTTP/1.1 204 No Content\r\n\r\n", keep => 1), 204, 'success', 204 ],
    [ relay_http10 => answer_with("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        200, 'success', 200, 'ok' ],
    [ relay_302 => answer_with("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n"
        . "Content-Length: 0\r\n\r\n", keep => 1), 302, 'denied', 302 ],
    [ relay_403 => answer_with("HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\n\r\nx",
        keep => 1), 403, 'denied', 403, 'x' ],
    [ relay_429 => answer_with("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n"
        . "Content-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>", keep => 1),
        429, 'denied', 429, '<p>' ],
    [ relay_500 => answer_with("HTTP/1.1 500 Oops\r\nContent-Length: 1\r\n\r\nx",
        keep => 1), 500, 'error', 500, 'x' ],
    [ relay_503 => answer_with("HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\nx",
        keep => 1), 503, 'error', 503, 'x' ],
    [ relay_1mib => answer_with("${ok}Content-Length: $mib\r\n\r\n" . 'x' x $mib,
        keep => 1), 200, 'success', 200, 'x' x $mib ],

    [ bad_garbage => answer_with("\x16\x03\x01 not http\r\n\r\n"), 502, 'unknown' ],
    [ bad_http09 => answer_with("hello\n"), 502, 'unknown' ],
    [ bad_status => answer_with("HTTP/1.1 999x Hm\r\n\r\n"), 502, 'unknown' ],
    [ bad_empty => answer_with(''), 502, 'unknown' ],
    [ bad_truncated => answer_with("${ok}Content-Length: 10\r\n\r\nabc"), 502,
        'unknown' ],
    [ bad_header => answer_with("${ok}Content-Le"), 502, 'unknown' ],
    [ bad_two_lengths => answer_with("${ok}Content-Length: 1\r\n"
        . "Content-Length: 2\r\n\r\nab"), 502, 'unknown' ],
    [ bad_length => answer_with("${ok}Content-Length: 1x\r\n\r\nab"), 502,
        'unknown' ],
    [ bad_negative => answer_with("${ok}Content-Length: -1\r\n\r\nab"), 502,
        'unknown' ],
    [ bad_length_and_chunks => answer_with("${ok}Content-Length: 5\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"), 502,
        'unknown' ],
    [ bad_encoding => answer_with("${ok}Transfer-Encoding: gzip\r\n\r\nab"),
        502, 'unknown' ],
    [ bad_xchunked => answer_with("${ok}Transfer-Encoding: xchunked\r\n\r\n"
        . "2\r\nab\r\n0\r\n\r\n"), 502, 'unknown' ],
    [ bad_chunk => answer_with("${ok}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        502, 'unknown' ],
    [ bad_chunk_cut => answer_with("${ok}Transfer-Encoding: chunked\r\n\r\n"
        . "5\r\nab"), 502, 'unknown' ],
    [ bad_too_large => answer_with("${ok}Content-Length: 2097152\r\n\r\n"
        . 'x' x 2097152), 502, 'unknown' ],
    [ bad_header_flood => answer_with($ok . join('', map {
        "X-H$_: " . 'y' x 1000 . "\r\n" } 1 .. 200) . "\r\n"), 502, 'unknown' ],
    [ slow_header => answer_with('', hang => 1), 504, 'unknown' ],
    [ slow_body => answer_with("${ok}Content-Length: 5\r\n\r\na", hang => 1),
        504, 'unknown' ],
);

%act = map { $_->[0] => $_->[1] } @rows;

$t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 30)) {
        my ($name) = $request->{body} =~ /"user_id":"(\w+)/;
        open my $log, '>>', $counter;
        syswrite $log, "$name\n";
        close $log;
        $act{$name}->($socket, $request) or last;
    }
}, port => $endpoint);

my %reason = (502 => qr/^upstream_(?:invalid|unreachable)$/,
    504 => qr/^upstream_timeout$/);

for my $row (@rows) {
    my ($name, undef, $status, $result, $upstream, $body) = @$row;

    subtest $name => sub {
        my $answer = $t->revoke($name, timeout => 15);
        is $answer->status, $status, 'status' or diag $answer->error;
        is $answer->body, $body, 'body' if defined $body;
        like $answer->problem, $reason{$status}, 'problem'
            if $result eq 'unknown';

        my @records = $t->records(request_id =>
            $answer->header('X-TSFace-Request-ID'));
        is_deeply [ map { $_->{type} } @records ], [qw(intent outcome)],
            'one intent, one outcome';
        my $outcome = $records[1] || {};
        is $outcome->{result}, $result, 'result';
        is $outcome->{status}, $status, 'status in the record';
        is $outcome->{upstream_status}, $upstream, 'upstream_status'
            if defined $upstream;
        is scalar(grep { $_ eq $name } split /\n/, $t->read_file($counter)), 1,
            'asked once';
    };
}

my $answer = $t->revoke('relay_429');
is $answer->header('Retry-After'), 7, 'Retry-After is relayed';
is $answer->header('Content-Type'), 'text/html', 'Content-Type is relayed';

# --- nobody there: nothing was sent

$t->stop_server($endpoint);
$answer = $t->revoke('relay_204', timeout => 15);
is $answer->status, 502, 'nobody listens: 502';
is $answer->problem, 'upstream_unreachable', 'problem';
my (undef, $outcome) = $t->records(request_id =>
    $answer->header('X-TSFace-Request-ID'));
ok !$outcome->{sent}, 'the record says that nothing was sent';

done_testing;
