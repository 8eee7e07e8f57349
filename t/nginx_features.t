#!/usr/bin/perl
# What else nginx.conf can say around tsface_pass: if blocks, limit_except,
# error pages and other internal redirects, subrequests, mirrors, gzip, odd
# forms of requests.  Nothing of it skips a check or brings a worker down.

use lib 't/lib';
use TSFace::Test;
use IO::Select;

my $t = TSFace::Test->new(workers => 1);
my $sandbox = $t->sandbox;

my $pass = <<'END';
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
END

my %server = (
    plain => "location / { $pass }",
    if => "location / { $pass if (\$http_x_if) { set \$x 1; } }",
    limit_except => "location / { $pass limit_except POST { allow all; } }",
    error_page => "error_page 400 404 405 413 500 /error.html; location / { $pass }",
    error_named => "error_page 400 413 500 = \@again; location / { $pass }\n"
        . "location \@again { $pass }",
    error_proxy => "error_page 400 413 = \@out; location / { $pass }\n"
        . "location \@out { proxy_pass http://127.0.0.1:1; }",
    post_action => "post_action /after; location / { $pass }",
    named => "location / { try_files /nowhere \@gateway; }\n"
        . "location \@gateway { $pass }",
    regex => "location ~ ^/v1/(users)/face { $pass }",
    nested => "location /v1/ { $pass location /v1/users/ { $pass } }",
    rewrite => "location / { rewrite ^/x(/.*) \$1 last; $pass }",
    satisfy => "location / { satisfy any; deny all; auth_basic x;"
        . " auth_basic_user_file %%DIR%%/conf/htpasswd; $pass }",
    auth_request => "location / { auth_request /auth; $pass }\n"
        . "location = /auth { internal; return 204; }",
    auth_into => "location / { auth_request /v1/users/face/revoke;"
        . " root %%DIR%%; }\n location /v1/ { $pass }",
    ssi => "location / { root %%DIR%%/conf; ssi on; }\n location /v1/ { $pass }",
    ssi_self => "location / { ssi on; ssi_types *; $pass }",
    mirror => "location / { mirror /copy; $pass }\n"
        . "location = /copy { internal; return 204; }",
    mirror_off => "location / { mirror /copy; mirror_request_body off; $pass }\n"
        . "location = /copy { internal; return 204; }",
    mirror_into => "location / { mirror /copy; return 204; }\n"
        . "location = /copy { internal; $pass }",
    gzip => "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;"
        . " location / { $pass }",
    in_file => "client_body_in_file_only on; location / { $pass }",
    in_file_clean => "client_body_in_file_only clean; location / { $pass }",
    small_buffer => "client_body_buffer_size 16; client_max_body_size 10;"
        . " location / { $pass }",
    one_buffer => "client_body_in_single_buffer on; location / { $pass }",
    lingering => "lingering_close always; location / { $pass }",
    log_subrequest => "log_subrequest on; location / { $pass }",
    headers => "large_client_header_buffers 2 1k; client_header_buffer_size 256;"
        . " location / { $pass }",
);

my %port;
my $n = 0;
$port{$_} = $t->port($n++) for sort keys %server;
my $h2 = $t->port($n);

$t->write_file('conf/htpasswd', "u:{PLAIN}p\n");
$t->write_file('conf/index.html',
    'a<!--# include virtual="/v1/users/face/revoke" -->b');

$t->start(join "\n", <<'END', (map { <<"END" } sort keys %server), '}');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%
END
    server {
        listen 127.0.0.1:$port{$_};
        @{[ $_ eq 'plain' ? "listen 127.0.0.1:$h2 http2;" : '' ]}
        $server{$_}
    }
END

my ($worker) = $t->workers;

sub call {
    my ($name, %o) = @_;
    return $t->revoke($o{user} || 'user-1', port => $port{$name}, %o);
}

# A response for which bytes; the connection's fate is not looked at.
sub raw { my ($name, $bytes) = @_; return raw_http($port{$name}, $bytes) }

