#!/usr/bin/perl
# kill -9 at random moments, of workers and of the master: no revoke reaches
# the endpoint without its intent, no success is told without its outcome, each
# intent has one outcome in the end, and the trail is one chain over it all.
#
# TSFACE_TEST_LONG=1 kills ten times as often; TSFACE_TEST_SEED=N repeats a
# run's choices.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $kills = $ENV{TSFACE_TEST_LONG} ? 240 : 24;
my $seed = $ENV{TSFACE_TEST_SEED} || int rand 1e6;
srand $seed;
note "TSFACE_TEST_SEED=$seed";

my $t = TSFace::Test->new(workers => 3, timeout => 5 * $kills + 60);
my $sandbox = $t->sandbox;
$t->allow(qr/exited on signal 9/);

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%

    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        min_interval 100ms;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

is $t->revoke('user-1')->status, 204, 'revoked';

# The workers of a master that was killed go on without it; they keep its
# port, so that no other can start before they are gone.
sub kill_master {
    my $master = delete $t->{master};
    my @orphans = $t->workers($master);
    kill 'KILL', $master;
    $t->wait_pid($master, 5);
    sleep rand 0.3;
    kill 'KILL', @orphans;
    $t->wait_for(sub { !grep { TSFace::Test::alive($_) } @orphans }, 5);
    $t->start;
    return @orphans + 1;
}

sub seen { return scalar(() = $t->read_file('sandbox.jsonl')
    =~ /"name":"revoke/g) }

my $load = $t->load(clients => 4,
    tokens => [ map { $sandbox->user_token("user-$_") } 1 .. 4 ]);

my ($killed, $masters, $turn) = (0, 0, 0);
while ($killed < $kills) {
    sleep 0.02 + rand 0.4;
    # a slow machine is to have something done between two of them
    $t->wait_for(sub { seen() > 5 * $killed }, 10);
    $sandbox->revoke_tokens(sub => 'sandbox-client') if ++$turn % 3 == 0;

    if ($killed >= ($masters + 1) * $kills / 3) {
        $killed += kill_master();
        $masters++;
        next;
    }

    my @workers = $t->workers or next;
    my @victims = rand() < 0.2 ? @workers : $workers[rand @workers];
    $killed += kill 'KILL', @victims;
}
sleep 1;

my $result = $load->stop;
my $count = $result->{count};

$t->wait_for(sub { !$t->open_intents }, 15);
is_deeply [ map { $_->{_line} } $t->open_intents ], [],
    "every intent has its outcome (seed $seed)";

cmp_ok $killed, '>=', 20, "$killed processes killed";
cmp_ok $masters, '>=', 1, "$masters masters among them";
cmp_ok $count->{204} || 0, '>', $killed, 'the others went on';
is_deeply [ grep { /^[1-5]/ && !/^(?:204|401|503 no_token)$/ } keys %$count ], [],
    'who got an answer got a right one' or diag explain $count;

my @wrong = $t->write_ahead(@{ $result->{answers} });
is scalar @wrong, 0, 'what was seen was announced, what was told is recorded';
diag $_ for @wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)];

is $t->revoke('user-1')->status, 204, 'and after it all';

my @records = $t->records;
is $records[0]{seq}, 1, 'the trail begins with 1';
is $records[-1]{seq}, scalar @records, 'and has no gap';
my @orphaned = grep { ($_->{reason} || '') eq 'orphaned' } @records;
cmp_ok scalar @orphaned, '>', 0, 'some of them after their worker was killed';
my $warned = 0;
$warned += $_ for $t->error_log =~ /: (\d+) intents of workers that are gone/g;
cmp_ok $warned, '<=', scalar @orphaned, 'the error log counts no more';
my %host = map { $_->{pid} => 1 } @records;
cmp_ok scalar keys %host, '>=', 4, 'written by many processes';
cmp_ok scalar(grep { $_->{type} eq 'intent' && $_->{attempt} == 2 } @records),
    '>', 0, 'replays among them';

note "$killed killed, $masters masters; ${\ scalar @orphaned} orphans; "
    . "answers: "
    . join ', ', map { "$_ x $count->{$_}" } sort keys %$count;

done_testing;
