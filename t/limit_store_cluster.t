#!/usr/bin/perl
# tsface_limit_store on a cluster: keys are in one slot, and the worker goes to
# the node that has it.

use lib 't/lib';
use TSFace::Test;
use TSFace::Store;

my $t = TSFace::Test->new(workers => 2, timeout => 120);
my @bus = map { TSFace::Test::free_port() } 1, 2;
my @nodes = map { TSFace::Store->new($t, args => [
    '--cluster-enabled', 'yes', '--cluster-port', $_,
    '--cluster-node-timeout', '60000',
    '--cluster-announce-ip', '127.0.0.1' ]) } @bus;

$nodes[0]->command('CLUSTER', 'ADDSLOTS', 0 .. 8191);
$nodes[1]->command('CLUSTER', 'ADDSLOTS', 8192 .. 16383);
$nodes[0]->command('CLUSTER', 'MEET', '127.0.0.1', $nodes[1]->port, $bus[1]);

for my $node (@nodes) {
    $t->wait_for(sub {
        $node->command('CLUSTER', 'INFO') =~ /cluster_state:ok/
            && $node->command('CLUSTER', 'INFO') =~ /cluster_known_nodes:2/
    }, 30) or die 'no cluster';
}

# Prefixes of which one is the first node's, one the second's.
my %prefix;
for my $n (1 .. 100) {
    my $slot = $nodes[0]->command('CLUSTER', 'KEYSLOT', "{fleet$n}:x");
    $prefix{ $slot < 8192 ? 0 : 1 } ||= "fleet$n";
}

my $port = $nodes[0]->port;

$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    tsface_limit_store here {
        server 127.0.0.1:$port; prefix $prefix{0}; on_failure refuse;
        timeout 1s;
    }
    tsface_limit_store there {
        server 127.0.0.1:$port; prefix $prefix{1}; on_failure refuse;
        timeout 1s;
    }

    tsface_limit_zone \$http_x_caller zone=a:1m rate=6r/h burst=5 store=here;
    tsface_limit_zone \$server_name   zone=b:1m rate=9r/h burst=8 store=here;
    tsface_limit_zone \$http_x_caller zone=c:1m rate=6r/h burst=5 store=there;
    tsface_limit_zone \$server_name   zone=d:1m rate=9r/h burst=8 store=there;

    tsface_caller \$http_x_caller;
    tsface_audit  trail;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name one;
        location / {
            tsface_pass  sandbox;
            tsface_limit zone=a;
            tsface_limit zone=b;
        }
        location = /status {
            tsface_status json;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        server_name two;
        location / {
            tsface_pass  sandbox;
            tsface_limit zone=c;
            tsface_limit zone=d;
        }
    }
}
END

sub stores {
    return @{ http($t->port(0), 'GET', '/status')->json->{limit_stores} };
}

ok $t->wait_for(sub { 2 == grep { $_->{workers}{up} == 2 } stores() }, 20),
    'both stores are up';

for my $n (0, 1) {
    my @status = map { $t->revoke('user-1', caller => 'a',
        port => $t->port($n))->status } 1 .. 7;
    is "@status", '204 204 204 204 204 204 429', "store $n: one limit";
    @status = map { $t->revoke('user-1', caller => "b$_",
        port => $t->port($n))->status } 1 .. 4;
    is "@status", '204 204 204 429', "store $n: the other";
    cmp_ok scalar(@{ $nodes[$n]->command('KEYS', "{$prefix{$n}}:*") }), '>=', 5,
        'on its node';
}

is scalar(grep { $_->{failures}{error} } stores()), 0,
    'to be sent elsewhere is no failure';
unlike $t->error_log, qr/tsface_limit_store.*failed/, 'and not told';

# --- the slot moves to the other node while all goes on

my $slot = $nodes[0]->command('CLUSTER', 'KEYSLOT', "{$prefix{1}}:x");
my ($id) = map { /^(\S+)/ } grep { /myself/ }
    split /\n/, $nodes[0]->command('CLUSTER', 'NODES');

# KEYS doesn't name the expired, which a slot holds until they are touched
ok $t->wait_for(sub {
    my $keys = $nodes[1]->command('CLUSTER', 'GETKEYSINSLOT', $slot, 1000);
    $nodes[1]->command('DEL', $_) for @$keys;
    return !$nodes[1]->command('CLUSTER', 'COUNTKEYSINSLOT', $slot);
}, 20), 'the slot is empty';
$_->command('CLUSTER', 'SETSLOT', $slot, 'NODE', $id) for @nodes;

my @status = map { $t->revoke('user-1', caller => 'c',
    port => $t->port(1))->status } 1 .. 3;
like "@status", qr/^(?:503|429)/, 'asked at the wrong node';
ok $t->wait_for(sub {
    my ($there) = grep { $_->{name} eq 'there' } stores();
    return $there->{workers}{up} == 2;
}, 20), 'up again';
# a worker that was not asked yet learns of the new node now
my $status;
$t->wait_for(sub {
    $status = $t->revoke('user-1', caller => 'a', port => $t->port(1))->status;
    return $status != 503;
}, 20);
is $status, 429, 'what this gateway was told is known to the other node';

done_testing;
