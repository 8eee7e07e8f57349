package TSFace::Bench;
# What the benchmarks measure with.

use strict;
use warnings;

use POSIX ();
use Exporter 'import';

our @EXPORT = qw(cpu wrk median);

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
# microseconds, and errors.
sub wrk {
    my ($t, $seconds, $connections, $script, @arguments) = @_;

    my ($code, $output) = $t->run($seconds + 30, 'wrk', '-t1',
        "-c$connections", "-d${seconds}s", '-s', $script,
        'http://127.0.0.1:' . $t->port(0), @arguments ? ('--', @arguments)
        : ());
    my @figures = $output =~ /^FIGURES (\d+) (\d+) (\d+) (\d+) (\d+)$/m
        or die "wrk failed: $output\n";
    return @figures;
}


sub median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

1;
