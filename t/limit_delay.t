#!/usr/bin/perl
# tsface_limit delay, dry_run: requests that wait for their turn instead of
# being refused, in order, over all workers; and limits that only count.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $t = TSFace::Test->new(workers => 4);

my $conf = <<'END';
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    log_format limits '$http_x_caller $tsface_limit_status '
                      '$tsface_limit_delay $status user=$tsface_user';
    access_log %%DIR%%/logs/limits.log limits;

    tsface_limit_zone $tsface_caller zone=queue:1m rate=30r/m;
    tsface_limit_zone $http_x_key    zone=slow:1m  rate=1r/m burst=1;
    tsface_limit_zone $tsface_user   zone=user:1m  rate=1r/m;

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        tsface_caller $http_x_caller;
        tsface_audit  trail;

        location / {
            tsface_pass  sandbox;
            tsface_limit zone=queue delay=4;
        }
        location = /status {
            tsface_status json;
            access_log    off;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        tsface_caller $http_x_caller;
        tsface_audit  trail;

        location / {
            tsface_pass  sandbox;
            tsface_limit zone=slow dry_run;
            tsface_limit zone=queue delay=100 delay_max=3s;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_2%%;
        tsface_caller $http_x_caller;
        tsface_audit  trail;

        location / {
            tsface_pass  sandbox;
            tsface_limit zone=user retry_jitter=30s;
        }
    }
}
END

$t->start($conf);
my $sandbox = $t->sandbox;

# The next one is not sent before the limit has decided on this one.
sub in_turn {
    my ($caller, $user, %o) = @_;
    my $n = decided() + 1;
    my $socket = $t->send_revoke($user, caller => $caller, %o);
    $t->wait_for(sub { decided() >= $n }, 10);
    return $socket;
}

sub decided {
    my $stat = $t->limit_stat('queue');
    return $stat->{allowed} + $stat->{delayed} + $stat->{refused};
}

sub answer { return read_answer($_[0], time + 20) }
sub statuses { return join ' ', map { answer($_)->status } @_ }

# --- in order, at the rate, the sixth is too many

my $start = time;
my @sockets = map { in_turn('a', "user-$_") } 1 .. 6;
my $refused = answer($sockets[5]);
is $refused->status . ' ' . $refused->problem, '429 limited',
    'one more than may wait is refused';
cmp_ok time - $start, '<', 6, 'at once';
like $refused->header('Retry-After'), qr/^[12]$/, 'until a place is free';

my (@took, @asked);
for my $i (0 .. 4) {
    my $answer = answer($sockets[$i]);
    is $answer->status, 204, "request $i";
    push @took, time - $start;
    push @asked, $answer->header('X-TSFace-Request-ID');
}
for my $i (1 .. 4) {
    cmp_ok $took[$i], '>=', 2 * $i - 0.005, "request $i waited: $took[$i]";
}
cmp_ok $took[4], '<', 16, 'but not longer than that';

my @went = map { $_->{type} eq 'intent' ? $_->{request_id} : () } $t->records;
is "@went", "@asked", 'in order';
my ($intent) = grep { $_->{type} eq 'intent' } reverse $t->records;
is $intent->{caller}, 'a', 'recorded';

my $stat = $t->limit_stat('queue');
is "$stat->{allowed} $stat->{delayed} $stat->{refused} $stat->{dry_run}",
    '1 4 1 0', 'counted';
is $stat->{most_refused}[0]{caller}, 'a', 'who was refused';

# --- the place of a client that leaves is free for the next

sleep 2.1;
@sockets = map { in_turn('b', "user-1$_") } 1 .. 5;
close pop @sockets;
ok $t->wait_for(sub { $t->limit_stat('queue')->{returned} == 1 }, 5),
    'the last one leaves: its place is free';
my $last = $t->send_revoke('user-16', caller => 'b');
is answer($_)->status, 204, 'all in the queue' for @sockets, $last;

my ($gone) = grep { ($_->{reason} || '') eq 'client_closed' } $t->records;
is $gone->{caller}, 'b', 'recorded as closed by the client';
ok !(grep { $_->{body} =~ /user-15/ } $sandbox->revokes), 'and not forwarded';

# --- bounded in time as well

@sockets = map { in_turn('c', 'user-1', port => $t->port(1)) } 1 .. 3;
is statuses(@sockets), '204 204 429',
    'a wait longer than delay_max is refused';

# --- dry_run: counted, never refused, never told

my @answers = map { $t->revoke('user-1', caller => "dry$_", port => $t->port(1),
    headers => [ 'X-Key', 'k' ]) } 1 .. 4;
is join(' ', map { $_->status } @answers), '204 204 204 204', 'dry run';
unlike $answers[0]->header('RateLimit-Policy'), qr/slow/, 'not told';
$stat = $t->limit_stat('slow');
is "$stat->{allowed} $stat->{refused} $stat->{dry_run}", '2 0 2',
    'what it would have refused';

# --- per user, without telling who

is $t->revoke('user-7', caller => 'x', port => $t->port(2))->status, 204,
    'a user';
my $answer = $t->revoke('user-7', caller => 'y', port => $t->port(2));
is $answer->status, 429, 'the same user, for another caller';
my $retry = $answer->header('Retry-After');
ok $retry >= 55 && $retry <= 91, "Retry-After with jitter: $retry";
is $t->revoke('user-8', caller => 'y', port => $t->port(2))->status, 204,
    'another user';
my %jitter = map { $t->revoke('user-8', caller => 'y', port => $t->port(2))
    ->header('Retry-After') => 1 } 1 .. 20;
cmp_ok keys %jitter, '>', 3, 'not all come back together';
my $token = $sandbox->user_token('user-9');
is $t->revoke_me($token, caller => 'x', port => $t->port(2))->status, 204,
    'a user for herself: the token is the key';
is $t->revoke_me($token, caller => 'x', port => $t->port(2))->status, 429,
    'limited';

my $log = $t->read_file('logs/limits.log');
like $log, qr/^a allowed - 204 user=-$/m, 'variables: allowed';
like $log, qr/^a delayed [1-9]\d* 204 user=-$/m, 'delayed';
like $log, qr/^a refused - 429 user=-$/m, 'refused';
like $log, qr/^dry4 dry_run - 204 user=-$/m, 'dry_run';
unlike $log, qr/user-[78]|$token/, 'a user is in no log';
unlike http($t->port(0), 'GET', '/status')->body, qr/user-[78]|$token/,
    'nor on the status page';

# --- a reload and a graceful end with requests in the queue

@sockets = map { in_turn('r', "user-$_") } 1 .. 4;
$t->reload;
is statuses(@sockets), '204 204 204 204',
    'those in the queue are seen through by the old workers';

sleep 2.1;
@sockets = map { in_turn('q', "user-$_") } 1 .. 3;
$t->stop;
is statuses(@sockets), '204 204 204',
    'and when nginx is told to quit';

done_testing;
