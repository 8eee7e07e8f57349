#!/usr/bin/perl
# See run.sh.  What a limit costs: none, one in the host's memory, one in a
# store, at 1, 1,000 and 1,000,000 keys.  All run at once and take turns.

use lib 't/lib';
use TSFace::Test;
use TSFace::Bench;
use TSFace::Store;

my $rounds = $ENV{ROUNDS} || 3;
my $duration = $ENV{DURATION} || 3;
my $connections = (split ' ', $ENV{CONNECTIONS} || '32')[0];
my @keys = split ' ', $ENV{KEYS} || '1 1000 1000000';
my @variants = qw(none local store);

my %title = (
    none  => 'no limit',
    local => 'tsface_limit_zone',
    store => 'tsface_limit_zone store=',
);
my $bench = "$TSFace::Test::ROOT/bench";
my $script = "$bench/lua/keys.lua";
my $token = join '', map { ('A' .. 'Z', 'a' .. 'z', 0 .. 9)[rand 62] } 1 .. 800;

$| = 1;
my $tty = -t STDOUT;
my $limit = 900 + @keys * 3 * $rounds * ($duration + 5);

my $upstream = instance();
$upstream->start($upstream->read_file("$bench/upstream.conf"));

my (%gateway, $store);
for my $keys (@keys) {
    for my $variant (@variants) {
        my $t = instance($variant);
        $store ||= TSFace::Store->new($t) if $variant eq 'store';
        $gateway{"$variant $keys"} = $t;
        $t->{blocks}{LIMIT} = sub { limit($variant, $keys) };
        $t->{blocks}{USE} = sub { $variant eq 'none' ? ''
            : "tsface_limit zone=z$keys;" };
        $t->start($t->read_file("$bench/limits.conf"));
        fill($t, $variant, $keys);
    }
}

my %got;
for my $round (1 .. $rounds) {
    for my $keys (@keys) {
        for my $variant (@variants) {
            print "\r\e[Kround $round/$rounds, $keys keys, $variant" if $tty;
            my $t = $gateway{"$variant $keys"};
            wrk($t, 1, $connections, $script, 'random', $keys);
            my $before = cpu($t);
            my ($requests, $usec, $p50, $p99, $errors) = wrk($t, $duration,
                $connections, $script, 'random', $keys);
            push @{ $got{"$variant $keys"} }, {
                rate => $requests / $usec * 1e6, p50 => $p50, p99 => $p99,
                cpu => (cpu($t) - $before) / ($requests || 1),
                errors => $errors };
        }
    }
    push @variants, shift @variants;
}
print "\r\e[K" if $tty;

print "\nOne worker, $connections connections, medians of $rounds rounds of"
    . " $duration s\n\n";
printf "%-26s %9s %8s %8s %8s %9s %6s %6s\n", '', 'keys', 'req/s', 'p50 ms',
    'p99 ms', 'CPU us/r', 'to 0', 'errors';
for my $keys (@keys) {
    my $base;
    for my $variant (qw(none local store)) {
        my $all = $got{"$variant $keys"};
        my %m = map { my $k = $_; $k => median(map { $_->{$k} } @$all) }
            qw(rate p50 p99 cpu);
        $base ||= $m{cpu};
        my $errors = 0;
        $errors += $_->{errors} for @$all;
        printf "%-26s %9d %8.0f %8.2f %8.2f %9.1f %6.2f %6d\n",
            $title{$variant}, $keys, $m{rate}, $m{p50} / 1000, $m{p99} / 1000,
            $m{cpu}, $m{cpu} / $base, $errors;
    }
}
exit 0;


sub instance {
    my ($variant) = @_;

    my $t = TSFace::Test->new(workers => 1, log_level => 'error',
        timeout => $limit, blocks => {
            TOKEN    => sub { $token },
            BENCH    => sub { $bench },
            UPSTREAM => sub { $upstream->port(0) },
        });
    $t->secret('client.secret', 'secret-of-the-bench');
    $t->{module} = 'static' if !$variant;

    return $t;
}


# A rate that refuses nothing, and whose keys stay for the whole run.
sub limit {
    my ($variant, $keys) = @_;

    return '' if $variant eq 'none';

    my $size = 64 + int($keys / 5);
    return "tsface_limit_zone \$http_x_key zone=z$keys:${size}k rate=1r/m"
        . ' burst=1000000;' if $variant eq 'local';
    return 'tsface_limit_store fleet { server unix:' . $store->socket
        . "; timeout 1s; on_failure refuse; }\n    tsface_limit_zone \$http_x_key zone=z$keys"
        . ":${size}k rate=1r/m burst=1000000 store=fleet;";
}


# Sends each key once, so that all of them are there.
sub fill {
    my ($t, $variant, $keys) = @_;

    $t->wait_for(sub { $t->revoke('user-1', headers => [ 'X-Key', 'key-1' ])
        ->status == 204 }, 20) or die "$variant does not answer\n";
    return if $variant eq 'none' || $keys < 2;

    for (1 .. 60) {
        my ($limit) = @{ http($t->port(0), 'GET', '/status')->json->{limits} };
        return if $limit->{keys} >= $keys;
        print "\r\e[K$variant: $limit->{keys} of $keys keys" if $tty;
        wrk($t, 10, $connections, $script, 'turn', $keys);
    }
    die "$variant: the zone does not take $keys keys\n";
}
