#!/usr/bin/perl
# The budget of an endpoint: requests a second and requests in flight, exact
# over all workers, whatever becomes of the requests and the workers; and how
# it comes up again after an outage.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;
use List::Util 'sum0';
use Time::Local 'timegm';

my $t = TSFace::Test->new(workers => 4, timeout => 240);
my $sandbox = $t->sandbox;
$t->allow(qr/exited on signal 9/);

# An endpoint that takes its time, or all time until it is told otherwise, says
# when a request came and went, and answers with the status that the user's id
# begins with, if it does.

sub slow { rename $t->write_file('tmp/slow.new', $_[0]), $t->dir . '/tmp/slow' }
sub hold { return slow('hold') }

my $endpoint = $t->fake_server(sub {
    my ($socket) = @_;
    open my $fh, '>>', $t->dir . '/tmp/seen' or die;
    while (my $request = read_request($socket, 60)) {
        syswrite $fh, sprintf "%.6f +\n", time;
        my $slow;
        sleep 0.02 while ($slow = $t->read_file('tmp/slow')) eq 'hold';
        sleep $slow;
        my ($status) = $request->{body} =~ /"user_id":"(\d+)/;
        my $token = $request->{headers}{authorization};
        $status = 401 if $status && $status == 401
            && $t->read_file('tmp/token') eq $token;
        $status = 204 if ($status || 204) == 401
            && $t->read_file('tmp/token') ne $token;
        $t->write_file('tmp/token', $token);
        syswrite $fh, sprintf "%.6f -\n", time;
        print $socket 'HTTP/1.1 ', $status || 204, " X\r\n",
            ($status || 204) == 204 ? "\r\n" : "Content-Length: 0\r\n\r\n";
    }
});
my $token = 'https://127.0.0.1:' . $sandbox->https_port . '/oidc/token';

# Of what the endpoint saw since the last call: times, and the most at once.
my $read = 0;
sub seen {
    my @events = map { [ split ] }
        split /\n/, substr $t->read_file('tmp/seen'), $read;
    $read = length $t->read_file('tmp/seen');
    my ($now, $most) = (0, 0);
    for my $event (sort { $a->[0] <=> $b->[0] } @events) {
        $now += $event->[1] eq '+' ? 1 : -1;
        $most = $now if $now > $most;
    }
    return ($most, map { $_->[0] } grep { $_->[1] eq '+' } @events);
}

sub credentials {
    my ($name, $more) = @_;
    return <<"END";
    tsface_credentials $name {
        endpoint            http://127.0.0.1:$endpoint/cis;
        token_endpoint      $token;
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        %%CLIENT%%
        min_interval        10ms;
        $more
    }
END
}

sub conf {
    my ($more, $other) = @_;
    my $blocks = credentials('sandbox', $more)
        . ($other ? credentials('twin', "$more $other") : '');
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    tsface_audit_trail trail {
        file       %%DIR%%/trail/trail.jsonl;
        key        file:%%DIR%%/secrets/audit.key;
        durability write;
        timeout    20s;
    }
$blocks
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
        location = /status { tsface_status json; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%% reuseport;
        location / {
            tsface_pass   @{[ $other ? 'twin' : 'sandbox' ]};
            tsface_caller \$http_x_caller;
            tsface_audit  off;
        }
    }
}
END
}

sub in_flight { return $t->gate->{in_flight} }

# When the gate let requests through (intent), or had their answers (outcome):
# an endpoint that gets its turn late can't tell.
sub times_of {
    my ($type, $since) = @_;
    return grep { $_ > $since } map {
        my ($y, $mon, $d, $h, $min, $s) = split /[-T:Z]/, $_->{time};
        timegm(0, $min, $h, $d, $mon - 1, $y) + $s;
    } $t->records(type => qr/^$type$/);
}

# A burst while the endpoint answers nothing until it has so many of them and
# the others are refused: however slow all are, they are there at one moment.
sub busy_burst {
    my ($n, $free, %o) = @_;
    my ($busy, $begun) = (busy(), begun());
    hold();
    return $t->burst($n, %o, connected => sub {
        $t->wait_for(sub { busy() >= $busy + $n - $free
            && begun() >= $begun + $free }, 10);
        slow(0);
    });
}

