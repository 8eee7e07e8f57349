#!/usr/bin/perl
# What a configuration takes is given back with it: the master's memory does
# not grow from reload to reload.  TSFACE_TEST_LONG=1: 2000 instead of 200.

use lib 't/lib';
use TSFace::Test;

plan(skip_all => 'sanitizers and valgrind keep what is freed')
    if $ENV{TSFACE_SANITIZE} || $ENV{TSFACE_TEST_VALGRIND};

my $hups = $ENV{TSFACE_TEST_LONG} ? 2000 : 200;
my $t = TSFace::Test->new(workers => 1, timeout => 60 + $hups);

# Two tenants, two trails, CA bundle and limits: all that hangs on memory
# which is not the pool's.
$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    %%CREDENTIALS%%

    tsface_credentials other {
        region        eu;
        client_id     other;
        client_secret file:%%DIR%%/secrets/client.secret;
        parameter     a b;
    }

    tsface_audit_trail second {
        file %%DIR%%/trail/second.jsonl;
        key  file:%%DIR%%/secrets/audit.key;
    }

    tsface_limit_zone $tsface_caller zone=caller:1m rate=100r/s burst=100;
    resolver 127.0.0.1:9;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            tsface_limit  zone=caller;
        }
        location /other/ {
            tsface_pass   other;
            tsface_caller anonymous;
            tsface_audit  second;
        }
    }
}
END

# Kilobytes.
sub rss {
    $t->wait_for(sub { $t->workers == 1 }, 10);
    my ($rss) = $t->read_file('/proc/' . $t->master . '/status')
        =~ /^VmRSS:\s*(\d+) kB/m;
    return $rss;
}

sub descriptors { return scalar(() = glob '/proc/' . $t->master . '/fd/*') }

is $t->revoke('user-1')->status, 204, 'revoked';

# The allocator's own need settles in the first of them.
$t->reload(undef, wait => 0) for 1 .. $hups / 5;
my ($before, $fds) = (rss(), descriptors());
$t->reload(undef, wait => 0) for 1 .. $hups - $hups / 5;
my ($after, $fds_after) = (rss(), descriptors());

is $t->revoke('user-1')->status, 204, "and after $hups reloads";
cmp_ok $after - $before, '<', 1024,
    "the master's memory: $before kB, then $after kB";
# A channel to a worker is closed when its end has been noticed.
cmp_ok $fds_after, '<=', $fds + 8, 'and its descriptors';
is scalar(() = $t->sandbox->exchanges), 1, 'one exchange for all of them';
is scalar(() = $t->workers), 1, 'no worker stays behind';

done_testing;
