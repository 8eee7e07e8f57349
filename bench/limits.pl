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

my (%gateway, %store);
for my $keys (@keys) {
    for my $variant (@variants) {
        my $t = instance($variant);
        $store{$keys} = TSFace::Store->new($t) if $variant eq 'store';
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
            holds($t, $variant, $keys);
            push @{ $got{"$variant $keys"} }, measure($t, $duration,
                $connections, $script, 'random', $keys);
            holds($t, $variant, $keys);
        }
    }
    push @variants, shift @variants;
}
print "\r\e[K" if $tty;

print "\nOne worker, $connections connections, medians of $rounds rounds of"
    . " $duration s, load "
    . join(' ', (split ' ', $upstream->read_file('/proc/loadavg'))[0 .. 2])
    . "\n\n";
printf "%-26s %9s %8s %8s %8s %9s %6s %6s\n", '', 'keys', 'req/s', 'p50 ms',
    'p99 ms', 'CPU us/r', 'to 0', 'errors';
for my $keys (@keys) {
    my $base;
    for my $variant (qw(none local store)) {
        my %m = medians(@{ $got{"$variant $keys"} });
        $base ||= $m{cpu};
        printf "%-26s %9d %8.0f %8.2f %8.2f %9.1f %6.2f %6d\n",
            $title{$variant}, $keys, $m{rate}, $m{p50} / 1000, $m{p99} / 1000,
            $m{cpu}, $m{cpu} / $base, $m{errors};
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


# A rate that refuses nothing, and whose keys limit for longer than this runs:
# the store drops a key that limits nobody any more.  As large as the
# documentation says a zone must be.
sub limit {
    my ($variant, $keys) = @_;

    return '' if $variant eq 'none';

    my $zone = "tsface_limit_zone \$http_x_key zone=z$keys:"
        . int($keys / 25000 + 1) . 'm rate=1r/h burst=1000000';
    return "$zone;" if $variant eq 'local';
    return 'tsface_limit_store fleet { server unix:' . $store{$keys}->socket
        . "; timeout 1s; on_failure refuse; }\n    $zone store=fleet;";
}


# Sends each key once, so that all of them are there.  Each wrk goes on where
# the one before it was cut off, with what that one may have had on the way.
sub fill {
    my ($t, $variant, $keys) = @_;

    $t->wait_for(sub { $t->revoke('user-1', headers => [ 'X-Key', 'key-1' ])
        ->status == 204 }, 20) or die "$variant does not answer\n";
    return if $variant eq 'none';

    my ($from, $start, $before) = (1, time, used($variant, $keys));
    while ((my $n = status($t)->{keys}) < $keys) {
        print "\r\e[K$variant: $n of $keys keys" if $tty;
        die "$variant: $n of $keys keys after 5 minutes\n"
            if time - $start > 300;
        my $last = (wrk($t, $keys > 10000 ? 5 : 1, $connections, $script,
            'turn', $keys, $from))[5];
        $from = $last > $connections ? $last - $connections - 1 : 0;
    }
    print "\r\e[K" if $tty;
    return if $keys < 2;

    my $limit = status($t);
    printf "%s: %d keys in %.0f s, %.1f bytes each in the zone", $variant, $keys,
        time - $start, $limit->{size} / $limit->{keys_max};
    printf ", %.1f in the store", (used($variant, $keys) - $before) / $keys
        if $variant eq 'store';
    print "\n";
    return;
}


# Dies unless all keys are there, and have been: none had to go for another,
# none has expired, and nobody was refused.
sub holds {
    my ($t, $variant, $keys) = @_;

    return if $variant eq 'none';

    my $limit = status($t);
    my $stored = $variant eq 'store' ? stored($keys) : $keys;
    return if $limit->{keys} == $keys && $stored == $keys
        && !grep { $limit->{$_} } qw(evicted no_room refused);

    die "$variant, $keys keys: $limit->{keys} in the zone, $stored in the"
        . " store, $limit->{evicted} evicted, $limit->{no_room} found no room,"
        . " $limit->{refused} requests refused\n";
}


# Keys in the store, which counts one that has expired until somebody looks: a
# worker that connects leaves such a one.
sub stored {
    my ($keys) = @_;
    $store{$keys}->command('GET', '{tsface}:probe');
    return $store{$keys}->command('DBSIZE');
}


# Bytes that the store has for its data.
sub used {
    my ($variant, $keys) = @_;
    return 0 if $variant ne 'store';
    my ($bytes) = $store{$keys}->command('INFO', 'memory')
        =~ /^used_memory:(\d+)/m;
    return $bytes;
}


# What the status says of the limit.
sub status {
    my ($t) = @_;
    return http($t->port(0), 'GET', '/status')->json->{limits}[0];
}