sub busy { return $t->status_json->{refusals}{endpoint_busy} || 0 }
sub begun { return scalar(() = $t->read_file('tmp/seen') =~ /\+/g) }

# Requests that are on their way: their sockets.
sub send_off {
    my ($n, $user) = @_;
    return map { $t->send_revoke($user || 'user-1', caller => 'sent-off') }
        1 .. $n;
}

# --- concurrency

slow(0);
$t->write_file('tmp/token', '');
$t->start(conf('concurrency 6;'));
is $t->revoke('user-1')->status, 204, 'revoked';
is in_flight(), 0, 'none in flight';
seen();

for my $round (1 .. 3) {
    my $count = count_answers(busy_burst(60, 6));
    is_deeply $count, { 204 => 6, '503 endpoint_busy' => 54 },
        "round $round: six of sixty";
    my ($most, @at) = seen();
    is "$most " . @at, '6 6', 'never more at the endpoint';
}

my ($answer) = grep { $_->status == 503 } busy_burst(20, 6);
like $answer->header('Retry-After'), qr/^[12]$/, 'the others may come soon';
is in_flight(), 0, 'none is left in flight';
is scalar(grep { ($_->{reason} || '') eq 'endpoint_busy' } $t->records), 54 * 3 + 14,
    'refusals are recorded';
is $t->gate->{gate_refusals}{endpoint_busy}, 54 * 3 + 14, 'and counted';

# Under load there are always some, and never too many.
slow(0.02);
seen();
my $result = $t->under_load(sub { sleep 2 }, clients => 12);
my ($most, @at) = seen();
cmp_ok $most, '<=', 6, "never more than six: $most";
cmp_ok $most, '>=', 5, 'nor many fewer';
cmp_ok $result->{count}{204} || 0, '>', 50, 'and on it goes';
ok $t->wait_for(sub { in_flight() == 0 }, 5), 'none is left in flight';

# --- whatever becomes of them

slow(0);
for my $case ([ 'client errors', '404' ], [ 'failures', '500' ],
    [ 'replays', '401' ])
{
    $t->burst(6, user => "$case->[1] x") for 1 .. 3;
    ok $t->wait_for(sub { in_flight() == 0 }, 5), "$case->[0]: none is left";
}

hold();
close $_ for send_off(6);
ok $t->wait_for(sub { in_flight() == 6 }, 5), 'clients that have left: in flight';
is_deeply count_answers($t->burst(3)), { '503 endpoint_busy' => 3 },
    'they count as long as they are';
slow(0);
ok $t->wait_for(sub { in_flight() == 0 }, 5), 'and no longer';

hold();
$t->reload(conf('concurrency 6; read_timeout 2s;'));
is_deeply count_answers($t->burst(10)), { '504 upstream_timeout' => 6,
    '503 endpoint_busy' => 4 }, 'time-outs';
is in_flight(), 0, 'none is left';

# no token: they have not gone out, and are not in flight any more
$t->reload(conf('concurrency 6; token_wait 300ms;'));
$sandbox->fault(kind => 'hang', path => 'token', count => 'forever');
slow(0);
$t->burst(6, user => '401 x');
$t->burst(6);
ok $t->wait_for(sub { in_flight() == 0 }, 5), 'no token: none is left';
$sandbox->no_faults;
$t->wait_for(sub { $t->revoke('user-1')->status == 204 }, 30);

# --- kill -9

$t->reload(conf('concurrency 6;'));
hold();
my @sockets = send_off(6);
ok $t->wait_for(sub { in_flight() == 6 }, 5), 'six are in flight';
is $t->revoke('user-1')->problem, 'endpoint_busy', 'no more';
my @workers = $t->workers;
kill 'KILL', @workers;
my $killed = time;
$t->wait_for(sub { !grep { TSFace::Test::alive($_) } @workers }, 5);
slow(0);
ok $t->wait_for(sub { ($t->burst(1))[0]->status == 204 }, 10),
    'all their places are free';
# sooner than with the time-out of what they did
cmp_ok time - $killed, '<', 9, sprintf 'at once: after %.2f s', time - $killed;
is in_flight(), 0, 'none is left in flight';
undef @sockets;

