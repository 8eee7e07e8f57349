#!/usr/bin/perl
# What the endpoint's gate refuses is not counted by the caller's limits: who
# comes back after an outage, as told, is let in.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 2, timeout => 60);
my $sandbox = $t->sandbox;

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        retry_after_max 20s;
    }
    tsface_limit_zone $tsface_caller zone=caller:1m rate=6r/h burst=4;
    tsface_limit_zone all            zone=all:1m    rate=6r/h burst=9;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            tsface_limit  zone=caller;
            tsface_limit  zone=all;
        }
        location = /status { tsface_status json; }
    }
}
END

sub left {
    my ($answer) = @_;
    return { $answer->header('RateLimit') =~ /"(\w+)";r=(\d+)/g };
}

is $t->revoke('user-1')->status, 204, 'revoked';
$sandbox->fault(kind => 'throttle', path => 'revoke', retry_after => 4);
my $answer = $t->revoke('user-1');
is $answer->status, 429, 'too many for the endpoint';
is_deeply left($answer), { caller => 3, all => 8 }, 'it was asked: that counts';
$sandbox->no_faults;

my @answers = map { $t->revoke('user-1') } 1 .. 8;
is join(' ', map { $_->problem } @answers), join(' ', ('endpoint_throttled') x 8),
    'nothing is sent';
is_deeply left($answers[-1]), { caller => 3, all => 8 }, 'and nothing is counted';
is $t->limit_stat($_)->{returned}, 8, "$_: given back" for qw(caller all);

my $gate = $t->gate->{paused_for_ms};
sleep $gate / 1000 + 0.05;
is join(' ', map { $t->revoke('user-1')->status } 1 .. 4), '204 204 204 429',
    'when the endpoint is back: what was left, and no more';

done_testing;
