#!/usr/bin/perl
# The status tells how many requests wait for a token in all workers; neither
# a worker that is killed nor a reload leaves the number too high.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 2);
my $sandbox = $t->sandbox;
$t->allow(qr/exited on signal 9|exchange for credentials/);

# The first exchanges take so long that what is tested is over before.
sub delay { $sandbox->fault(kind => 'delay', path => 'token', ms => $_[0],
    count => 20); return }

delay(60_000);

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        exchange_timeout 50s;
        token_wait       12s;
        min_interval     100ms;
    }
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller anonymous;
            tsface_audit  off;
        }
        location = /status { tsface_status json; }
        location = /prometheus { tsface_status prometheus; }
    }
}
END

# What is said by each worker that answers within 20 questions.
sub waiting {
    my %said;
    for (1 .. 20) {
        my $json = http($t->port, 'GET', '/status')->json or next;
        $said{$json->{worker}} = $json->{credentials}[0]{waiting};
    }
    return map { $said{$_} } sort keys %said;
}

sub settles {
    my ($what, $n) = @_;
    my @said;
    $t->wait_for(sub { @said = waiting(); @said == 2 && !grep { $_ != $n }
        @said }, 10);
    is "@said", "$n $n", $what;
    return;
}

my $body = '{"user_id":"user-1"}';
my $request = "POST /v1/users/face/revoke HTTP/1.1\r\nHost: x\r\n"
    . "Content-Type: application/json\r\nContent-Length: "
    . length($body) . "\r\n\r\n$body";

sub clients {
    my ($n) = @_;
    return map {
        my $socket = connect_to($t->port);
        print $socket $request;
        $socket;
    } 1 .. $n;
}

settles('nobody waits', 0);

my @clients = clients(16);
settles('both workers say how many wait in both', 16);
like http($t->port, 'GET', '/prometheus')->body,
    qr/^tsface_waiting_requests\{credentials="sandbox"\} 16$/m,
    'Prometheus is told the same';

# --- killed: those that waited in it are gone

kill 'KILL', $t->workers;
settles('killed workers have nobody who waits', 0);

@clients = clients(6);
settles('their successors count', 6);

# --- a reload: the old workers are heard no more, nor do they disturb when
# those who wait there have waited long enough

$t->reload(undef, wait => 0);
$t->wait_for(sub { 2 == (() = $t->error_log =~ /gracefully shutting down/g) },
    10);
settles('reloaded', 0);

sleep 6;
my @more = clients(3);
settles('the new workers count', 3);
like scalar(readline $_), qr/^HTTP\/1.1 503 /, 'old: no token' for @clients;
is join(' ', waiting()), '3 3', 'the new workers still count 3';

# --- served: none is left, and none less than none

$sandbox->no_faults;
delay(2_000);
kill 'KILL', $t->workers;
$t->wait_for(sub { my @w = $t->workers; @w == 2 }, 10);
@more = clients(3);
settles('they wait for the token', 3);
like scalar(readline $_), qr/^HTTP\/1.1 204 /, 'served' for @more;
settles('nobody waits any more', 0);

done_testing;
