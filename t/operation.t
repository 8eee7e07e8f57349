#!/usr/bin/perl
# Which requests are operations, and what the others are told.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_1%% http2;

        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

my $sandbox = $t->sandbox;
my $face = '/v1/users/face/revoke';
my $me = '/v1/users/me/face/revoke';

sub seen { return scalar $sandbox->revokes }

# --- what is forwarded

my $answer = $t->revoke('user-1');
is $answer->status, 204, 'face.revoke';
is $answer->body, '', 'no body';
like $answer->header('X-TSFace-Request-ID'), qr/^[0-9a-f]{32}$/, 'request id';

my ($seen) = reverse $sandbox->revokes;
is $seen->{headers}{'x-request-id'}, $answer->header('X-TSFace-Request-ID'),
    'the request id goes upstream';
is $seen->{authorization}{kind}, 'client', 'with our token';

$answer = $t->revoke('user-2', headers => [ Authorization => 'Bearer stolen' ]);
is $answer->status, 204, 'a caller\'s Authorization does not matter';
($seen) = reverse $sandbox->revokes;
is $seen->{authorization}{kind}, 'client', 'and is not forwarded';

my $token = $sandbox->user_token('user-3');
$answer = $t->revoke_me($token);
is $answer->status, 204, 'face.revoke_me';
($seen) = reverse $sandbox->revokes;
is $seen->{authorization}{kind}, 'user', 'with the user\'s own token';

is $t->revoke_me('not.a.token')->status, 401,
    'a 401 to the user\'s token is relayed';
is scalar(grep { $_->{name} eq 'revoke_me' } $sandbox->log), 2,
    'and not replayed';
is $t->revoke('nobody-knows-this-user')->status, 404, 'a 404 is relayed';
is $t->revoke('user-1', chunks => [ '{"user_', 'id":"user-1"', '}' ],
    headers => [ 'Content-Type' => 'application/json' ])->status, 204,
    'chunked body';
is $t->revoke('user-1', headers => [ Expect => '100-continue' ])->status, 204,
    'Expect: 100-continue';

my $big = $t->revoke(undef, json => { user_id => 'user-1', x => 'y' x 60000 });
is $big->status, 204, 'a body of 60 KB';
($seen) = reverse $sandbox->revokes;
is length $seen->{body}, 60000 + length '{"user_id":"user-1","x":""}',
    'arrives whole';

# --- what is not

my $before = seen();

my @bad_path = (
    '/v1/users//face/revoke', '//v1/users/face/revoke',
    '/v1/users/./face/revoke', '/v1/users/x/../face/revoke',
    '/v1/users/face/revoke/.', '/v1/users/face/revoke/..',
    '/v1/users/face%2Frevoke', '/v1/users/%66ace/revoke',
    '/v1/users/me%2fface/revoke', '/v1/users/face/revoke;a=b',
    '/v1/users/me;x/face/revoke', '/v1/users/face/revoke%00',
    '/v1/users/face\\revoke', "/v1/users/f\xc3\xa4ce/revoke",
);
for my $path (@bad_path) {
    $answer = $t->revoke('user-1', target => $path);
    is $answer->status, 400, "400: $path";
}

for my $path ($face, $me) {
    $answer = $t->revoke('user-1', target => "$path?a=b");
    is $answer->status, 400, "400: $path?a=b";
    is $answer->problem, 'query', 'for its query';
    is $t->revoke('user-1', target => "$path?")->status, 400, "400: $path?";
}

for my $path ('/', '/v1/users/face/revoke/', '/v1/users/face', '/V1/users/face/revoke',
    '/v1/users/face/Revoke', '/v1/users/u1/face/revoke', '/cis/v1/users/face/revoke',
    '/v1/users/me/totp/revoke', '/_sandbox/log', '/oidc/token')
{
    $answer = $t->revoke('user-1', target => $path);
    is $answer->status, 404, "404: $path";
    is $answer->problem, 'unknown_path', 'problem';
}

