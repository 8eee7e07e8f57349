#!/usr/bin/perl
# The audit trail: what each record says, and that nothing is forwarded that
# could not be written down.

use lib 't/lib';
use TSFace::Test;
use Digest::SHA 'hmac_sha256_hex';

my $t = TSFace::Test->new;

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    tsface_audit_trail plain {
        file       %%DIR%%/trail/plain.jsonl;
        key        file:%%DIR%%/secrets/audit.key;
        user_id    plain;
        durability write;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        tsface_caller $http_x_caller;

        location / {
            tsface_pass  sandbox;
            tsface_audit trail;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        server_name plain.test;
        tsface_caller $http_x_caller;
        tsface_audit plain;
        location / { tsface_pass sandbox; }
    }

    server {
        listen 127.0.0.1:%%PORT_2%%;
        tsface_caller $http_x_caller;
        tsface_audit off;
        location / { tsface_pass sandbox; }
    }
}
END

my $key = $t->read_file('secrets/audit.key');
my $sandbox = $t->sandbox;

# --- a success

my $answer = $t->revoke('user-1', caller => 'CN=payments');
is $answer->status, 204, 'revoked';
my $id = $answer->header('X-TSFace-Request-ID');

my @records = $t->records(request_id => $id);
is_deeply [ map { $_->{type} } @records ], [qw(intent outcome)],
    'an intent, then an outcome';
my ($intent, $outcome) = @records;

my ($open) = $t->records(type => qr/open/);
ok $open, 'the trail says when it was opened';

is $intent->{caller}, 'CN=payments', 'caller';
is $intent->{operation}, 'face.revoke', 'operation';
is $intent->{credentials}, 'sandbox', 'credentials';
is $intent->{trail}, 'trail', 'trail';
is $intent->{attempt}, 1, 'attempt';
is $intent->{client_addr}, '127.0.0.1', 'client_addr';
is $intent->{method}, 'POST', 'method';
is $intent->{uri}, '/v1/users/face/revoke', 'uri';
is $intent->{endpoint}, '127.0.0.1:' . $sandbox->https_port, 'endpoint';
is_deeply $intent->{user}, { hmac => hmac_sha256_hex("tsface user\0user-1",
    $key) }, 'the user is a keyed digest';
ok !exists $intent->{status}, 'an intent knows no status';
like $intent->{host}, qr/./, 'host';
like $intent->{pid}, qr/^\d+$/, 'pid';

is $outcome->{result}, 'success', 'result';
is $outcome->{upstream_status}, 204, 'upstream_status';
is $outcome->{status}, 204, 'status';
ok $outcome->{sent}, 'sent';
is $outcome->{upstream_addr}, '127.0.0.1:' . $sandbox->https_port,
    'upstream_addr';
like $outcome->{duration_ms}, qr/^\d+$/, 'duration_ms';
is $outcome->{token}{kind}, 'credentials', 'token kind';
like $outcome->{token}{fingerprint}, qr/^[0-9a-f]{16}$/, 'token fingerprint';
like $outcome->{token}{generation}, qr/^\d+$/, 'token generation';

# --- members, me, denials

$answer = $t->revoke(undef, json => { user_id => 'user-1', reason => 'lost',
    extra => [ 1 ] });
($intent) = $t->records(request_id => $answer->header('X-TSFace-Request-ID'));
is_deeply [ sort @{ $intent->{members} } ], [qw(extra reason)],
    'other members are named';

my $token = $sandbox->user_token('user-2');
$answer = $t->revoke_me($token);
($intent, $outcome) = $t->records(
    request_id => $answer->header('X-TSFace-Request-ID'));
is $intent->{operation}, 'face.revoke_me', 'me: operation';
is $outcome->{token}{kind}, 'caller', 'me: token kind';
is $outcome->{token}{fingerprint},
    substr(hmac_sha256_hex("tsface token\0$token", $key), 0, 16),
    'me: fingerprint';
is_deeply $intent->{token}, $outcome->{token}, 'me: as in its intent';

$answer = $t->revoke('no-such-user');
is $answer->status, 404, 'denied';
(undef, $outcome) = $t->records(
    request_id => $answer->header('X-TSFace-Request-ID'));
is $outcome->{result}, 'denied', 'a 404 is denied';
is $outcome->{upstream_status}, 404, 'upstream_status';

# --- refusals

my @refusals = (
    [ 'no_caller', 401, sub { $t->revoke('user-1', caller => undef) } ],
    [ 'unknown_path', 404, sub { $t->revoke('user-1', target => '/x') } ],
    [ 'method', 405, sub { http($t->port, 'GET', '/v1/users/face/revoke',
        headers => [ 'X-Caller', 'a' ]) } ],
    [ 'query', 400, sub { $t->revoke('u', target => '/v1/users/face/revoke?x') } ],
    [ 'user_id_empty', 400, sub { $t->revoke('') } ],
    [ 'body_not_json', 400, sub { $t->revoke(undef, body => '{',
        headers => [ 'Content-Type', 'application/json' ]) } ],
    [ 'no_bearer', 401, sub { $t->revoke_me(undef) } ],
);
for my $row (@refusals) {
    my ($reason, $status, $send) = @$row;
    $answer = $send->();
    is $answer->status, $status, "$reason: $status";
    $id = $answer->header('X-TSFace-Request-ID');
    @records = $t->records(request_id => $id);
    is_deeply [ map { "$_->{type} $_->{reason} $_->{status}" } @records ],
        [ "refusal $reason $status" ], 'one refusal record';
}

# --- a caller can't forge a line

$answer = $t->revoke('user-1', caller => "a\",\"type\":\"outcome\"\\\xff\xe2\x80\xa8");
is $answer->status, 204, 'a strange caller';
($intent) = $t->records(request_id => $answer->header('X-TSFace-Request-ID'));
is $intent->{type}, 'intent', 'stays within its member';
like $intent->{caller}, qr/^a","type":"outcome"\\/, 'which says it';

# --- plain user ids; no trail

$answer = $t->revoke('user-1', port => $t->port(1), headers => [ Host => 'plain.test' ]);
is $answer->status, 204, 'plain';
my $plain = $t->dir . '/trail/plain.jsonl';
($intent) = $t->records(file => $plain, type => qr/intent/);
is_deeply $intent->{user}, { plain => 'user-1' }, 'the user is named';
is $intent->{server}, 'plain.test', 'server';

my $n = () = $t->records;
is $t->revoke('user-1', port => $t->port(2))->status, 204, 'audit off';
is scalar(() = $t->records), $n, 'leaves no record';

my @all = $t->records;
is_deeply [ map { $_->{seq} } @all ],
    [ $all[0]{seq} .. $all[0]{seq} + $#all ], 'seq has no gap';
unlike $t->read_file('trail/trail.jsonl'), qr/user-[12]|\Q$token\E/,
    'no user id and no token in the trail';

done_testing;
