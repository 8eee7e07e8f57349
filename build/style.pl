#!/usr/bin/perl

# Checks the mechanical part of nginx's C style:
#
#     build/style.pl FILE...
#
# and prints "file:line: rule" for each place that breaks a rule.

use strict;
use warnings;

my $bad = 0;

sub complain {
    my ($file, $line, $text) = @_;
    print "$file:$line: $text\n";
    $bad++;
    return;
}


# The same text with the insides of comments, strings and character constants
# turned into blanks, line by line, so that rules see only code.

sub bare {
    my ($text) = @_;

    my $blank = sub { my $t = shift; $t =~ s/[^\n]/ /g; return $t; };

    $text =~ s{
        ( /\*.*?\*/ )
        | " ( (?: [^"\\\n] | \\. )* ) "
        | ' ( (?: [^'\\\n] | \\. )* ) '
    }{
        defined $1 ? $blank->($1)
        : defined $2 ? '"' . $blank->($2) . '"'
        : "'" . $blank->($3) . "'"
    }gsex;

    return $text;
}


sub check {
    my ($file) = @_;

    open my $fh, '<', $file or die "$file: $!\n";
    my $text = do { local $/; <$fh> };
    close $fh;

    complain($file, 1, 'no newline at the end of the file')
        if $text !~ /\n\z/;
    complain($file, ($text =~ tr/\n//), 'blank line at the end of the file')
        if $text =~ /\n\n\z/;

    my @raw = split /\n/, $text, -1;
    my @code = split /\n/, bare($text), -1;
    pop @raw;

    my $depth = 0;      # of parentheses, at the start of a line
    my $before = '';    # the last line of code that was not blank
    my $end;            # line of the last function's closing brace
    my $blanks = 0;

    for my $i (0 .. $#raw) {
        my ($raw, $code, $n) = ($raw[$i], $code[$i], $i + 1);
        my $next = $code[$i + 1];
        $next = '' if !defined $next;

        complain($file, $n, 'tab') if $raw =~ /\t/;
        complain($file, $n, 'carriage return') if $raw =~ /\r/;
        complain($file, $n, 'blank at the end of the line') if $raw =~ /[ ]$/;
        complain($file, $n, length($raw) . ' columns, 80 at most')
            if length $raw > 80;
        complain($file, $n, '// comment') if $code =~ m{//};

        if ($raw eq '') {
            complain($file, $n, 'more than two blank lines')
                if ++$blanks == 3;
            next;
        }

        if (defined $end && $raw !~ /^#/) {
            complain($file, $n, 'two blank lines between functions')
                if $n - $end != 3;
        }
        undef $end;
        $blanks = 0;

        (my $c = $code) =~ s/\s+$//;
        next if $c eq '';

        if ($c =~ /^#/) {
            $before = '' if $c !~ /\\$/;
            next;
        }

        # parts of macros have their own shape
        my $macro = $c =~ /\\$/ || ($i > 0 && $code[$i - 1] =~ /\\\s*$/);

        complain($file, $n, "blank after \"$1\"")
            if $c =~ /\b(if|for|while|switch)\(/;
        complain($file, $n, 'blank before "{"') if $c =~ /\)\{/;
        complain($file, $n, '"else" on the line of the closing brace')
            if $c =~ /^\s*else\b/ && $before =~ /\}$/;

        if (!$macro && $depth == 0) {
            if ($c =~ /^\s*(?:\} else )?(if|for|while) (\(.*)$/) {
                my ($word, $rest) = ($1, $2);
                my $open = 0;
                my $at = 0;
                while ($rest =~ /([()])/g) {
                    $open += $1 eq '(' ? 1 : -1;
                    if ($open == 0) { $at = pos $rest; last }
                }
                my $tail = $at ? substr $rest, $at : '{';
                $tail =~ s/^\s+|\s+$//g;
                my $do = $word eq 'while' && $tail eq ';';
                complain($file, $n, "braces after \"$word\"")
                    if $tail !~ /^\{(?:.*\})?$/ && !$do && $tail ne ''
                       || $tail eq '' && $next !~ /^\s*\{/;
            }

            if ($before =~ /[;{}]$/ && $c =~ /^([ ]*)(?:if|for|while|switch
                |return|goto|break|continue|do|case|default)\b/x)
            {
                complain($file, $n, 'indent by four blanks')
                    if length($1) % 4 || length($1) == 0;
            }
        }

        # a definition: from column 0 to a "{" at column 0
        if (!$macro && $depth == 0 && $c =~ /^[A-Za-z_][\w\s\*]*\b\w+\(/
            && $c !~ /^\w+\(/ && $c !~ /=/)
        {
            my $j = $i;
            $j++ while $j < $#code && $code[$j] !~ /[;{]/;
            complain($file, $n, 'return type on its own line')
                if $code[$j] =~ /\{/ && $code[$j] !~ /;/;
        }

        if ($c =~ /^\w+\(.*\)\s*\{$/ && $depth == 0 && !$macro) {
            complain($file, $n, 'a function\'s "{" on its own line');
        }

        $end = $n if $c eq '}' && $raw eq '}';

        $depth += ($c =~ tr/(//) - ($c =~ tr/)//);
        $depth = 0 if $depth < 0 || $c =~ /^\}/;
        $before = $c;
    }

    return;
}


die "usage: $0 FILE...\n" if !@ARGV;
check($_) for @ARGV;
exit($bad ? 1 : 0);
