#!/usr/bin/perl
# A flood of refusals: beyond a rate they are counted, in one record a second,
# and none is lost: over four workers, a reload and a trail that fails.  What
# closes an intent, and what a known caller is refused meanwhile, is written.

use lib 't/lib';
use TSFace::Test;
use List::Util qw(max sum0);

plan(skip_all => 'h2load (nghttp2-client) is not installed')
    if !grep { -x "$_/h2load" } split /:/, $ENV{PATH};

my $workers = 4;
my $t = TSFace::Test->new(workers => $workers, timeout => 180);
my $file = $t->dir . '/trail/trail.jsonl';

my $conf = <<'END';
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%

    tsface_audit_trail trail {
        file       %%DIR%%/trail/trail.jsonl;
        key        file:%%DIR%%/secrets/audit.key;
        durability write;
        refusals   %%REFUSALS%%;
    }

    tsface_credentials broken {
        %%ENDPOINT%%
        client_id     sandbox;
        client_secret file:%%DIR%%/secrets/wrong.secret;
        token_wait    100ms;
        required      off;
    }

    keepalive_requests 100000;

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        tsface_caller $http_x_caller;
        tsface_audit  trail;
        location / { tsface_pass sandbox; }
        location /v1/users/me/ { tsface_pass sandbox; }
        location = /v1/users/face/revoke { tsface_pass $http_x_use; }
        location = /status { tsface_status json; }
        location = /metrics { tsface_status prometheus; }
    }
}
END
$t->secret('wrong.secret', 'not-the-secret-of-the-client');
my $refusals = 'rate=5r/s burst=20';
$t->{blocks} = { REFUSALS => sub { $refusals } };
$t->start($conf);

sub flood {
    my ($n, @headers) = @_;
    my ($code, $out) = $t->run(120, 'h2load', '--h1', '-n', $n, '-c', 40,
        '-H', 'Connection: keep-alive', @headers,
        'http://127.0.0.1:' . $t->port . '/v1/users/face/revoke');
    is $code, 0, 'a flood' or diag $out;
    my ($failed) = $out =~ /(\d+) 4xx/;
    return $failed || 0;
}

# (written one by one, summarised, summaries), of what callers that nobody
# identified sent, and once all of it is in the trail
sub counted {
    my ($want) = @_;

    my (@one, @sums);
    $t->wait_for(sub {
        my ($all) = TSFace::Trail::read_trail($file, '');
        @one = grep { $_->{type} eq 'refusal' } @$all;
        @sums = grep { $_->{type} eq 'refusals' } @$all;
        return @one + sum0(map { $_->{count} } @sums) >= $want;
    }, 10);

    return (\@one, \@sums);
}

# --- 10,000 at once, a known caller among them, then a reload and 10,000 more

my $bytes = -s $file;
my $start = time;
my $sent = flood(10_000);
is $sent, 10_000, 'all of them are answered';

my @known;
for my $i (1 .. 5) {
    my $answer = $t->revoke('', caller => 'known',
        headers => [ 'X-Use', 'sandbox' ]);
    is $answer->status, 400, 'a known caller is refused';
    push @known, $answer->header('X-TSFace-Request-ID');
}
my $answer = $t->revoke('user-1', headers => [ 'X-Use', 'sandbox' ]);
is $answer->status, 204, 'and a revoke goes through';

# in the same second as the end of the flood, so that old workers still hold
# what they have counted
my $more = flood(2_000);
$t->reload;
$more += flood(8_000);
is $more, 10_000, 'all of them are answered';
$sent += $more + @known;
my $took = time - $start;

my ($one, $sums) = counted($sent);
is @$one + sum0(map { $_->{count} } @$sums), $sent,
    'records and counts together are what was sent';
cmp_ok sum0(map { $_->{count} } @$sums), '>', 10_000, 'most were counted';

my $each = 2 * $workers * (21 + 5 * ($took + 2));
cmp_ok scalar(@$one), '<=', $each + @known, 'the rate of each worker holds';
cmp_ok scalar(@$sums), '<=', 2 * $workers * ($took + 2),
    'a worker writes one summary a second';
cmp_ok -s $file, '<', $bytes + 1000 * ($each + 2 * $workers * ($took + 2)),
    'so the trail grows by so much at most';

is_deeply [ sort map { $_->{request_id} } grep { $_->{caller} eq 'known' }
    @$one ], [ sort @known ], 'each refusal of a known caller is written';
is scalar(() = $t->records(request_id =>
    $answer->header('X-TSFace-Request-ID'))), 2, 'and intent and outcome are';

for my $sum (@$sums) {
    my @wrong;
    push @wrong, 'reasons' if join(' ', %{ $sum->{reasons} })
        ne "no_caller $sum->{count}";
    push @wrong, 'client_addrs' if "@{ $sum->{client_addrs} }" ne '127.0.0.1';
    push @wrong, 'callers' if @{ $sum->{callers} };
    push @wrong, 'times' if $sum->{first} gt $sum->{last}
        || $sum->{last} gt $sum->{time};
    push @wrong, 'members' if grep { exists $sum->{$_} }
        qw(caller request_id status result);
    is "@wrong", '', 'a summary' or diag $sum->{_line};
}