for my $method (qw(GET PUT DELETE PATCH OPTIONS)) {
    for my $path ($face, $me) {
        $answer = http($t->port, $method, $path, headers => [ 'X-Caller', 'me' ]);
        is $answer->status, 405, "405: $method $path";
        is $answer->header('Allow'), 'POST', 'Allow';
        is $answer->problem, 'method', 'problem';
    }
}
$answer = http($t->port, 'HEAD', $face, headers => [ 'X-Caller', 'me' ]);
is $answer->status, 405, '405: HEAD';

my @table = (
    [ 401, 'no_bearer', 'me without a token', sub { $t->revoke_me(undef) } ],
    [ 401, 'no_bearer', 'me with another scheme', sub { $t->revoke_me(undef,
        headers => [ Authorization => 'Basic eDp5' ]) } ],
    [ 400, 'body_not_allowed', 'me with a body', sub { $t->revoke(undef,
        target => $me, body => '{}', headers => [ 'Content-Type', 'application/json',
            'Authorization', "Bearer $token" ]) } ],
    [ 411, 'length_required', 'no length', sub { http($t->port, 'POST', $face,
        headers => [ 'X-Caller', 'a', 'Content-Type', 'application/json' ]) } ],
    [ 413, 'body_too_large', '65,537 bytes', sub { $t->revoke(undef,
        body => '{"user_id":"user-1","x":"' . 'y' x (65537 - 27) . '"}',
        headers => [ 'Content-Type', 'application/json' ]) } ],
    [ 413, 'body_too_large', '100 KB in chunks', sub { $t->revoke(undef,
        chunks => [ '{"user_id":"user-1","x":"', ('y' x 10000) x 10, '"}' ],
        headers => [ 'Content-Type', 'application/json' ]) } ],
    [ 415, 'not_json', 'no type', sub { $t->revoke(undef,
        body => '{"user_id":"user-1"}') } ],
    [ 415, 'not_json', 'a form', sub { $t->revoke(undef,
        body => 'user_id=user-1', headers => [ 'Content-Type',
            'application/x-www-form-urlencoded' ]) } ],
);
for my $row (@table) {
    my ($status, $reason, $name, $send) = @$row;
    $answer = $send->();
    is $answer->status, $status, "$status: $name" or diag $answer->error;
    is $answer->problem, $reason, 'problem';
}

is seen(), $before, 'none of these reached the sandbox';

# --- the problem itself

$answer = $t->revoke('user-1', target => '/nothing');
my $problem = $answer->json;
is $answer->header('Content-Type'), 'application/problem+json', 'its type';
is_deeply [ sort keys %$problem ], [ sort qw(type title status detail
    request_id message error_code) ], 'its members';
is $problem->{type}, 'urn:tsface:problem:unknown_path', 'type';
is $problem->{status}, 404, 'status';
is $problem->{error_code}, 404, 'error_code';
is $problem->{request_id}, $answer->header('X-TSFace-Request-ID'), 'request_id';

# --- HTTP/2

my $url = 'http://127.0.0.1:' . $t->port(1);
sub curl {
    my (@arguments) = @_;
    return $t->run(15, 'curl', '-s', '--path-as-is',
        '--http2-prior-knowledge', '-H', 'X-Caller: h2', '-o', '/dev/null',
        '-w', '%{http_version} %{http_code}', @arguments);
}

my @json = ('-H', 'Content-Type: application/json', '-d');
is((curl(@json, '{"user_id":"user-1"}', "$url$face"))[1], '2 204', 'HTTP/2');
is((curl('-X', 'POST', '-H', "Authorization: Bearer $token", "$url$me"))[1],
    '2 204', 'HTTP/2 me');
is((curl(@json, '{"user_id":""}', "$url$face"))[1], '2 400',
    'HTTP/2 bad body');
is((curl(@json, '{}', "$url/v1/users/x/../face/revoke"))[1], '2 400',
    'HTTP/2 path trick');
is((curl("$url$face"))[1], '2 405', 'HTTP/2 method');

# --- kept-alive client connections

my $socket = connect_to($t->port);
for my $n (1 .. 3) {
    $answer = $t->revoke("user-$n", socket => $socket, keep => 1);
    is $answer->status, 204, "request $n of one connection";
    $answer = $t->revoke('', socket => $socket, keep => 1);
    is $answer->status, 400, 'a refusal keeps the connection';
}
close $socket;

done_testing;
