#!/usr/bin/perl
# HUP under load, a broken configuration, a killed worker, an upgraded binary:
# every request gets an answer, every revoke has its intent.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 2, daemon => 1, timeout => 150);
my $sandbox = $t->sandbox;

my $conf = <<'END';
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
    }
}
END

# Runs the code while 4 clients revoke; returns how often they got what.
sub under_load {
    my ($code) = @_;

    my $stop = $t->dir . '/tmp/stop';
    unlink $stop;
    my @clients;
    for my $i (1 .. 4) {
        my $out = $t->dir . "/tmp/client-$i";
        my $pid = fork;
        die "fork: $!\n" if !defined $pid;
        if (!$pid) {
            alarm 60;
            $SIG{ALRM} = 'DEFAULT';
            my %count;
            while (!-e $stop) {
                my $answer = $t->revoke("user-$i", timeout => 15);
                $count{$answer->status || $answer->error}++;
            }
            $t->write_file($out, join "\n", %count, '');
            POSIX::_exit(0);
        }
        push @clients, [ $pid, $out ];
    }

    sleep 0.3;
    $code->();
    sleep 0.3;
    $t->write_file($stop, '');

    my %count;
    for my $client (@clients) {
        waitpid $client->[0], 0;
        my %one = split /\n/, $t->read_file($client->[1]);
        $count{$_} += $one{$_} for keys %one;
    }
    return \%count;
}

# Everything the sandbox acted on was announced, and nothing twice.
sub compare {
    my ($name) = @_;

    my %intent = map { $_->{request_id} => 1 } $t->records(type => qr/intent/);
    my @unknown = grep { !$intent{$_->{headers}{'x-request-id'} || ''} }
        $sandbox->revokes;
    is scalar @unknown, 0, "$name: no revoke without its intent";
    return;
}

$t->start($conf);
is $t->revoke('user-1')->status, 204, 'revoked';

# --- HUP

my $count = under_load(sub { for (1 .. 8) { $t->reload(undef, wait => 0) } });
is_deeply [ keys %$count ], [ 204 ], 'eight reloads under load: only 204'
    or diag explain $count;
compare('HUP');

$t->wait_for(sub { $t->workers == 2 }, 20);
is scalar(() = $t->workers), 2, 'the old workers are gone';

# --- a broken configuration changes nothing

my @workers = $t->workers;
my $mark = length $t->error_log;
$t->allow(qr/no-such-region/);
$t->configure($conf =~ s/%%CREDENTIALS%%/tsface_credentials sandbox {
    region no-such-region; }/r);
kill 'HUP', $t->master;
$t->wait_for(sub { substr($t->error_log, $mark) =~ /no-such-region/ }, 10);
like substr($t->error_log, $mark), qr/\[emerg\].*no-such-region/,
    'a broken configuration is refused';
is_deeply [ sort $t->workers ], [ sort @workers ], 'the workers go on';
my $exchanges = () = $sandbox->exchanges;
is $t->revoke('user-1')->status, 204, 'and revoke';
is scalar(() = $sandbox->exchanges), $exchanges, 'with the token they had';
$t->configure($conf);

# --- kill -9

$t->allow(qr/exited on signal 9/);
$count = under_load(sub {
    for (1 .. 3) {
        my ($victim) = $t->workers;
        kill 'KILL', $victim;
        $t->wait_for(sub { $t->workers == 2 }, 10);
        sleep 0.2;
    }
});
ok $count->{204} > 20, 'workers are killed, the others go on'
    or diag explain $count;
is_deeply [ grep { /^[1-5]/ && $_ != 204 } keys %$count ], [],
    'who gets an answer gets the right one';
compare('kill -9');
is $t->revoke('user-1')->status, 204, 'and after it';

# --- USR2, WINCH, QUIT

my $old = $t->master;
$count = under_load(sub {
    kill 'USR2', $old;
    $t->wait_for(sub { my $new = $t->master; $new && $new != $old
        && $t->workers($new) }, 15);
    kill 'WINCH', $old;
    $t->wait_for(sub { !$t->workers($old) }, 20);
    kill 'QUIT', $old;
    $t->wait_for(sub { !TSFace::Test::alive($old) }, 15);
});
isnt $t->master, $old, 'the new binary has taken over';
ok !TSFace::Test::alive($old), 'the old is gone';
is_deeply [ keys %$count ], [ 204 ], 'the upgrade under load: only 204'
    or diag explain $count;
$t->{master} = $t->master;
is $t->revoke('user-1')->status, 204, 'and after it';
compare('USR2');

# --- QUIT with requests in flight

$sandbox->fault(kind => 'delay', path => 'revoke', ms => 1000, count => 'forever');
my $socket = connect_to($t->port);
my $request = TSFace::HTTP::build_request('POST', '/v1/users/face/revoke',
    headers => [ 'X-Caller', 'a' ], json => { user_id => 'user-1' });
print $socket $request;
sleep 0.4;
kill 'QUIT', $t->master;
is read_answer($socket, time() + 10)->status, 204,
    'a request in flight is finished before the worker ends';
$t->wait_for(sub { !TSFace::Test::alive($t->{master}) }, 15);

done_testing;