# one of four
hold();
@sockets = send_off(6);
ok $t->wait_for(sub { in_flight() == 6 }, 5), 'six are in flight';
my @records = $t->records;
my %done = map { $_->{request_id} => 1 }
    grep { $_->{type} eq 'outcome' } @records;
my %alive = map { $_ => 1 } $t->workers;
my %own;
$own{ $_->{pid} }++ for grep { $_->{type} eq 'intent' && $alive{ $_->{pid} }
    && !$done{ $_->{request_id} } } @records;
my ($pid) = sort keys %own;
kill 'KILL', $pid;
ok $t->wait_for(sub { in_flight() == 6 - $own{$pid} }, 8),
    "one of four workers: its $own{$pid} come back, the others' stay";
slow(0);
ok $t->wait_for(sub { in_flight() == 0 }, 40), 'none is left';

# --- a reload: both generations are one budget

hold();
@sockets = send_off(4);
ok $t->wait_for(sub { in_flight() == 4 }, 5), 'four are in flight';
$t->reload(conf('concurrency 6; keepalive 1;'), wait => 0);
is_deeply count_answers(busy_burst(10, 2)), { 204 => 2, '503 endpoint_busy' => 8 },
    'two more for the new workers';
is read_answer($_, time + 10, 'POST')->status, 204, 'the old see theirs through'
    for @sockets;
is_deeply count_answers(busy_burst(10, 6)), { 204 => 6, '503 endpoint_busy' => 4 },
    'then six';

# --- one client at one endpoint under two names has one budget

$t->reload(conf('concurrency 6;', 'resource https://twin.example.com;'));
is $t->revoke('user-1', port => $t->port(1))->status, 204, 'the twin works';
hold();
@sockets = send_off(4);
ok $t->wait_for(sub { in_flight() == 4 }, 5), 'four under one name';
is_deeply count_answers(busy_burst(6, 2, port => $t->port(1))),
    { 204 => 2, '503 endpoint_busy' => 4 }, 'two under the other';
read_answer($_, time + 10, 'POST') for @sockets;

# --- rate

slow(0);
$t->reload(conf('rate 20r/s burst=4;'));
sleep 0.5;
seen();
my $begun = time;
my $count = count_answers($t->burst(60));
cmp_ok $count->{204}, '>=', 5, "$count->{204} of sixty: the burst on top of one";
cmp_ok $count->{204}, '<=', 5 + 20 * (time - $begun), 'and what time brought';
sleep 0.5;
seen();
my $since = time;
$result = $t->under_load(sub { sleep 4 }, clients => 6);
($most, @at) = seen();
is $result->{count}{204}, scalar @at, 'all that were let through were sent';

@at = times_of('intent', $since);
my $over = 0;
for my $i (0 .. $#at) {
    my $n = grep { $_ >= $at[$i] && $_ < $at[$i] + 1 } @at;
    $over = $n if $n > $over;
}
cmp_ok $over, '<=', 20 + 5 + 1, "at most $over in a second";
my $per = (@at - 5) / ($at[-1] - $at[0]);
cmp_ok $per, '<=', 20.5, sprintf '%.1f a second', $per;
cmp_ok $per, '>=', 15, 'nor much fewer';

# --- a second attempt is part of the first one's place, and counts

$t->reload(conf('rate 30r/m burst=3;'));
sleep 1;
$t->write_file('tmp/token', '');
my @statuses;
sleep 7;                                     # the whole burst is there
push @statuses, $t->revoke('user-1')->status;        # the token is seen
push @statuses, $t->revoke('401 x')->status;         # two are sent
push @statuses, $t->revoke('user-1')->status;
push @statuses, $t->revoke('user-1')->status;
is "@statuses", '204 204 204 503', 'four are sent for three: the burst and one';
$answer = $t->revoke('user-1');
is $answer->problem, 'endpoint_busy', 'told';
like $answer->header('Retry-After'), qr/^[1-4]$/, 'and when';

# --- slow start: after an outage the rate comes up in a line