my $summarised = sum0(map { $_->{count} } @$sums);
like http($t->port, 'GET', '/metrics')->body,
    qr/^tsface_audit_refusals_summarised_total $summarised$/m, 'metric';
like http($t->port, 'GET', '/status')->body, qr/"summarised":$summarised\b/,
    'status';
my $log = $t->error_log;
like $log, qr/\[warn\].*audit trail "trail": more refusals than 5 in 1 s/,
    'the error log says so';
cmp_ok scalar(() = $log =~ /more refusals than/g), '<=', 4 * $workers,
    'not each time';

# --- tsface-audit knows them

my $tool = $t->audit_tool;
my @tool = ('--key', $t->dir . '/secrets/audit.key', $file);
my ($code, $out) = $t->run(30, $tool, 'stats', @tool);
is $code, 0, 'stats' or diag $out;
like $out, qr/^result +$summarised  refused \(counted\)$/m,
    'stats: the sum of the counts';
($code, $out) = $t->run(30, $tool, 'show', '--type', 'refusals', @tool);
is $code, 0, 'show' or diag $out;
my $first = $sums->[0];
like $out, qr/^$first->{seq} .* refusals  +$first->{count} +$/m,
    'show: a count';

# --- what closes an intent is never counted

$refusals = 'rate=1r/d';
$t->reload($conf);

for (1 .. 30) {
    is $t->revoke('user-1', headers => [ 'X-Use', 'broken' ])->status, 503,
        'no token';
}
my @closing = grep { $_->{reason} eq 'no_token' } $t->records(type =>
    qr/^refusal$/);
is scalar(@closing), 30, 'refusals that close an intent are all written';

# --- reasons, addresses and callers of one summary

($one, $sums) = counted($sent + 30);
my ($n, $before) = (scalar @$one, scalar @$sums);

my @callers = map { 'caller-' . $_ . ('x' x 200) . "\xff\"" } 1 .. 10;
# on one connection, so that one worker has more of them than it keeps
my $socket = connect_to($t->port) or die "connect: $!\n";
my @answers = map { $t->revoke('', caller => $_, socket => $socket, keep => 1,
    headers => [ 'X-Use', 'sandbox' ]) } (@callers) x 3;
push @answers, map { $t->revoke('u', target => '/nothing') } 1 .. 20;
my %by_status;
$by_status{ $_->status }++ for @answers;
is_deeply \%by_status, { 400 => 30, 404 => 20 }, 'answered as ever';

($one, $sums) = counted($sent + 30 + 50);
my @one = splice @$one, $n;
my @sums = splice @$sums, $before;
cmp_ok scalar(@one), '<=', $workers, 'one of each worker';
cmp_ok scalar(grep { @{ $_->{callers} } == 9 } @sums), '>', 0,
    'more callers than a summary has';
my %reasons;
for my $sum (@sums) {
    $reasons{$_} += $sum->{reasons}{$_} for keys %{ $sum->{reasons} };
    is $sum->{count}, sum0(values %{ $sum->{reasons} }), 'reasons add up';
    cmp_ok scalar(@{ $sum->{callers} }), '<=', 9, 'callers are bounded';
    cmp_ok max(map { length } @{ $sum->{callers} }), '<=', 128,
        'and so is each of them';
    is $sum->{callers}[-1], "\x{2026}", 'with the mark of a cut'
        if @{ $sum->{callers} } == 9;
    like $sum->{callers}[0], qr/^(?:caller-\d+x+\x{2026}|tester)\z/, 'cut';
}
$reasons{ $_->{reason} }++ for @one;
is_deeply \%reasons, { user_id_empty => 30, unknown_path => 20 },
    'counted by reason';

# --- a trail that fails: counted until it can be written

my $count = sum0(map { $_->{count} } grep { $_->{type} eq 'refusals' }
    $t->records);
$t->allow(qr/tsface|audit trail/);
rename "$file", "$file.away" or die;
mkdir $file or die;
$t->revoke('u', target => '/nothing') for 1 .. 20;
sleep 2.5;
rmdir $file or die;
rename "$file.away", $file or die;

ok $t->wait_for(sub {
    my ($all) = TSFace::Trail::read_trail($file, '');
    return $count + 15 <= sum0(map { $_->{count} } grep {
        $_->{type} eq 'refusals' } @$all);
}, 15), 'what could not be written is written later';
my $now = sum0(map { $_->{count} } grep { $_->{type} eq 'refusals' }
    $t->records);
cmp_ok $now, '<=', $count + 20, 'and not twice';

# --- off

$refusals = 'all';
$t->reload($conf);
$n = () = $t->records(type => qr/^refusal$/);
# more than the default lets pass
is flood(6_000), 6_000, 'all of them are answered';
is scalar(() = $t->records(type => qr/^refusal$/)), $n + 6_000,
    '"refusals all": all are written';

done_testing;
