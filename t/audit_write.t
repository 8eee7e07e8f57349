#!/usr/bin/perl
# "durability write": nothing is synced, but a thread writes the trail all the
# same: a worker waits neither for a lock nor for a disk.

use lib 't/lib';
use TSFace::Test;

use Fcntl qw(F_SETLK F_WRLCK F_UNLCK);

my $t = TSFace::Test->new(workers => 1);
my $dir = $t->dir;

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%

    tsface_audit_trail trail {
        file       %%DIR%%/trail/trail.jsonl;
        key        file:%%DIR%%/secrets/audit.key;
        durability write;
        timeout    500ms;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        tsface_caller $http_x_caller;
        tsface_audit  trail;
        location / { tsface_pass sandbox; }
        location = /alive { return 200; }
    }
}
END

is $t->revoke('user-1')->status, 204, 'revoked';

# --- another writer holds the trail

sub lock_chain {
    my ($fh, $type) = @_;
    return fcntl $fh, F_SETLK, pack 's s x4 q q l', $type, 0, 0, 1, 0;
}

open my $chain, '+<', "$dir/trail/trail.jsonl.chain" or die;
ok $t->wait_for(sub { lock_chain($chain, F_WRLCK) }, 5),
    'the trail is locked by somebody';

$t->allow(qr/tsface/);
my $start = time;
my $answer = $t->revoke('user-2');
is $answer->status, 503, 'nothing is forwarded that is not written';
cmp_ok time - $start, '>=', 0.4, 'it waited';
cmp_ok time - $start, '<', 8, 'and not for ever';

my $alive = http($t->port(0), 'GET', '/alive');
is $alive->status, 200, 'the worker does not wait for the lock';

ok lock_chain($chain, F_UNLCK), 'unlocked';
close $chain;

is $t->revoke('user-3')->status, 204, 'revoked again';

done_testing;
