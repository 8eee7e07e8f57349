#!/usr/bin/perl
# Prints an audit trail for people: show-trail.pl [--key FILE] FILE
#
# With the key it also checks the sequence and the MAC chain, and fails if one
# of them is broken.

use strict;
use warnings;

use TSFace::Trail 'read_trail';

my ($key_file, $file);
while (@ARGV) {
    my $word = shift;
    if ($word eq '--key') { $key_file = shift } else { $file = $word }
}
die "usage: $0 [--key FILE] FILE\n" if !defined $file;

my $key = '';
if (defined $key_file) {
    open my $fh, '<', $key_file or die "$key_file: $!\n";
    $key = <$fh>;
    $key =~ s/\r?\n\z//;
}

my $color = -t STDOUT && ($ENV{TERM} || 'dumb') ne 'dumb' && !$ENV{NO_COLOR};
my %paint = (success => 32, denied => 33, refusal => 33, error => 31,
    unknown => 31);

my ($records, $wrong) = read_trail($file, $key);
binmode STDOUT, ':utf8';

my @columns = qw(seq time type request caller operation user result status);
my @rows = map { [ cells($_) ] } @$records;
my @width = map { my $c = $_; my $w = length $columns[$c];
    for (@rows) { $w = length $_->[$c] if length $_->[$c] > $w } $w }
    0 .. $#columns;

line(undef, @columns);
line($_->[-1], @$_[0 .. $#columns]) for @rows;

if (defined $key_file) {
    print $_, "\n" for map { "  WRONG: $_" } @$wrong;
    print '  ', @$wrong ? 'The chain is broken.'
        : scalar(@$records) . ' records, their MAC chain is whole.', "\n";
    exit 1 if @$wrong;
}

sub cells {
    my ($r) = @_;

    my $user = $r->{user} || {};
    my $who = defined $user->{plain} ? $user->{plain}
        : defined $user->{hmac} ? substr($user->{hmac}, 0, 8) . '...' : '';
    my $word = $r->{reason} || $r->{result} || '';
    my $status = defined $r->{status} ? $r->{status} : '';

    return (map({ defined $_ ? $_ : '' } $r->{seq},
        substr($r->{time}, 11, 12), $r->{type},
        substr($r->{request_id} || '', 0, 8), $r->{caller}, $r->{operation}),
        $who, $word, $status,
        $paint{$r->{result} || ''} || $paint{$r->{type}} || '');
}

sub line {
    my ($paint, @cells) = @_;

    my $text = join '  ', map { sprintf "%-*s", $width[$_], $cells[$_] }
        0 .. $#cells;
    $text =~ s/\s+\z//;
    $text = "\e[1m$text\e[0m" if $color && !defined $paint;
    $text = "\e[${paint}m$text\e[0m" if $color && $paint;
    print "  $text\n";

    return;
}
