#!/usr/bin/perl
# The script that a store runs decides as the gateway does: random limits, keys
# and times, against a model in integers; and its keys live as long as they
# limit somebody.

use lib 't/lib';
use TSFace::Test;
use TSFace::Store;

my $t = TSFace::Test->new;
my $store = TSFace::Store->new($t);

my ($c) = $t->read_file("$TSFace::Test::ROOT/ngx_tsface_module"
    . '/ngx_http_tsface_limit_script.c')
    =~ /ngx_http_tsface_script = ngx_string\((.*?)\);\n\n/s;
my $script = join '', map { s/\\n/\n/gr } $c =~ /"((?:[^"\\]|\\.)*)"/g;

# The time comes in, and keys stay, as this one runs ahead.
(my $timed = $script) =~ s/^local time = .*\n.*now = .*\n/local now = tonumber(ARGV[#ARGV])\n/
    or die 'where is the time?';
$timed =~ s/,\s*'PX', string\.format\(.*\)\)\n/)\n/ or die 'where is PX?';

my $seed = $ENV{TSFACE_TEST_SEED} || time() % 100_000;
srand $seed;
diag "TSFACE_TEST_SEED=$seed";

# Whole numbers of any size up to $max, small and large ones as often.
sub any {
    my ($max) = @_;
    my $n = int exp rand log($max + 1);
    return $n > $max ? $max : $n;
}

my (%tat, @wrong, %seen);
my $steps = $ENV{TSFACE_TEST_LONG} ? 100_000 : 4_000;
my $now = int(time()) * 1_000_000;

# --- limits that don't change, each with keys of its own

my @limits = map {
    my $interval = 1 + any(rand() < .5 ? 86_400_000_000 : 100_000);
    my $burst = any(rand() < .3 ? 1_000_000 : 20);
    $burst = int(2**51 / $interval) if $burst * $interval > 2**51;
    my $queue = any(30) * $interval;
    $queue = 3_600_000_000 if $queue > 3_600_000_000;
    { n => $_, interval => $interval, tolerance => $burst * $interval,
        queue => rand() < .3 ? 0 : $queue, dry => rand() < .2 ? 1 : 0 }
} 1 .. 40;

for my $step (1 .. $steps) {
    my %used;
    my @use = grep { !$used{ $_->{n} }++ }
        map { $limits[ rand @limits ] } 1 .. 1 + any(7);
    my @keys = map { "{p}:$_->{n}:" . int rand 2 } @use;
    my $scale = $use[0]{interval};
    $now += rand() < .3 ? any($scale) : rand() < .5 ? 0 : any(1000);

    my $most_queue = 3_600_000_000;
    my @floor = map { rand() < .1 ? any($_->{tolerance}) : 0 } @use;
    my @arg = map { my $u = $use[$_]; ($u->{interval}, $u->{tolerance},
        $u->{queue}, $u->{tolerance} + $u->{interval} + $most_queue, $u->{dry},
        $floor[$_]) } 0 .. $#use;

    # the model

    my ($taken, $at, @ahead, @refused) = (1, 0);
    for my $i (0 .. $#use) {
        my $u = $use[$i];
        my $a = ($tat{ $keys[$i] } || 0) - $now;
        $a = $floor[$i] if $a < $floor[$i];
        push @ahead, $a;
        my $wait = $a > $u->{tolerance} ? $a - $u->{tolerance} : 0;
        push @refused, $wait > $u->{queue};
        next if $u->{dry};
        $taken = 0 if $refused[$i];
        $at = $wait if $wait > $at;
    }
    if ($taken) {
        for my $i (grep { !$refused[$_] } 0 .. $#use) {
            my $a = $ahead[$i] > $at ? $ahead[$i] : $at;
            $tat{ $keys[$i] } = $now + $a + $use[$i]{interval};
        }
    }

    my $got = $store->command('EVAL', $timed, scalar @keys, @keys, @arg, $now);
    my $expected = join ' ', $taken, @ahead;
    $seen{ $taken ? $at ? 'delayed' : 'allowed' : 'refused' }++;
    next if "@$got" eq $expected;

    push @wrong, "step $step: @$got, not $expected";
    last if @wrong > 5;
}

is scalar(@wrong), 0, "$steps decisions" or diag join "\n", @wrong;
cmp_ok $seen{$_} || 0, '>', 10, "of which $_: " . ($seen{$_} || 0)
    for qw(allowed delayed refused);

my @odd = grep { ($tat{$_} || 0) ne ($store->command('GET', $_) || 0) }
    keys %tat;
is scalar(@odd), 0, 'times are kept to the microsecond' or diag "@odd";

# --- as it is: the store's own time, and when a key goes

my @limit = (1_234_567, 10 * 1_234_567, 0, 12 * 1_234_567, 0, 0);
my $got = $store->command('EVAL', $script, 1, 'k', @limit);
is "@$got", '1 0', 'a new key';
my $ttl = $store->command('PTTL', 'k');
cmp_ok $ttl, '<=', 1_236, "lives as long as it limits somebody: $ttl";
cmp_ok $ttl, '>', 1_000, 'and not less';
my ($s, $us) = @{ $store->command('TIME') };
my $left = $store->command('GET', 'k') - ($s * 1_000_000 + $us);
cmp_ok $left, '<=', 1_234_567, "its time is the store's: $left";
cmp_ok $left, '>', 0, 'and ahead';

# the clock was set back by a year: it waits no longer than it may
$store->command('SET', 'k', ($s + 31_536_000) * 1_000_000);
$got = $store->command('EVAL', $script, 1, 'k', @limit);
is "@$got", '0 ' . 12 * 1_234_567, 'cut down';
($s, $us) = @{ $store->command('TIME') };
$left = $store->command('GET', 'k') - ($s * 1_000_000 + $us);
cmp_ok $left, '<=', 12 * 1_234_567, "and stays so: $left";
cmp_ok $left, '>', 10 * 1_234_567, 'which lets nobody in';
$ttl = $store->command('PTTL', 'k');
cmp_ok $ttl, '<=', 12 * 1_235 + 1, "it lives no longer: $ttl";

# a minute more is what another gateway's delay may be
my $before = ($s + 60) * 1_000_000;
$store->command('SET', 'k', $before);
$got = $store->command('EVAL', $script, 1, 'k', @limit);
is "@$got", '0 ' . 12 * 1_234_567, 'a place in another queue';
is $store->command('GET', 'k'), $before, 'is not taken away';

# nor by a dry run that refuses, or with a limit that does
$store->command('SET', $_, ($s + 31_536_000) * 1_000_000) for qw(k l);
$got = $store->command('EVAL', $script, 3, 'k', 'l', 'm', @limit,
    @limit[0 .. 3], 1, 0, @limit);
is "@$got", "0 $limit[3] $limit[3] 0", 'several keys';
($s, $us) = @{ $store->command('TIME') };
my @left = map { ($store->command('GET', $_) || 0) - ($s * 1_000_000 + $us) }
    qw(k l);
ok !(grep { $_ > $limit[3] || $_ < 10 * 1_234_567 } @left),
    "each is cut down: @left";
is $store->command('GET', 'm'), undef, 'and nothing is taken';

done_testing;
