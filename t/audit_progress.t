#!/usr/bin/perl
# How far tsface-audit is, on a terminal and nowhere else; and that it takes no
# more memory for a trail ten times as long.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes 'sleep';

use lib "$FindBin::Bin/lib";
use TSFace::Tool;

my $tool = TSFace::Tool->new;
my $dir = $tool->dir;
my @key = ('--key', $tool->key);

$SIG{ALRM} = sub { die "$0: still running\n" };
alarm 240;

# A trail of attempts by so many callers.
sub trail {
    my ($n, $callers, %o) = @_;
    my $trail = $tool->trail;
    for my $i (1 .. $n) {
        my @members = (request_id => "r$i", attempt => 1,
            caller => 'C' . $i % $callers, operation => 'face.revoke');
        $trail->record(type => 'intent', @members);
        $trail->record(type => 'outcome', @members, result => 'success')
            if !$o{open};
    }
    return join '', $trail->lines;
}

# --- progress

my $few = trail(5_000, 3);
my $file = $tool->write('trail.jsonl', $few);
my $bar = qr{\r *(\d+)%  (\d+\.\d) of (\d+\.\d) MB  \d+ MB/s\x1b\[K};

for my $command ([ 'verify' ], [ 'stats' ], [ 'orphans' ], [ 'show' ],
    [ 'export', '--format', 'csv' ])
{
    my ($code, $out, $err) = $tool->run(@$command, '--progress', @key, $file,
        $file);
    next if $command->[0] eq 'verify' && is $code, 1, 'verify: not whole';
    my @percent = map { /$bar/ ? $1 : () } $err =~ /\r *\d+%[^\r\n]*/g;
    cmp_ok scalar @percent, '>=', 3, "@$command: --progress shows it";
    is_deeply \@percent, [ sort { $a <=> $b } @percent ], 'it goes on';
    my $all = sprintf '%.1f', 2 * length($few) / 1e6;
    like $err, qr/100%  \Q$all of $all\E MB /, 'up to the end';
    like $err, qr/\r\x1b\[K(?:[^\r]*\n)?(?:[^\r]*\n)?\z/, 'and is erased';
    unlike $out, qr/\x1b/, 'on the standard error only';
}

my ($code, $out, $err) = $tool->run('verify', '--progress', @key, $file);
is $code, 0, 'verify';
like $err, qr/100%.*\r\x1b\[K\z/, 'is erased before the result';
my @verdict = $tool->run('verify', @key, $file);
is $verdict[2], '', 'not on what is no terminal';
is $out, $verdict[1], 'the result is the same';
like $out, qr/^whole: 10000 records/, 'whole';

my $program = $tool->program;
$err = `cat $file | $program verify --progress @key - 2>&1 >/dev/null`;
like $err, qr{\r\d\.\d MB  \d+ MB/s\x1b\[K}, 'a pipe: how much';
unlike $err, qr/%/, 'not of how much';

# With a terminal for standard error, and output, or one of them.  What comes
# takes a second, in pieces.
sub terminal {
    my ($command) = @_;
    $command = "{ head -c 500000 $file; sleep 0.8; tail -c +500001 $file; } | "
        . $command;
    my $said = `script -qec '$command' /dev/null < /dev/null 2>&1`;
    return ($? >> 8, $said);
}

($code, my $said) = terminal("$program verify @key -");
is $code, 0, 'verify on a terminal';
like $said, qr{\r\d\.\d MB  \d+ MB/s\x1b\[K}, 'shows it, as it takes long';
like $said, qr/\r\x1b\[Kwhole: 10000 records/, 'and erases it';
($code, $said) = terminal("$program verify --quiet @key -");
like $said, qr/\Awhole: /, '--quiet does not';
($code, $said) = terminal("$program show --limit 9000 @key -");
unlike $said, qr/\x1b/, 'nor between records';
($code, $said) = terminal("$program show @key - > $dir/shown");
like $said, qr/\x1b/, 'but where these go to a file';

$said = `script -qec '$program verify @key $file' /dev/null < /dev/null`;
like $said, qr/\Awhole: /, 'what is quick shows nothing';

# --- memory

# What it had at most when all was read, from a pipe that is not closed yet.
sub memory {
    my ($trail, @command) = @_;

    my $pid = open my $pipe, '|-', "exec $program @command - "
        . ">$dir/stdout 2>$dir/stderr" or die "$program: $!\n";
    print $pipe $trail;
    $pipe->flush;

    # it has read all when the pipe is empty, and then sleeps
    sleep 0.1;
    $tool->wait_asleep($pid, 30);
    my ($kb) = $tool->read("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m;
    close $pipe;
    is $? & 127, 0, "@command ends" =~ s/\Q$dir\E/.../gr;

    return $kb;
}

SKIP: {
    skip 'sanitizers keep what is freed', 1 if $ENV{TSFACE_SANITIZE};
    skip 'no /proc', 1 if !-e '/proc/self/status';

    my $many = trail(50_000, 3);
    for my $command ([ 'verify' ], [ 'show' ], [ 'orphans' ], [ 'stats' ],
        [ 'export', '--format', 'ocsf' ])
    {
        my ($small, $large) = map { memory($_, @$command, @key) } $few, $many;
        cmp_ok $large, '<', $small + 512,
            "@$command: $small KB for 10,000 records, $large KB for 100,000"
                =~ s/\Q$dir\E/.../gr;
    }

    # one value each: those beyond the first ten thousand are not kept
    my ($small, $large) = map { memory(trail($_, $_), 'stats', @key) }
        12_000, 36_000;
    cmp_ok $large, '<', $small + 512,
        "stats: $small KB for 12,000 callers, $large KB for 36,000";
    like $tool->read("$dir/stdout"), qr/^caller +26000  \(others\)$/m,
        'which are told of';

    # open intents are kept, as they are the answer
    ($small, $large) = map { memory(trail($_, 3, open => 1), 'orphans', @key) }
        2_000, 20_000;
    cmp_ok $large, '>', $small, "orphans: $small KB for 2,000 open intents, "
        . "$large KB for 20,000";
}

done_testing();