$t->reload(conf('rate 40r/s burst=20; breaker failures=3 open=1s open_max=1s;
    slow_start 4s;'));
$t->wait_for(sub { $t->revoke('user-1')->status == 204 }, 5);
sleep 1;
$t->burst(3, user => '500 x');
is $t->gate->{breaker}, 'open', 'an outage';
$since = time;
$t->under_load(sub {
    ok $t->wait_for(sub { $t->gate->{breaker} eq 'closed' }, 10), 'its end';
    sleep 6;
}, clients => 4);
(undef, @at) = times_of('intent', $since);        # without the probe
my ($closed) = times_of('outcome', $since);
my @n = (0) x 7;
$n[$_ - $closed]++ for grep { $_ > $closed && $_ < $closed + 7 } @at;
# 5, 20, 45, 80 and 120 at most in so many seconds, and some that a worker
# that got its turn late let through for the second before
my @sum = map { sum0(@n[0 .. $_]) } 0 .. 4;
my @over = grep { $sum[$_] > (5, 20, 45, 80, 120)[$_] + 10 } 0 .. 4;
is "@over", '', "seconds: @n[0 .. 4]";
cmp_ok $n[1], '>', $n[0], 'the second has more than the first';
cmp_ok $n[2] + $n[3], '>', $sum[1], 'and the next two more than both';
cmp_ok $n[4], '>=', 30, 'then all of it';

# --- what can't be a budget

for my $case (
    [ 'rate 0r/s;', qr/invalid rate "0r\/s"/ ],
    [ 'rate 5;', qr/invalid rate/ ],
    [ 'rate 5r/s 7;', qr/must be burst=N/ ],
    [ 'rate 5r/s burst=-1;', qr/must be burst=N/ ],
    [ 'rate 5r/s burst=1000001;', qr/must be burst=N/ ],
    [ 'rate 5r/s; rate 6r/s;', qr/"rate" directive is duplicate/ ],
    [ 'concurrency 0;', qr/value must be/ ],
    [ 'concurrency 1000001;', qr/value must be/ ],
    [ 'concurrency 1; concurrency 1;', qr/is duplicate/ ],
    [ 'retry_after_max 0;', qr/between 1ms and 1h/ ],
    [ 'retry_after_max 2h;', qr/between 1ms and 1h/ ],
    [ 'retry_after_max off; retry_after_max 1s;', qr/is duplicate/ ],
    [ 'breaker on;', qr/invalid or repeated parameter "on"/ ],
    [ 'breaker off failures=1;', qr/invalid or repeated parameter "off"/ ],
    [ 'breaker failures=0;', qr/between 1 and 1000000/ ],
    [ 'breaker failures=1 failures=1;', qr/invalid or repeated/ ],
    [ 'breaker open=1s;', qr/have the "failures" parameter/ ],
    [ 'breaker failures=1 open=0;', qr/invalid time "open=0"/ ],
    [ 'breaker failures=1 open=61m;', qr/invalid time "open=61m"/ ],
    [ 'breaker failures=1 open=9s open_max=8s;', qr/"open" is longer than "open_max"/ ],
    [ 'breaker off; breaker off;', qr/is duplicate/ ],
    [ 'slow_start 5s;', qr/needs a "rate" or a "concurrency"/ ],
    [ 'concurrency 1; slow_start 2h;', qr/between 1ms and 1h/ ],
) {
    my ($code, $said) = $t->nginx_t(conf($case->[0]));
    isnt $code, 0, "$case->[0] refused";
    like $said, $case->[1], 'and why';
}

my ($code, $said) = $t->nginx_t(conf('breaker off;',
    'resource https://twin.example.com; concurrency 2;'));
isnt $code, 0, 'two names of one client with two budgets refused';
like $said, qr/"sandbox" and "twin" are one client at one endpoint: give them/,
    'and why';

for my $good ('rate 1r/d burst=1000000; concurrency 1000000;',
    'breaker failures=1 open=2m;', 'breaker failures=1 open_max=1s;',
    'concurrency 1; slow_start 1h; retry_after_max 1h;', 'slow_start off;')
{
    my ($code, $said) = $t->nginx_t(conf($good));
    is $code, 0, "$good taken" or diag $said;
}

done_testing;
