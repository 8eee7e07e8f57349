#!/usr/bin/perl
# The binary is upgraded under load, by USR2, WINCH and QUIT: no request
# fails, and both masters write one chain.  Also the way back, by HUP to the
# old master and QUIT to the new.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $t = TSFace::Test->new(workers => 2, daemon => 1, timeout => 120);
my $sandbox = $t->sandbox;

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    %%CREDENTIALS%%

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

is $t->revoke('user-1')->status, 204, 'revoked';

# Sends USR2, and waits for the new master's workers.
sub upgrade {
    my ($old) = @_;
    kill 'USR2', $old;
    return $t->wait_for(sub {
        my $new = $t->master;
        return $new && $new != $old && $t->workers($new) && $new;
    }, 20);
}

# The new master is a child of the old, as the old one's workers are.
sub workers_of {
    my ($master, $other) = @_;
    return grep { $_ != $other } $t->workers($master);
}

sub wait_gone {
    my ($master) = @_;
    return $t->wait_for(sub { !TSFace::Test::alive($master) }, 20);
}

# Who wrote the chain since record n, and whether all was answered with 204.
sub judge {
    my ($name, $n, $result) = @_;

    is_deeply [ keys %{ $result->{count} } ], [ 204 ], "$name: only 204"
        or diag explain $result->{count};
    my @wrong = $t->write_ahead(@{ $result->{answers} });
    is scalar @wrong, 0, 'all of them recorded' or diag explain \@wrong;

    my @records = $t->records;
    is $records[-1]{seq}, scalar @records, 'in one chain';
    my %pid = map { $_->{pid} => 1 } grep { $_->{type} eq 'intent' }
        @records[$n .. $#records];
    cmp_ok scalar keys %pid, '>=', 2, 'of workers of both masters';
    return;
}

for my $keep (0, 1) {
    my $how = $keep ? 'kept connections' : 'new connections';
    my $n = () = $t->records;
    my $old = $t->master;
    my $new;

    my $result = $t->under_load(sub {
        $new = upgrade($old);
        sleep 0.5;      # both masters' workers take requests
        kill 'WINCH', $old;
        $t->wait_for(sub { !workers_of($old, $new) }, 20);
        sleep 0.3;
        kill 'QUIT', $old;
        wait_gone($old);
    }, keep => $keep, pause => 0.005);

    $t->{master} = $t->master;
    ok $new && $t->master == $new && wait_gone($old), 'the new binary serves';
    judge("upgrade, $how", $n, $result);
    is $t->revoke('user-1')->status, 204, 'and after it';
}

# --- the way back

my $n = () = $t->records;
my $old = $t->master;
my $new;
my $result = $t->under_load(sub {
    $new = upgrade($old);
    kill 'WINCH', $old;
    $t->wait_for(sub { !workers_of($old, $new) }, 20);
    sleep 0.3;
    kill 'HUP', $old;
    $t->wait_for(sub { workers_of($old, $new) }, 20);
    kill 'QUIT', $new;
    wait_gone($new);
}, pause => 0.005);
ok !TSFace::Test::alive($new), 'the new binary is gone';
$t->wait_for(sub { ($t->master || 0) == $old }, 5);
is $t->master, $old, 'the old serves again';
$t->{master} = $old;
judge('back', $n, $result);
is $t->revoke('user-1')->status, 204, 'and after it';

is scalar(grep { ($_->{reason} || '') eq 'orphaned' } $t->records), 0,
    'no worker took what another one was about to record for an orphan';

done_testing;
