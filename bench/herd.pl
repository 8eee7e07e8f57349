#!/usr/bin/perl
# See run.sh.  What a herd costs in exchanges and failures: requests that all
# come while there is no usable token, by size and occasion.

use lib 't/lib';
use TSFace::Test;
use TSFace::Herd;

my @sizes = split ' ', $ENV{SIZES} || '1 10 100 1000 10000';
my $workers = $ENV{WORKERS} || 4;
my %title = (
    cold     => 'no token yet, after a start',
    expiry   => 'expired while its refresh hung',
    revoked  => '401 to all, then an exchange',
    late_401 => '401s while others have the next',
);

my ($largest) = sort { $b <=> $a } @sizes;
my $possible = TSFace::Herd::largest($largest);
die "$0: RLIMIT_NOFILE allows a herd of $possible, not $largest\n"
    if $possible < $largest;

my $herd = TSFace::Herd->new(workers => $workers, size => $largest,
    timeout => 60 + 60 * @sizes);

print "\nHerds, $workers workers, audit write: all wait for the token at once\n\n";
printf "%-33s %6s %10s %9s %7s %7s %7s\n", '', 'herd', 'exchanges', 'forwarded',
    '401s', 'failed', 's';

for my $occasion (qw(cold expiry revoked late_401)) {
    for my $n (@sizes) {
        my $got = $herd->$occasion($n);
        printf "%-33s %6d %10d %9d %7d %7d %7.2f\n", $title{$occasion}, $n,
            @$got{qw(exchanges seen refused failed took)};
        die "$0: $got->{waited} of $n were seen waiting\n"
            if $got->{waited} != $n && $occasion ne 'late_401';
    }
}

exit 0;
