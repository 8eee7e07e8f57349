#!/usr/bin/perl
# An intent whose worker was killed gets its outcome, "unknown" and "orphaned",
# from the next worker that starts: once, and only if its worker is dead.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 4, timeout => 240);
my $sandbox = $t->sandbox;
$t->allow(qr/exited on signal 9/);

$t->start(<<'END');
%%GLOBALS%%
worker_shutdown_timeout 60s;
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        read_timeout 60s;
    }
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
        location = /status { tsface_status json; }
    }
}
END

my $file = $t->dir . '/trail/trail.jsonl';

is $t->revoke('user-1')->status, 204, 'revoked';

# Revokes that the endpoint answers after so long: their sockets, once it has
# them all.
sub in_flight {
    my ($ms, @users) = @_;
    my $seen = () = $sandbox->revokes;
    $sandbox->fault(kind => 'delay', path => 'revoke', ms => $ms, user => $_)
        for @users;
    my @sockets = map { $t->send_revoke($_, caller => "for $_",
        json => { user_id => $_, ticket => 7 }) } @users;
    $t->wait_for(sub { $seen + @users <= (() = $sandbox->revokes) }, 10)
        or die "the sandbox did not see @users\n";
    return @sockets;
}

sub orphaned { return grep { ($_->{reason} || '') eq 'orphaned' } $t->records }

sub of_caller {
    my ($type, $user) = @_;
    return grep { ($_->{caller} || '') eq "for $user" }
        $t->records(type => qr/$type/);
}

# --- one worker of four

my @sockets = in_flight(60_000, map { "one-$_" } 1 .. 8);
my %by;
push @{ $by{$_->{pid}} }, $_ for $t->open_intents;
my ($victim) = sort { @{ $by{$b} } <=> @{ $by{$a} } } keys %by;
my @lost = @{ $by{$victim} };
cmp_ok scalar keys %by, '>', 1, 'requests in flight in several workers';

kill 'KILL', $victim;
ok $t->wait_for(sub { orphaned() >= @lost }, 15),
    'a worker was killed: its intents get outcomes';
sleep 1;
is_deeply [ sort map { $_->{request_id} } orphaned() ],
    [ sort map { $_->{request_id} } @lost ], 'these, and no others';

my %intent = map { $_->{request_id} => $_ } @lost;
for my $r (orphaned()) {
    my $intent = $intent{$r->{request_id}};
    is $r->{result}, 'unknown', 'result: unknown';
    is_deeply [ grep { exists $r->{$_} } qw(status upstream_status sent
        duration_ms) ], [], 'nothing that nobody knows';
    my %same = map { $_ => $intent->{$_} } grep { !/^(?:_line|seq|time|type|pid
        |mac)$/x } keys %$intent;
    is_deeply { map { $_ => $r->{$_} } keys %same }, \%same,
        'it says what its intent says';
    ok exists $same{$_}, "$_ among it" for qw(attempt caller operation user
        credentials endpoint client_addr members token host);
    isnt $r->{pid}, $victim, 'but another worker wrote it';
    last;
}
my $n = @lost;
like $t->error_log, qr/\[warn\].*"trail": $n intents of workers that are gone/,
    'the error log says how many';

my ($trail) = @{ http($t->port, 'GET', '/status')->json->{trails} };
is $trail->{orphans}, $n, 'and so does the status';
is $trail->{records}, scalar(() = $t->records), 'which counts them';

# --- reload: the old workers live, and write their own outcomes

my $warned = () = $t->error_log =~ /had no outcome/g;
my @more = in_flight(4000, map { "two-$_" } 1 .. 4);
my @old = $t->workers;
$t->reload(undef, wait => 0);
sleep 1.5;
is scalar(() = orphaned()), $n, 'reload: what old workers do is no orphan';
is read_answer($_, time() + 20, 'POST')->status, 404, 'they end it' for @more;
is scalar(of_caller('outcome', 'two-1')), 1, 'with one outcome';
is scalar(() = $t->error_log =~ /had no outcome/g), $warned, 'no warning';

# --- all of them, old and new

@sockets = (@sockets, in_flight(60_000, map { "three-$_" } 1 .. 6));
my $open = () = $t->open_intents;
cmp_ok $open, '>=', 6, "$open intents are open";
$t->reload(undef, wait => 0);
sleep 0.5;
is scalar(() = $t->open_intents), $open, 'after another reload as well';

$t->kill_all(map { m{^/proc/(\d+)/} }
    grep { TSFace::Test::alive((m{(\d+)})[0])
        && (readlink($_) || '') =~ m{^\Q$file\E} } glob '/proc/[0-9]*/fd/*');
is scalar(() = $t->open_intents), $open, 'all are killed';

$t->start;
ok $t->wait_for(sub { orphaned() >= $n + $open }, 15),
    'nginx starts again: all get outcomes';
sleep 1;
is scalar(() = orphaned()), $n + $open, 'each one, though four looked';
is scalar(() = $t->open_intents), 0, 'none is open';
is $t->revoke('user-1')->status, 204, 'the trail goes on';

# --- nginx is killed just after a rotation

$n = () = orphaned();
@sockets = in_flight(60_000, 'four-1', 'four-2');
rename $file, "$file.1" or die;
is $t->revoke('user-1')->status, 204, 'a record in a new file';
$t->kill_all;
$t->start;
sub in_new {
    my ($records) = TSFace::Trail::read_trail($file, '');
    return grep { ($_->{reason} || '') eq 'orphaned' } @$records;
}
ok $t->wait_for(sub { in_new() == 2 }, 15), 'an intent of the file before';
is_deeply [ sort map { $_->{caller} } in_new() ],
    [ 'for four-1', 'for four-2' ], 'is found there';

# the chain, over both files, and what the tool makes of it
$t->stop;
$t->allow(qr/^trail: (?:line 1: the mac|outcome without intent)/);
my $tool = $t->audit_tool;
my @key = ('--key', $t->dir . '/secrets/audit.key');
my ($code, $said) = $t->run(20, $tool, 'verify', '--from-start', @key,
    "$file.1", $file);
is $code, 0, 'tsface-audit verify: whole' or diag $said;
($code, $said) = $t->run(20, $tool, 'orphans', @key, "$file.1", $file);
is $code, 0, 'orphans';
is $said, "0 orphan intents\n", 'there are none';
($code, $said) = $t->run(20, $tool, 'show', '--json', @key, '--result',
    'unknown', "$file.1", $file);
is scalar(() = $said =~ /"reason":"orphaned"/g), $n + 2, 'show --result unknown';

done_testing;
