#!/usr/bin/perl
# Many workers, one token: any number of requests at a moment costs one
# exchange, also when the token has run out, when it is refused, and when the
# worker that makes the exchange is frozen or killed in it.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $workers = 4;
my $t = TSFace::Test->new(workers => $workers, timeout => 180);
my $sandbox = $t->sandbox;
$t->allow(qr/exited on signal 9/);

# The listening sockets are spread over the workers by the kernel, so that
# every burst meets all of them.
my $conf = <<'END';
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%

    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        min_interval     200ms;
        exchange_timeout 10s;
        token_wait       25s;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            add_header    X-Pid $pid always;
            add_header    X-Attempts $tsface_attempts always;
            add_header    X-Upstream $upstream_status always;
        }
    }
}
END

sub exchanges { return scalar(() = $sandbox->exchanges) }
sub pids { my %pid = map { $_->header('X-Pid') => 1 } @_; return keys %pid }

# { 204 => 40 }, or with the attempt: { '204/1' => 40 }
sub statuses {
    my ($attempts, @answers) = @_;
    my %count;
    $count{ ($_->status || $_->error)
        . ($attempts ? '/' . ($_->header('X-Attempts') || 0) : '') }++
        for @answers;
    return \%count;
}

sub restart {
    $t->stop;
    $sandbox->no_faults;
    return $t->start;
}

# --- a cold gateway

$sandbox->fault(kind => 'delay', path => 'token', ms => 800);
$t->start($conf);
my @answers = $t->burst(60);
is_deeply statuses(1, @answers), { '204/1' => 60 }, 'cold: all are answered';
is scalar(pids(@answers)), $workers, 'by all workers';
is exchanges(), 1, 'for one exchange';

# --- N refused at once: the 401 of each comes after all have been sent

sleep 0.3;
my $n = exchanges();
my $seen = () = $sandbox->revokes;
$sandbox->revoke_tokens;
$sandbox->fault(kind => 'delay', path => 'revoke', ms => 3000, count => 60);
@answers = $t->burst(60);
is_deeply statuses(1, @answers), { '204/2' => 60 },
    'refused: each is replayed once, callers see 204';
is_deeply [ grep { $_->header('X-Upstream') ne '401 : 204' } @answers ], [],
    '$upstream_status';
is scalar(pids(@answers)), $workers, 'in all workers';
is exchanges(), $n + 1, 'for one exchange';
is scalar(() = $sandbox->revokes), $seen + 120, 'the endpoint saw each twice';
my @wrong = $t->write_ahead(map { { status => $_->status,
    id => $_->header('X-TSFace-Request-ID') } } @answers);
is_deeply \@wrong, [], 'both attempts announced';
my %attempts;
$attempts{ $_->{request_id} }{"$_->{type} $_->{attempt}"}++
    for $t->records(type => qr/intent|outcome/);
is scalar(grep { keys %{ $attempts{ $_->header('X-TSFace-Request-ID') } } != 4 }
    @answers), 0, 'four records for each request';

# --- a token that lives four seconds, under load: refreshed by one worker

$sandbox->switch(token_ttl => 4);
$sandbox->revoke_tokens;
sleep 0.3;
is $t->revoke('user-1')->status, 204, 'a token of four seconds';
my @before = $sandbox->exchanges;
my $result = $t->under_load(sub { sleep 5 }, clients => 8, pause => 0.02);
is_deeply [ keys %{ $result->{count} } ], [ 204 ],
    'no request meets its expiry' or diag explain $result->{count};
my @times = map { my ($h, $m, $s) = $_->{time} =~ /T(\d+):(\d+):([\d.]+)/;
    3600 * $h + 60 * $m + $s } ($sandbox->exchanges)[$#before .. exchanges() - 1];
cmp_ok scalar @times, '>=', 2, 'refreshed ' . (@times - 1) . ' times';
is scalar(grep { my $gap = $times[$_] - $times[$_ - 1];
    $gap >= 0 && $gap < 1.5 } 1 .. $#times), 0, 'by one worker each time'
    or diag explain \@times;

# --- it has run out, as its refresh failed

sub successes { return scalar grep { $_->{issued} && !$_->{fault} }
    $sandbox->exchanges }

$sandbox->fault(kind => 'status', path => 'token', status => 500,
    count => 'forever');
sleep 4.5;
$seen = () = $sandbox->revokes;
$n = successes();
@answers = $t->burst(60, timeout => 20, connected => sub {
    sleep 0.5;
    is scalar(() = $sandbox->revokes), $seen, 'expired: all wait';
    $sandbox->switch(token_ttl => 3600);
    $sandbox->no_faults;
});
is_deeply statuses(1, @answers), { '204/1' => 60 }, 'until there is another';
is successes(), $n + 1, 'for one exchange';

# --- the worker that makes the exchange

# The one that has a connection to the token endpoint, while no other has.
sub exchanging {
    my $port = sprintf '%04X', $sandbox->https_port;
    my %inode = map { $_ => 1 } map {
        my @f = split ' ';
        ($f[2] || '') =~ /:$port$/ && $f[3] eq '01' ? $f[9] : () }
        split /\n/, $t->read_file('/proc/net/tcp');

    for my $pid ($t->workers) {
        for my $fd (glob "/proc/$pid/fd/*") {
            my ($inode) = (readlink($fd) || '') =~ /^socket:\[(\d+)\]/ or next;
            return $pid if $inode{$inode};
        }
    }
    return;
}

for my $kill (1, 0) {
    my $how = $kill ? 'killed' : 'frozen';

    restart();
    $t->stop;
    $sandbox->fault(kind => 'delay', path => 'token', ms => 9000);
    $n = exchanges();
    $t->start;
    $t->wait_for(sub { exchanges() > $n }, 5);
    my $victim = $t->wait_for(\&exchanging, 5);
    ok $victim, 'a worker is in its exchange';

    my $start;
    @answers = $t->burst(40, connected => sub {
        sleep 0.3;
        kill 'STOP', $victim;
        $start = time();
        return if !$kill;
        sleep 0.2;
        kill 'KILL', $victim;
    }, timeout => $kill ? 10 : 16);
    my $took = time() - $start;

    my @good = grep { $_->status == 204 } @answers;
    my @lost = grep { !$_->status } @answers;
    is @good + @lost, 40, "$how: nobody gets a wrong answer"
        or diag explain statuses(0, @answers);
    is scalar(pids(@good)), $workers - 1, 'the other workers answer';
    cmp_ok scalar @lost, '<', 25, 'only its own requests are lost';
    is exchanges(), $n + 2, 'for one exchange more';

    if ($kill) {
        # no lease has to run out for that
        cmp_ok $took, '<', 6 * $t->{slow}, sprintf 'after %.1f s', $took;
        $t->wait_for(sub { $t->workers == $workers }, 5);
    } else {
        # Its lease has run out, the answer has come meanwhile: too late.
        kill 'CONT', $victim;
        sleep 1;
    }

    @answers = $t->burst(40);
    is_deeply statuses(1, @answers), { '204/1' => 40 }, 'and all after it';
    is exchanges(), $n + 2, 'with the same token';
    my %token = map { $_->{authorization}{token} => 1 }
        ($sandbox->revokes)[-40 .. -1];
    is_deeply [ keys %token ], [ ($sandbox->exchanges)[-1]{issued} ],
        'which is the second';
}

done_testing;