sub recorded {
    my ($answer, @types) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply [ map { $_->{type} } $t->records(request_id =>
        $answer->header('X-TSFace-Request-ID') || 'none') ], \@types,
        "recorded: @types";
}

my %skip = map { $_ => 1 } qw(auth_into ssi mirror_into satisfy);
for my $name (grep { !$skip{$_} } sort keys %server) {
    my $answer = call($name);
    is $answer->status, 204, $name or diag $answer->body;
    recorded($answer, qw(intent outcome));

    $answer = call($name, headers => [ 'X-If', 1 ], body => '{"user_id":5}',
        headers => [ 'X-If', 1, 'Content-Type', 'application/json' ]);
    is $answer->status, 400, "$name: refused" or diag $answer->body;
    recorded($answer, qw(refusal));

    # a body that breaks off its framing after the refusal is due
    my $bad = "POST /v1/nothing HTTP/1.1\r\nHost: x\r\nX-Caller: a\r\n"
        . "X-If: 1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    $answer = raw($name, $bad);
    ok $answer->status =~ /^4|50/, "$name: broken body: " . $answer->status;
    $bad =~ s/nothing/users\/face\/revoke/;
    $bad =~ s/Transfer/Content-Type: application\/json\r\nTransfer/;
    $answer = raw($name, $bad);
    ok $answer->status =~ /^4|50/, "$name: broken body: " . $answer->status;
    $answer = call($name, chunks => [ ('x' x 65536) x 20 ],
        headers => [ 'Content-Type', 'application/json', 'X-If', 1 ]);
    ok $answer->status =~ /^413|50\d|0/, "$name: 1.3 MB: " . $answer->status
        . $answer->error;

    $answer = http($port{$name}, 'GET', '/v1/users/face/revoke',
        headers => [ 'X-Caller', 'a', 'X-If', 1 ]);
    is $answer->status, 405, "$name: GET";
}

# --- one request is one transaction, whatever leads back here

my $id = call('post_action')->header('X-TSFace-Request-ID');
sleep 0.1;
is scalar(() = $t->records(request_id => $id)), 2, 'post_action adds nothing';
my $token = $sandbox->user_token('user-7');
$n = () = $sandbox->revokes;
is $t->revoke_me($token, port => $port{post_action})->status, 204, 'revoke_me';
sleep 0.1;
is scalar(() = $sandbox->revokes), $n + 1, 'is forwarded once';
like $t->error_log, qr/redirected to itself.*client: 127/,
    'and the error log keeps what core adds';

# --- subrequests that lead here forward nothing

$n = () = $sandbox->revokes;
is call('auth_into', target => '/index.html')->status, 500, 'auth_request to a gateway: 500';
is call('mirror_into')->status, 204, 'mirror to a gateway';
is http($port{ssi}, 'GET', '/index.html', headers => [ 'X-Caller', 'a' ])
    ->status, 200, 'SSI that includes a gateway';
is scalar(() = $sandbox->revokes), $n, 'nothing is forwarded';

is call('satisfy')->status, 401, 'satisfy any, neither';
is call('satisfy', headers => [ 'Authorization', 'Basic dTpw' ])->status, 204,
    'satisfy any, a password';

# --- forms of requests

my $json = '{"user_id":"user-1"}';
my $head = "Host: x\r\nX-Caller: a\r\nContent-Type: application/json\r\n"
    . "Content-Length: " . length($json) . "\r\n";
my $path = '/v1/users/face/revoke';

