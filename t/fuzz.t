#!/usr/bin/perl

# The fuzz targets in t/fuzz compile with this compiler and hold for each of
# their seeds, to which what "make fuzz" once found belongs.  Here they run
# without libFuzzer, so that no other compiler is needed.

use strict;
use warnings;

use Cwd 'abs_path';
use File::Basename qw(basename dirname);
use File::Temp 'tempdir';
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use TSFace::Unit;

my $root = dirname(dirname(abs_path(__FILE__)));
my $cc = $ENV{CC} || 'gcc';
my $dir = tempdir('tsface-fuzz-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);

my @flags = (TSFace::Unit::flags($root, 'fuzz'), '-DFUZZ_REPLAY');

# What a command says, and whether it ended well.
sub run {
    my @command = @_;

    my $pid = open my $out, '-|';
    die "fork: $!\n" if !defined $pid;
    if (!$pid) {
        alarm 60;
        open STDERR, '>&', \*STDOUT;
        exec @command or exit 127;
    }
    my $said = do { local $/; <$out> };
    return ($said || '', close $out);
}

my @sources = glob "$root/t/fuzz/*.c";
ok @sources >= 5, 'there are targets';

for my $source (@sources) {
    my $name = basename($source, '.c');

    open my $fh, '<', $source or die "$source: $!\n";
    my @link = map { m{/} ? "$root/$_"
            : "$root/ngx_tsface_module/ngx_http_tsface_$_" }
        map { split ' ' }
        do { local $/; <$fh> } =~ m{^/\*\s*link:\s*([^*]*?)\s*\*/}mg;
    close $fh;

    my ($said, $fine) = run($cc, @flags, '-o', "$dir/$name", $source, @link,
        '-lyajl', '-lcrypto');
    ok $fine, "$name compiles" or diag $said;
    next if !$fine;

    my @seeds = glob "$root/t/fuzz/seeds/$name/*";
    ok @seeds >= 5, "$name: there are seeds";

    # the last file that is named is the one that did not hold
    ($said, $fine) = run("$dir/$name", @seeds);
    ok $fine, "$name: all seeds hold" or diag $said;
    is scalar(() = $said =~ m{^\Q$root\E/t/fuzz/seeds/}mg), scalar @seeds,
        "$name: all seeds were run";
}

done_testing();
