package TSFace::Bench;
# What the benchmarks measure with.

use strict;
use warnings;

use POSIX ();
use Exporter 'import';

our @EXPORT = qw(wrk measure medians);

my $hz = POSIX::sysconf(&POSIX::_SC_CLK_TCK);

# utime + stime of master and workers, in microseconds.
sub cpu {
    my ($t) = @_;

    my $ticks = 0;
    for my $pid ($t->master, $t->workers) {
        my ($stat) = $t->read_file("/proc/$pid/stat") =~ /\) (.*)/s;
        my @field = split ' ', $stat;
        $ticks += $field[11] + $field[12];
    }
    return $ticks / $hz * 1e6;
}


# Sends revokes to port 0 for so many seconds, as the script says.  Returns
# requests, microseconds, the 50th and 99th percentile of latency in
# microseconds, errors, and what else the script has to tell.
sub wrk {
    my ($t, $seconds, $connections, $script, @arguments) = @_;

    my ($code, $output) = $t->run($seconds + 30, 'wrk', '-t1',
        "-c$connections", "-d${seconds}s", '-s', $script,
        'http://127.0.0.1:' . $t->port(0), @arguments ? ('--', @arguments)
        : ());
    my ($figures) = $output =~ /^FIGURES (\d+(?: \d+){4,})$/m
        or die "wrk failed: $output\n";
    return split / /, $figures;
}


# One round: wrk() for a second to warm up, then for so many that count.
# Returns requests a second (rate), p50 and p99 in microseconds, microseconds
# of CPU a request (cpu), and errors.
sub measure {
    my ($t, $seconds, @arguments) = @_;

    wrk($t, 1, @arguments);

    my $before = cpu($t);
    my ($requests, $usec, $p50, $p99, $errors) = wrk($t, $seconds, @arguments);
    my $used = cpu($t) - $before;

    return {
        rate => $requests / $usec * 1e6, p50 => $p50, p99 => $p99,
        cpu => $used / ($requests || 1), errors => $errors,
    };
}


# What several rounds have measured: medians, and the sum of errors.
sub medians {
    my @rounds = @_;

    my %m = (errors => 0);
    for my $name (qw(rate p50 p99 cpu)) {
        my @sorted = sort { $a <=> $b } map { $_->{$name} } @rounds;
        $m{$name} = ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
    }
    $m{errors} += $_->{errors} for @rounds;

    return %m;
}

1;
