#!/usr/bin/perl
# tsface_status: JSON, nothing secret, same in all workers.

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
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
        location = /tsface/status {
            tsface_status;
            allow 127.0.0.1;
            deny  all;
        }
    }
}
END

is $t->revoke('user-1')->status, 204, 'revoked' for 1 .. 5;

my $answer = http($t->port, 'GET', '/tsface/status');
push @{ $t->{answers} }, $answer;
is $answer->status, 200, 'status';
like $answer->header('Content-Type'), qr{^application/json}, 'JSON';
is ref $answer->json, 'HASH', 'it is' or diag $answer->body;
like $answer->body, qr/sandbox/, 'names the credentials';
note $answer->body;

my $status = $answer->json;
my $credentials = $status->{credentials}[0];
is $credentials->{state}, 'ready', 'ready';
cmp_ok abs($credentials->{serves_for_ms} - $credentials->{expires_in_ms}), '<',
    100, 'can serve until the token expires';
is $credentials->{exchange_latency_ms}{count}, 1, 'one exchange was timed';
is $credentials->{exchange_latency_ms}{buckets}{10000}, 1, 'in a bucket';
is $credentials->{waiting}, 0, 'nobody waits';
is $status->{zone}{name}, 'tsface', 'zone';
cmp_ok $status->{zone}{free}, '>', 0, 'some of it is free';
cmp_ok $status->{zone}{free}, '<', $status->{zone}{size}, 'not all';
is_deeply $status->{requests}, { total => 5, success => 5, denied => 0,
    error => 0, unknown => 0, refused => 0, replays => 0, unrecorded => 0,
    summarised => 0 },
    'requests';
my %operation = map { $_->{name} => $_ } @{ $status->{operations} };
is join(' ', sort keys %operation), 'face.revoke face.revoke_me none',
    'operations';
is_deeply $operation{'face.revoke'}{results}, { success => 5, denied => 0,
    error => 0, unknown => 0, refused => 0 }, 'results of one';
is $operation{'face.revoke'}{upstream_latency_ms}{count}, 5, 'and latency';
my $sum = 0;
$sum += $_ for values %{ $status->{refusals} };
is $sum, 0, 'no refusals';

is http($t->port, 'HEAD', '/tsface/status')->status, 200, 'HEAD';
is http($t->port, 'POST', '/tsface/status', body => 'x')->status, 405, 'POST';

# --- with a replay a request is counted once, by how it ended

my $sandbox = $t->sandbox;
$t->allow(qr/was rejected by the endpoint/);
$sandbox->fault(kind => 'status', path => 'revoke', status => 401, count => 1);
is $t->revoke('user-6', timeout => 20)->status, 204, 'replayed';
$status = http($t->port, 'GET', '/tsface/status')->json;
%operation = map { $_->{name} => $_ } @{ $status->{operations} };
is $status->{requests}{replays}, 1, 'one replay';
is $status->{requests}{denied}, 1, 'attempts: the first was denied';
is_deeply $operation{'face.revoke'}{results}, { success => 6, denied => 0,
    error => 0, unknown => 0, refused => 0 }, 'requests: it succeeded';
is $operation{'face.revoke'}{upstream_latency_ms}{count}, 7,
    'both attempts were timed';

done_testing;
