#!/usr/bin/perl
# Workers read the clock once in a turn of their event loops, so one may be
# behind the one that has just fetched a token: its age is 0 then, no huge
# number.  timer_resolution makes them lag far enough to see it.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 4,
    globals => 'timer_resolution 700ms;');

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    log_format age "age=$tsface_token_age";
    %%ZONE%%
    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        min_interval 1ms;
    }
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location = /json       { tsface_status json; }
        location = /prometheus { tsface_status prometheus; }
        location / {
            tsface_pass   sandbox;
            tsface_caller anonymous;
            tsface_audit  off;
            access_log    %%DIR%%/logs/age.log age;
        }
    }
}
END

my @odd;
for my $round (1 .. 25) {
    $t->sandbox->revoke_tokens;
    $t->revoke('user-1') for 1 .. 3;
    for (1 .. 8) {
        my $json = http($t->port, 'GET', '/json')->json;
        my $age = $json->{credentials}[0]{age_ms} // 0;
        push @odd, "age_ms $age" if $age < 0 || $age > 60_000;
        push @odd, $1 if http($t->port, 'GET', '/prometheus')->body
            =~ /^(tsface_token_age_seconds\S+ (?:-|\d{3}).*)/m;
    }
}
push @odd, grep { /\d{3}/ } split /\n/, $t->read_file('logs/age.log');
is "@odd", '', 'no token is older than the test';

done_testing;
