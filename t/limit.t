#!/usr/bin/perl
# tsface_limit_zone: per any key, exact, told to the caller, same in all workers.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 4);

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    tsface_limit_zone $tsface_caller zone=per_caller:1m rate=1r/m burst=3;
    tsface_limit_zone $server_name   zone=all:1m rate=10r/h burst=9;
    tsface_limit_zone $http_x_key    zone=fast:1m rate=30r/m;

    server {
        listen 127.0.0.1:%%PORT_0%%;

        tsface_caller $http_x_caller;
        tsface_audit  trail;
        tsface_limit  zone=per_caller;

        location / {
            tsface_pass sandbox;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        server_name two;

        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            tsface_limit  zone=per_caller;
            tsface_limit  zone=all;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_2%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            tsface_limit  zone=fast;
        }
    }
}
END

my $sandbox = $t->sandbox;

# --- 1r/m burst=3: four at once, then one each minute

my @status = map { $t->revoke('user-1', caller => 'a')->status } 1 .. 6;
is "@status", '204 204 204 204 429 429', 'burst of three on top of one';
is scalar $sandbox->revokes, 4, 'the refused were not forwarded';

my $answer = $t->revoke('user-1', caller => 'a');
is $answer->status, 429, 'the next is refused';
is $answer->problem, 'limited', 'problem';
my $retry = $answer->header('Retry-After');
ok $retry >= 30 && $retry <= 60, "Retry-After $retry";
like $answer->header('RateLimit'), qr/per_caller/, 'RateLimit';
like $answer->header('RateLimit-Policy'), qr/per_caller/, 'RateLimit-Policy';

is $t->revoke('user-1', caller => 'b')->status, 204, 'another caller is free';

my ($refusal) = $t->records(request_id =>
    $answer->header('X-TSFace-Request-ID'));
is "$refusal->{type} $refusal->{reason} $refusal->{status}",
    'refusal limited 429', 'recorded';

# --- a bad request costs nothing

$t->revoke('', caller => 'c') for 1 .. 10;
is $t->revoke('user-1', caller => 'c')->status, 204,
    'what is refused before the limit does not count';

# --- two limits: all or nothing

@status = map { $t->revoke('user-1', caller => 'd', port => $t->port(1))->status }
    1 .. 6;
is "@status", '204 204 204 204 429 429', 'the caller\'s limit';
@status = map { $t->revoke('user-1', caller => "e$_", port => $t->port(1))->status }
    1 .. 8;
is "@status", '204 204 204 204 204 204 429 429',
    'ten of all callers, the refused not counted';

# --- an empty key is exempt; a reload keeps what was counted

@status = map { $t->revoke('user-1', port => $t->port(2))->status } 1 .. 5;
is "@status", '204 204 204 204 204', 'no key, no limit';

$t->reload;
is $t->revoke('user-1', caller => 'a')->status, 429, 'still limited after HUP';

# --- one each two seconds recovers

my @header = (headers => [ 'X-Key', 'k' ], port => $t->port(2));
is $t->revoke('user-1', @header)->status, 204, 'one';
is $t->revoke('user-1', @header)->status, 429, 'two';
sleep 2.1;
is $t->revoke('user-1', @header)->status, 204, 'a moment later';

done_testing;