for my $row (
    [ 'HTTP/1.0', "POST $path HTTP/1.0\r\n$head\r\n$json", 204 ],
    [ 'absolute form', "POST http://other$path HTTP/1.1\r\n$head"
        . "Connection: close\r\n\r\n$json", 204 ],
    [ 'absolute form, nothing', "POST http://other HTTP/1.1\r\n$head"
        . "Connection: close\r\n\r\n$json", 404 ],
    [ 'HEAD', "HEAD $path HTTP/1.1\r\n$head\r\n$json", 405 ],
    [ 'CONNECT', "CONNECT x:80 HTTP/1.1\r\n$head\r\n$json", '40[05]' ],
    [ 'OPTIONS', "OPTIONS * HTTP/1.1\r\n$head\r\n$json", 400 ],
    [ 'two lengths', "POST $path HTTP/1.1\r\n${head}Content-Length: 3\r\n\r\n"
        . $json, 400 ],
    [ 'length and chunks', "POST $path HTTP/1.1\r\n$head"
        . "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 ],
    [ 'dripped', [ split /(?<=.)/s, "POST $path HTTP/1.1\r\n$head"
        . "Connection: close\r\n\r\n$json" ], 204, pause => 0.002 ],
    [ 'Expect', "POST $path HTTP/1.1\r\n${head}Expect: 100-continue\r\n"
        . "Connection: close\r\n\r\n$json", 204 ],
) {
    my ($name, $bytes, $status, %o) = @$row;
    my $answer = raw_http($port{plain}, $bytes, %o);
    like $answer->status, qr/^(?:$status)$/, $name or diag $answer->error;
}

my $answer = raw_http($port{plain}, [ "POST $path HTTP/1.1\r\n$head"
    . "Expect: 100-continue\r\nConnection: close\r\n\r\n", $json ],
    pause => 0.2);
is $answer->status, 204, 'Expect, and a client that waits';
is $answer->{interim}, 1, 'is told to go on';

is call('headers', headers => [ 'X-Long', 'x' x 900 ])->status, 204,
    'large headers';
is call('headers', headers => [ 'X-Long', 'x' x 1100 ])->status, 400,
    'too large headers';

# A refusal's unread body is not the next request; pipelined ones are.
for my $first ([ "/v1/nothing", 404 ], [ "$path?x", 400 ], [ $path, 204 ]) {
    my $socket = connect_to($port{plain});
    my $smuggled = "POST /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    my $head = "Host: x\r\nX-Caller: a\r\nContent-Type: application/json\r\n";
    my $body = $first->[1] == 204 ? $json . ' ' x 20000 : $smuggled x 50;
    syswrite $socket, join '', map {
        "POST $_ HTTP/1.1\r\n${head}Content-Length: " . length($body)
        . "\r\n\r\n$body" } ($first->[0]) x 3;
    my $bytes = '';
    my $end = time() + 1.5;
    while (time() < $end && (() = $bytes =~ /^HTTP/mg) < 4) {
        IO::Select->new($socket)->can_read(0.2) or next;
        sysread $socket, $bytes, 65536, length $bytes or last;
    }
    is_deeply [ $bytes =~ m{^HTTP/1.1 (\d+)}mg ], [ ($first->[1]) x 3 ],
        "three pipelined, $first->[0]";
}

# --- HTTP/2

for my $row ([ $path, $json, 204 ], [ $path, '{}', 400 ], [ '/x', $json, 404 ],
    [ $path, '{"user_id":"' . 'x' x 300000 . '"}', 413 ],
    [ $path, '{"user_id":"' . 'x' x 3000000 . '"}', 413 ])
{
    my ($target, $body, $status) = @$row;
    my $file = $t->write_file('tmp/body', $body);
    my (undef, $out) = $t->run(10, 'curl', '-s', '--http2-prior-knowledge',
        '-o', '/dev/null', '-w', '%{http_code}', '-H', 'X-Caller: a', '-H',
        'Content-Type: application/json', '--data-binary', "\@$file",
        "http://127.0.0.1:$h2$target");
    # curl 7.88 takes the reset that ends an upload nobody reads for an error
    is $out, $status, "HTTP/2 $target, " . length($body) . ' bytes'
        if $status != 413;
}

my @refused = $t->records(type => qr/refusal/);
is_deeply [ map { $_->{reason} } @refused[-2, -1] ], [ ('body_too_large') x 2 ],
    'large ones are recorded';

is_deeply [ $t->workers ], [ $worker ], 'the worker lives';
done_testing;
