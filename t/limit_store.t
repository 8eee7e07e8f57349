#!/usr/bin/perl
# tsface_limit_store: gateways share limits in a Valkey or a Redis, to the
# request; and what becomes of them without it.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;
use TSFace::Store;

my $CONF = <<'END';
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%
    %%STORE%%

    tsface_limit_zone $tsface_caller zone=fleet:1m rate=10r/s burst=49
                      store=shared;
    tsface_limit_zone $tsface_caller zone=hourly:1m rate=60r/h burst=9
                      store=shared;
    tsface_limit_zone $server_name   zone=all:1m rate=12r/h burst=11
                      store=shared;

    tsface_limit_zone $server_name   zone=paced:1m rate=5r/s store=shared;
    tsface_limit_zone $server_name   zone=tried:1m rate=1r/h store=shared;

    tsface_caller $http_x_caller;
    tsface_audit  trail;

    server {
        listen 127.0.0.1:%%PORT_0%%;

        location / {
            tsface_pass  sandbox;
            tsface_limit zone=fleet;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;

        location / {
            tsface_pass  sandbox;
            tsface_limit zone=hourly;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_2%%;
        server_name two;

        location / {
            tsface_pass  sandbox;
            tsface_limit zone=hourly;
            tsface_limit zone=all;
        }

        location /v1/users/me/ {
            tsface_pass  sandbox;
            tsface_limit zone=paced delay=8 delay_max=5s;
            tsface_limit zone=tried dry_run;
        }

        location = /status {
            tsface_status json;
        }

        location = /metrics {
            tsface_status prometheus;
        }
    }
}
END

my $server;

sub gateway {
    my (%o) = @_;
    return TSFace::Test->new(workers => 4, timeout => 180, %o, blocks => {
        STORE => sub {
            "tsface_limit_store shared {\nserver $server;\nnodes 3;\n"
                . "timeout 2s;\n}"
        },
    });
}

my @gateways = map { gateway() } 1 .. 3;
my ($g, $h, $i) = @gateways;

my $store = TSFace::Store->new($g);
$server = 'unix:' . $store->socket;

$_->start($CONF) for @gateways;

sub status {
    my ($t) = @_;
    return http($t->port(2), 'GET', '/status')->json->{limit_stores}[0];
}

sub up {
    my ($t) = @_;
    return $t->wait_for(sub { (status($t)->{workers}{up} || 0) == 4 }, 20);
}

ok up($_), 'all workers are connected' for @gateways;

# --- one limit of three gateways

my @status = map { $gateways[$_ % 3]->revoke('user-1', caller => 'a',
    port => $gateways[$_ % 3]->port(1))->status } 0 .. 12;
is "@status", join(' ', (204) x 10, (429) x 3), 'a burst of ten in all';

my $answer = $h->revoke('user-1', caller => 'a', port => $h->port(1));
is $answer->problem, 'limited', 'limited';
my $retry = $answer->header('Retry-After');
ok $retry > 40 && $retry <= 60, "Retry-After $retry";
like $answer->header('RateLimit'), qr/"hourly";r=0/, 'RateLimit';
is $h->revoke('user-1', caller => 'b', port => $h->port(1))->status, 204,
    'another caller is free';

# --- two limits in one round trip, all or nothing

@status = map { $g->revoke('user-1', caller => 'a', port => $g->port(2))->status }
    1 .. 3;
is "@status", '429 429 429', 'the caller\'s limit refuses';
@status = map { $gateways[$_ % 3]->revoke('user-1', caller => "c$_",
    port => $gateways[$_ % 3]->port(2))->status } 1 .. 14;
is "@status", join(' ', (204) x 12, (429) x 2), 'and takes nothing from all';

# --- how long it took, finer than the milliseconds of nginx's clock

my $metrics = http($g->port(2), 'GET', '/metrics')->body;
my $latency = status($g)->{latency_ms};
my @buckets = $metrics =~ /^tsface_limit_store_duration_seconds_bucket\{store="shared",le="(.*?)"\} \d+$/mg;
is "@buckets", '0.00025 0.0005 0.001 0.0025 0.005 0.010 0.025 0.050 0.100 0.250'
    . ' 0.500 1.000 2.500 5.000 10.000 +Inf', 'buckets below a millisecond';
is join(' ', sort { $a <=> $b } keys %{ $latency->{buckets} }),
    '0.25 0.5 1 2.5 5 10 25 50 100 250 500 1000 2500 5000 10000', 'in JSON';
my ($sum) = $metrics =~ /^tsface_limit_store_duration_seconds_sum\{.*\} (\S+)$/m;
is sprintf('%.3f', 1000 * $sum), sprintf('%.3f', $latency->{sum}), "the sum: $sum";
cmp_ok $latency->{sum} / $latency->{count}, '>', .01, 'a round trip takes some';
cmp_ok $latency->{sum} / $latency->{count}, '<', 2000, 'and is in time';

# --- what is in the store says nothing, and goes

my @keys = sort @{ $store->command('KEYS', '*') };
is scalar(grep { !/^\{tsface\}:(?:hourly|all|fleet|probe)(?::[0-9a-f]{32})?\z/ }
    @keys), 0, 'keys are digests with one hash tag';
my ($all) = grep { /:all:/ } @keys;
my $ttl = $store->command('PTTL', $all);
ok $ttl > 3_000_000 && $ttl <= 3_600_002, "they expire: $ttl";

# --- delays and dry runs, wherever requests come in

my $begin = time();
@status = map { my $t = $gateways[$_ % 3];
    $t->revoke_me($t->sandbox->user_token('user-2'), caller => 'p', port => $t->port(2))->status
} 1 .. 4;
my $passed = time() - $begin;
is "@status", '204 204 204 204', 'nobody is refused';
cmp_ok $passed, '>=', 0.6, "one each 200 ms: $passed";

# --- not one too many, with twelve workers under load at once

sub rush {
    my (%o) = @_;

    my $start = time();
    my @load = map { $_->load(clients => 4, keep => 1) } @gateways;
    $o{while}->() if $o{while};
    sleep $o{seconds} if $o{seconds};
    my @result = map { $_->stop } @load;
    my $took = time() - $start;

    my %count;
    for my $result (@result) {
        $count{$_} += $result->{count}{$_} for keys %{ $result->{count} };
        $count{slowest} = $result->{slowest}
            if $result->{slowest} > ($count{slowest} || 0);
    }
    return (\%count, $took);
}

my ($count, $took) = rush(seconds => 4);
my $most = 50 + int 10 * $took;
cmp_ok $count->{204}, '<=', $most, "allowed: $count->{204} of $most";
cmp_ok $count->{204}, '>=', $most - 11, 'and what the limit allows';
cmp_ok $count->{'429 limited'}, '>', 200, "refused: $count->{'429 limited'}";
is join(' ', grep { !/^(?:204|429 limited|slowest)$/ } sort keys %$count), '',
    'nothing else';

my $all_seen = 0;
$all_seen += scalar $_->sandbox->revokes for @gateways;
my $undecided = sub {
    my $n = 0;
    $n += $_ for map { values %{ status($_)->{undecided} } } @gateways;
    return $n;
};
is $undecided->(), 0, 'each was decided by the store';

# --- killed under load, and restarted empty: what it forgot is remembered

my $since = time();

($count, $took) = rush(while => sub {
    sleep 1;
    $store->kill('KILL');
    sleep 1.5;
    $store->start;
    ok up($_), 'the workers came back by themselves' for @gateways;
    sleep 2;
});

# The burst was used up before.  A gateway knows what it was told last: one of
# its requests may be too many when it loses the store, and one when the store
# is back.

$most = 6 + int 10 * (time() - $since);
cmp_ok $count->{204}, '<=', $most, "allowed: $count->{204} of $most";
cmp_ok $count->{204}, '>=', 15, 'but some';
is join(' ', grep { !/^(?:204|429 limited|slowest)$/ } sort keys %$count), '',
    'nothing else';
cmp_ok $count->{slowest}, '<', 8, "nobody waited: $count->{slowest}";
cmp_ok $undecided->(), '>', 0, 'some were decided by the share';

for my $t (@gateways) {
    my @errors = $t->error_log =~ /\[error\].*tsface_limit_store.*/g;
    my @notices = $t->error_log =~ /\[notice\].*answers again.*/g;
    cmp_ok scalar @errors, '<=', 8, 'errors: ' . scalar @errors;
    is scalar @notices, scalar @errors, 'as many notices as errors';
}

done_testing;
