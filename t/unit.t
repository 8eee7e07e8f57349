#!/usr/bin/perl

# Compiles and runs the programs in t/unit: tests of the module's pure logic,
# which link without nginx.  Each names the sources it is linked with in a
# comment on a line of its own,
#
#     /* link: record.c record_text.c record_mac.c record_line.c json.c */
#
# and prints TAP; yajl and libcrypto are always there.  With TSFACE_SANITIZE=1
# the address and undefined behaviour sanitizers watch.  TSFACE_TREE is a
# configured nginx tree, for the headers.

use strict;
use warnings;

use Cwd 'abs_path';
use File::Basename qw(basename dirname);
use File::Temp 'tempdir';
use TAP::Parser;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use TSFace::Unit;

my $root = dirname(dirname(abs_path(__FILE__)));
my $cc = $ENV{CC} || 'gcc';
my $dir = $ENV{TSFACE_COVERAGE}
    || tempdir('tsface-unit-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);

my @programs = glob "$root/t/unit/*.c";
plan(skip_all => 'no programs in t/unit') if !@programs;
my @flags = TSFace::Unit::flags($root, 'unit');

sub unit {
    my ($source, $name) = @_;

    open my $fh, '<', $source or die "$source: $!\n";
    my @link = map { split ' ' }
        do { local $/; <$fh> } =~ m{^/\*\s*link:\s*([^*]*?)\s*\*/}mg;
    close $fh;

    my @objects = map {
        (my $file = $_) =~ s/^(?:ngx_http_tsface_)?/ngx_http_tsface_/;
        "$root/ngx_tsface_module/$file"
    } grep { !/^-/ } @link;

    my $program = "$dir/$name";
    my @gcov = $ENV{TSFACE_COVERAGE} ? ('-O0', '--coverage') : ();
    my @command = ($cc, @flags, @gcov, '-o', $program, $source, @objects,
        '-lyajl', '-lcrypto');

    my $pid = open my $out, '-|';
    die "fork: $!\n" if !defined $pid;
    if (!$pid) {
        chdir $dir;
        open STDERR, '>&', \*STDOUT;
        exec @command or exit 127;
    }
    my $said = do { local $/; <$out> };
    if (!close $out) {
        diag("@command\n", $said || '');
        fail("$name compiles");
        return;
    }
    pass("$name compiles");

    my $parser = TAP::Parser->new({ exec => [ $program ], merge => 1 });
    my @rest;

    while (my $result = $parser->next) {
        if ($result->is_test) {
            (my $what = $result->description) =~ s/^- //;
            ok($result->is_ok, "$name: $what") or diag(splice @rest);
            @rest = ();
        } elsif (!$result->is_plan) {
            push @rest, $result->as_string . "\n";
        }
    }

    my $fine = $parser->is_good_plan && !$parser->exit && !$parser->wait;
    ok($fine, "$name ends well") or diag("exit ", $parser->exit, ", planned ",
        $parser->tests_planned || 'nothing', ", run ", $parser->tests_run,
        "\n", @rest);

    return;
}

unit($_, basename($_, '.c')) for @programs;

done_testing();
