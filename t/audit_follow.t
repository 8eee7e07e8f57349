#!/usr/bin/perl
# tsface-audit follow: what comes is shown, whatever happens to the file
# meanwhile, and it ends when it is told to.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use TSFace::Tool;
use TSFace::Wait 'wait_for';

my $tool = TSFace::Tool->new;
my $dir = $tool->dir;
my @key = ('--key', $tool->key);
my $file = "$dir/trail.jsonl";
my ($out, $err) = ("$dir/out", "$dir/err");

$SIG{ALRM} = sub { die "$0: still running\n" };
alarm 150;

my $patience = 20;
my $trail;
my $pid;

# A new trail with so many records, in the file.
sub begin {
    my ($n) = @_;

    unlink glob "$file*";
    $trail = $tool->trail;
    more() for 1 .. $n;
    $tool->write($file, $trail->lines);

    return;
}

# The line of a new record.
sub more {
    my (%o) = @_;
    my $n = 1 + (() = $trail->lines);
    my %member = (type => $n % 2 ? 'intent' : 'outcome',
        request_id => "r$n", caller => $n % 5 ? 'one' : 'five', %o);
    my $type = delete $member{type};
    return $trail->record(type => $type, map { $_ => $member{$_} }
        sort keys %member);
}

# Begins to follow, with outputs to files that are new.
sub follow {
    my (@arguments) = @_;
    $tool->write($out);
    $tool->write($err);
    $pid = $tool->start($out, $err, 'follow', @arguments);
    return;
}

# Waits for the output to be this.
sub shows {
    my ($want, $what) = @_;

    my $is;
    wait_for(sub { ($is = $tool->read($out)) eq $want }, $patience);

    is $is, $want, $what or diag $tool->read($err);
    $patience = 2 if $is ne $want;
    return;
}

sub says {
    my ($want, $what) = @_;

    wait_for(sub { $tool->read($err) =~ $want }, $patience);
    like $tool->read($err), $want, $what or $patience = 2;
    return;
}

# Its exit code, after a signal.
sub stop {
    my ($signal) = @_;
    kill $signal, $pid if $signal;
    waitpid $pid, 0;
    return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

my @json = (@key, '--json');

# --- what is there, what comes

begin(25);
my @lines = $trail->lines;
follow(@json, $file);
shows(join('', @lines[15 .. 24]), 'the last ten');

my $shown = join '', @lines[15 .. 24];
for (1 .. 3) {
    $tool->append($file, my $line = more());
    shows($shown .= $line, 'and those that come');
}

my $line = more();
$tool->append($file, substr $line, 0, 40);
sleep 0.6;
$tool->append($file, substr $line, 40);
shows($shown .= $line, 'one that is written in two pieces, once');

is stop('INT'), 0, 'SIGINT ends it';
is $tool->read($err), '', 'and there was no fault';

for my $signal (qw(TERM HUP)) {
    follow(@json, '--lines', 1, $file);
    shows($line, '--lines 1');
    is stop($signal), 0, "SIG$signal ends it";
}

begin(25);
follow(@json, '--lines', 3, '--caller', 'five', $file);
@lines = grep { /five/ } $trail->lines;
shows(join('', @lines[-3 .. -1]), '--lines 3, of those that match');
$tool->append($file, map { more() } 26 .. 31);
shows(join('', (grep { /five/ } $trail->lines)[-4 .. -1]), 'so do others');
is stop('TERM'), 0, 'whole';

follow(@key, '--lines', 1, $file);
my @table = ($tool->run('show', $file))[1] =~ /.*\n/g;
shows($table[0] . $table[-1], 'a table');
stop('TERM');

follow(@key, '--format', 'cef', '--lines', 0, $file);
ok $tool->wait_asleep($pid, 20), 'it waits for what comes';
$tool->append($file, more());
wait_for(sub { $tool->read($out) =~ /\n/ }, 20);
like $tool->read($out), qr/\ACEF:0\|.* externalId=32 .*\n\z/, 'as events';
stop('TERM');

follow(@json, '--limit', 2, '--lines', 1, $file);
ok $tool->wait_asleep($pid, 20), 'it waits for more';
$tool->append($file, more());
is stop(), 0, '--limit ends it';
is $tool->read($out), join('', ($trail->lines)[-2, -1]), 'after so many';

# --- rotation

begin(3);
follow(@json, $file);
$shown = join '', $trail->lines;
shows($shown, 'three');

for my $n (1 .. 3) {
    rename $file, "$file.$n" or die $!;
    $tool->append("$file.$n", $line = more());
    shows($shown .= $line, 'written to the file that was renamed');
    $tool->append("$file.$n", $line = more());
    $tool->write($file, my $next = more(type => 'open', reason => 'rotated'));
    shows($shown .= $line . $next, 'the new one is gone on with');
}

$tool->write("$file.new", $line = more());
rename "$file.new", $file or die $!;
shows($shown .= $line, 'replaced');
$tool->append($file, $line = more());
shows($shown .= $line, 'and gone on with');

unlink $file;
sleep 0.4;
$tool->write($file, $line = more());
shows($shown .= $line, 'deleted, and made again');
is stop('TERM'), 0, 'all that is one chain';
is $tool->read($err), '', 'with no fault';

follow(@json, "$file.1", "$file.2", "$file.3", $file);
says(qr/: missing: /, 'several files, one is not there any more');
stop('TERM');

# A writer may not have seen yet that there is a new file.  When this machine
# is slower than it is given time for, that was no test.

for my $try (1 .. 10) {
    begin(2);
    follow(@json, $file);
    shows($shown = join('', $trail->lines), 'two');
    kill 'STOP', $pid;
    rename $file, "$file.1" or die $!;
    $tool->write($file, '');
    sleep 0.3;
    my $since = time;
    kill 'CONT', $pid;
    sleep 0.05;
    $tool->append("$file.1", $line = more());
    my $spent = time - $since;
    $tool->append($file, my $next = more());
    stop('TERM'), next if $spent > 0.2;
    shows($shown . $line . $next, 'a record that was late in the old file');
    is stop('TERM'), 0, 'and no fault';
    last;
}

# The new file may be renamed, too, while the old one is read to its end.  It
# has to be looked at in between, which a slow machine may not do.

my $is;
for my $try (1 .. 8) {
    begin(2);
    follow(@json, $file);
    shows(join('', $trail->lines), 'two');
    kill 'STOP', $pid;
    rename $file, "$file.1" or die $!;
    $tool->write($file, more());
    sleep 0.3;
    kill 'CONT', $pid;
    sleep 0.1;
    rename $file, "$file.2" or die $!;
    $tool->write($file, $line = more());
    wait_for(sub { $tool->read($out) =~ /\Q$line\E/ }, 5);
    stop('TERM');
    $is = $tool->read($out);
    last if $is eq join '', $trail->lines;
}
is $is, join('', $trail->lines), 'two rotations in a tenth of a second';

# --- what a writer that died left is cut off

begin(2);
follow(@json, $file);
$shown = join '', $trail->lines;
shows($shown, 'two');
$tool->append($file, '{"v":1,"seq":3,"time":"2026-11-');
sleep 0.6;
truncate $file, length $shown;
$tool->append($file, $line = more(type => 'open', reason => 'torn_tail'));
shows($shown .= $line, 'half a record is not one');
is stop('TERM'), 0, 'and no fault';

# --- faults

begin(5);
follow(@json, $file);
$shown = join '', $trail->lines;
shows($shown, 'five');
$line = more();
$tool->append($file, $line =~ s/one|five/two/r);
says(qr/:6: seq 6: changed: /, 'a changed record is told of');
$shown .= $line =~ s/one|five/two/r;
$tool->append($file, "nonsense\n");
says(qr/:7: after seq 6: not a record/, 'so is what is none');
more();
$tool->append($file, $line = more());
says(qr/:8: seq 8: missing: seq 7 /, 'and a gap');
shows($shown .= $line, 'what is a record is shown');
is stop('TERM'), 1, 'then it ends with 1';
like $tool->read($err), qr/^NOT WHOLE: the chain breaks in 3 places$/m, 'why';

# of more than is read at once, in what was there and in what comes

begin(2);
$tool->append($file, 'x' x 3_000_000, "\n", more());
follow(@json, $file);
shows(join('', $trail->lines), 'a line without an end hides nothing');
says(qr/:3: after seq 2: not a record: the line is longer than /,
    'and is told of');
$tool->append($file, 'y' x 1_500_000);
sleep 0.6;
$tool->append($file, 'y' x 1_500_000, "\n", more());
shows(join('', $trail->lines), 'nor does one that grows');
is stop('TERM'), 1, 'it is not whole';
like $tool->read($err), qr/^NOT WHOLE: the chain breaks in 2 places$/m,
    'each is told of once';

begin(5);
follow(@json, $file);
shows(join('', $trail->lines), 'five again');
open my $fh, '>', $file or die $!;
close $fh;
says(qr/"\Q$file\E" was truncated/, 'a file that was cut');
$tool->append($file, $line = more());
shows(join('', $trail->lines), 'is gone on with');
is stop('TERM'), 1, 'but it is not whole';

begin(3);
follow('--json', $file);
shows(join('', $trail->lines), 'without a key');
is stop('TERM'), 0, 'it goes, too';
like $tool->read($err), qr/^no --key: /, 'and says so';

begin(3);
rename $file, "$file.1" or die $!;
$tool->write("$file.1", ($trail->lines)[0, 1],
    substr(($trail->lines)[2], 0, 50));
$tool->write($file, more());
follow(@json, "$file.1", $file);
says(qr/\.1:3: after seq 2: torn: .*\n.*:1: seq 4: missing: seq 3 /,
    'an older file that is torn');
stop('TERM');

# --- it ends by itself

unlink $file;
follow(@json, $file);
says(qr/"\Q$file\E": waiting for it to be there/, 'there is no file yet');
begin(2);
shows(join('', $trail->lines), 'it comes');
stop('TERM');

begin(2);
my $began = time;
my $said = `@{[ $tool->program ]} follow @json $file | head -n 1`;
is $said, ($trail->lines)[0], 'a pipe that is closed';
cmp_ok time - $began, '<', 20, 'ends it, although nothing is written';

my $program = $tool->program;
my $status = `exec 3>&1
    { $program follow @json $file; echo \$? >&3; } | head -n 1 >/dev/null`;
is $status, "0\n", 'with 0';

# --- a gap, and what is behind it can't be read: each is told as it is

begin(2);
my $unreadable = ($trail->lines)[1] =~ s/"seq":2,/"seq":7,/r
    =~ s/"type":"outcome",/"type":"outcome",nothing,/r;
$tool->write($file, ($trail->lines)[0], $unreadable);
follow(@json, $file);
says(qr/:2: seq 7: missing: seq 2 to 6 is not in front of it$/m,
    'what is missing has numbers');
shows(($trail->lines)[0], 'what can be read is shown');
is stop('TERM'), 1, 'the chain is broken';

for my $bad ([ '-' ], [ $dir ], [ '--format', 'csv', '--json', $file ],
    [ '--lines', 'x', $file ], [ '--lines', 10001, $file ],
    [ "$file.none", $file ], [ '/dev/null' ])
{
    my ($code, undef, $said) = $tool->run('follow', @$bad);
    is $code, 2, "follow @$bad" =~ s/\Q$dir\E/.../gr;
    ok length $said, 'and a reason';
}

done_testing();
