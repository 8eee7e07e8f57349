#!/usr/bin/perl
# tsface-audit on trails that the gateway wrote: what it says of whole ones,
# and that it finds whatever is done to one.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;
use TSFace::Tool;
use Cwd 'abs_path';
use Digest::SHA 'hmac_sha256_hex';
use File::Basename 'dirname';
use JSON::PP ();
use POSIX ();

my $root = dirname(dirname(abs_path(__FILE__)));
my $t = TSFace::Test->new;
my $dir = $t->dir;

# A rotated file by itself begins in the middle of the chain.
$t->allow(qr/^trail: line 1: the mac does not follow/,
    qr/^trail: outcome without intent/);

# --- it builds, by itself

my $tool = eval { TSFace::Tool::build("$dir/tmp/tsface-audit") };
ok $tool, 'it compiles' or die $@;

my @tool = $ENV{TSFACE_TEST_VALGRIND} ? ('valgrind', '-q',
    "--log-file=$dir/san/valgrind.%p", $tool) : ($tool);

# Runs it: its exit code; what it says is in $said.
my $said;
sub audit {
    my @arguments = @_;
    (my $code, $said) = $t->run(30, @tool, @arguments);
    return $code;
}

# --- trails of the gateway

$t->start(<<'CONF');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    tsface_audit_trail plain {
        file       %%DIR%%/trail/plain.jsonl;
        key        file:%%DIR%%/secrets/audit.key;
        user_id    plain;
        durability write;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        tsface_caller $http_x_caller;
        tsface_audit  trail;
        location / { tsface_pass sandbox; }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        tsface_caller $http_x_caller;
        tsface_audit  plain;
        location / { tsface_pass sandbox; }
    }
}
CONF

my $trail = "$dir/trail/trail.jsonl";
my $plain = "$dir/trail/plain.jsonl";
my $key = "$dir/secrets/audit.key";
my @key = ('--key', $key);
my @files = ("$trail.2", "$trail.1", $trail);

my $answer;

for my $rest (reverse 0 .. 2) {
    for my $n (1 .. 34) {
        $answer = $t->revoke($n % 9 == 0 ? 'no-such-user' : 'user-' . $n % 3,
            caller => $n % 2 ? 'CN=payments' : 'CN=support');
    }
    $t->revoke(undef, json => { user_id => 'user-1', reason => 'lost' });
    $t->revoke(undef, json => { nobody => 1 });
    last if !$rest;

    rename $trail, "$trail.$rest" or die "$trail: $!\n";
    kill 'USR1', $t->master;
    $t->wait_for(sub { -e $trail }, 5);
}

my $id = $answer->header('X-TSFace-Request-ID');

for my $n (1 .. 20) {
    $t->revoke("user-$n", port => $t->port(1), caller => "C\x{1b}[31m");
}

my @original = map { [ $t->read_file($_) =~ /.*\n/g ] } @files;
my @whole = map { @$_ } @original;
my $count = @whole;
my $json = JSON::PP->new->utf8->canonical;
my @records = map { $json->decode($_) } @whole;

cmp_ok $count, '>=', 200, "a trail of $count records in three files";
is scalar(grep { !@$_ } @original), 0, 'none is empty';

# --- verify

is audit('verify', @key, @files), 0, 'verify: whole' or diag $said;
like $said, qr/^whole: $count records in 3 files$/m, 'all were counted';
like $said, qr/^first: seq 1  \Q$records[0]{time}\E$/m, 'first seq and time';
like $said, qr/^last:  seq $count  \Q$records[-1]{time}\E$/m,
    'last seq and time';
is audit('verify', '--from-start', @key, @files), 0, 'from the start';

my $mark = "$count:$records[-1]{mac}";
like $said, qr/^mark:  $mark$/m, 'a mark to remember';

is audit('verify', @key, @files[1, 2]), 0, 'a later file by itself';
like $said, qr/^begins in the middle: seq $records[@{ $original[0] }]{seq} /m,
    'and it says so';
is audit('verify', '--from-start', @key, @files[1, 2]), 1,
    'which is wrong with --from-start';
like $said, qr/^\Q$files[1]\E:1: seq \d+: missing: seq 1 to /m,
    'what is missing';

my $before = $records[$#{ $original[0] }];
is audit('verify', '--after', "$before->{seq}:$before->{mac}", @key,
    @files[1, 2]), 0, 'or after a mark';
unlike $said, qr/middle/, 'and then all is checked';
is audit('verify', '--after', "$before->{seq}:" . 'a' x 64, @key,
    @files[1, 2]), 1, 'another mark';
like $said, qr/^\Q$files[1]\E:1: .*changed/m, 'is found';

is audit('verify', @key, reverse @files), 1, 'files in another order';
like $said, qr/oldest first\?/, 'a hint';

is audit('verify', @key, '--chain', "$trail.chain", '--seen', $mark, @files),
    0, 'as long as PATH.chain and a mark say' or diag $said;
my $short = $t->write_file('tmp/short', join '', @{ $original[2] }[
    0 .. $#{ $original[2] } - 1 ]);
is audit('verify', @key, @files[0, 1], $short), 0,
    'the last record cut off: not to be seen in the records';
is audit('verify', @key, '--chain', "$trail.chain", @files[0, 1], $short), 1,
    'but by PATH.chain';
like $said, qr/from seq 1 to @{[ $count - 1 ]}, but seq $count was /, 'how far';
is audit('verify', @key, '--seen', $mark, @files[0, 1], $short), 1,
    'and by a mark';
is audit('verify', @key, '--seen', "$count:" . '0' x 64, @files), 1,
    'another record than the mark\'s';
like $said, qr/:@{[ scalar @{ $original[2] } ]}: seq $count: not the record /,
    'which';

my $first = $records[@{ $original[0] }];
is audit('verify', @key, '--seen', "$first->{seq}:" . '0' x 64,
    @files[1, 2]), 1, 'also if it is the first in these files';
is audit('verify', @key, '--seen', "1:$records[0]{mac}", @files[1, 2]), 1,
    'a mark from before these files';
like $said, qr/goes from seq $first->{seq} to $count, but seq 1 was /,
    'proves nothing of them';

# what the gateway itself had noticed: seq goes on after the lost ones

my $gap = $whole[1] =~ s/"seq":2,/"seq":9,/r
    =~ s/"type":"\w+".*(?=,"mac":)/"type":"open","reason":"truncated"/r;
$t->write_file('tmp/gap', $whole[0] . $gap);
is audit('verify', @key, "$dir/tmp/gap"), 1, 'truncated, says the trail';
like $said, qr/:2: seq 9: missing: seq 2 to 8, as nginx noticed/, 'so does it';

my ($code) = $t->run(10, 'sh', '-c', "cat @files | $tool verify @key -");
is $code, 0, 'from a pipe';

$t->write_file('tmp/empty', '');
is audit('verify', @key, "$dir/tmp/empty"), 1, 'an empty trail is not whole';
is audit('verify', @key, "$dir/tmp/empty", @files), 0, 'an empty file may be';

$t->write_file('tmp/zero', $whole[0] =~ s/"seq":1,/"seq":0,/r);
is audit('verify', @key, "$dir/tmp/zero"), 1, 'no record has seq 0';
like $said, qr/:1: not a record\n/, 'and this is none';

# --- keys, usage, files

my $other = $t->write_file('tmp/other.key', 'f' x 64);
chmod 0600, $other;
is audit('verify', '--key', $other, @files), 1, 'another key';
like $said, qr/:1: seq 1: is under the key with the id [0-9a-f]{16}: give /,
    'and which it is not';
is audit('verify', '--key', $other, @key, @files), 0, 'more keys than one';
is audit('verify', '--from-start', '--key', $other, $plain), 1,
    'another key, again';
$t->write_file('tmp/old', $whole[0] =~ s/,"key_id":"[0-9a-f]+"//r);
is audit('verify', '--key', $other, "$dir/tmp/old"), 1,
    'a trail of a version without ids of keys, another key';
like $said, qr/:1: seq 1: changed: .* the right key\?/, 'a hint';
chmod 0644, $other;
is audit('verify', '--key', $other, @files), 2, 'a key for others to read';
like $said, qr/others can use it/, 'is refused';

for my $wrong ([ 'verify', @files ], [ 'verify', @key ], [ 'nothing' ], [],
    [ 'verify', '--key', "$dir/none", @files ], [ 'keygen', 'x' ],
    [ 'verify', @key, "$dir/none" ], [ 'verify', @key, $dir ],
    [ 'verify', @key, '--caller', 'x', @files ],
    [ 'verify', @key, '--after', '7:ab', @files ],
    [ 'verify', @key, '--after', $mark, '--from-start', @files ],
    [ 'verify', @key, '--chain', $trail, @files ],
    [ 'verify', @key, '--accept-key', 'x' x 16, @files ],
    [ 'verify', @key, '--accept-key', 'a' x 17, @files ],
    [ 'verify', (@key) x 17, @files ],
    [ 'verify', @key, '--chain', "$dir/none", @files ],
    [ 'show', @key, '--since', 'yesterday', @files ],
    [ 'show', @key, '--until', '2026-11-', @files ],
    [ 'show', '--user', 'user-1', @files ], [ 'stats', '--json', @files ])
{
    is audit(@$wrong), 2, 'exit code 2: '
        . (join(' ', @$wrong) =~ s/\Q$dir\E/.../gr || 'nothing');
    ok length $said, 'and a reason';
}

SKIP: {
    skip 'no /dev/full', 1 if !-c '/dev/full';
    ($code) = $t->run(10, 'sh', '-c', "$tool show @key @files > /dev/full");
    is $code, 2, 'a full disk is told of';
}

is audit('help'), 0, 'help';
like $said, qr/^usage: tsface-audit verify /, 'is help';
is audit('show', '--help'), 0, 'help, asked of a command';
like $said, qr/^usage: tsface-audit verify /, 'is the same';
is audit('--version'), 0, '--version';
like $said, qr/^tsface-audit \d+\.\d+\.\d+$/, 'is a version';

is audit('keygen'), 0, 'keygen';
like $said, qr/\A[0-9a-f]{64}\n\z/, '256 bits in hex';
my $once = $said;
audit('keygen');
isnt $said, $once, 'another each time';

# the manual has each command and option

my $manual = $t->read_file("$root/docs/tsface-audit.1") =~ s/\\-/-/gr;
audit('help');
for my $word (sort { $a cmp $b } keys %{{ map { $_ => 1 }
    $said =~ /(--[a-z-]+)/g, $said =~ /^([a-z]+)  /mg }})
{
    like $manual, qr/(?<![\w-])\Q$word\E\b/, "the manual has $word";
}

# --- show

# The seqs that show --json gives must be those of the records that match.
sub shows {
    my ($options, $matches, $what) = @_;

    my @want = map { $whole[$_] } grep { $matches->($records[$_]) }
        0 .. $#records;
    is audit('show', @key, '--json', @$options, @files), 0, "show: $what";
    is $said, join('', @want), 'these ' . @want . ' records';
    ok @want > 0, 'which are some';
    return;
}

my $hmac = hmac_sha256_hex("tsface user\0user-1", $t->read_file($key));
my $day = substr $records[0]{time}, 0, 10;
my $since = $records[50]{time};

shows([], sub { 1 }, 'all');
shows([ '--caller', 'CN=support' ], sub { ($_[0]{caller} // '')
    eq 'CN=support' }, 'caller');
shows([ '--user', 'user-1' ], sub { $_[0]{user}
    && $_[0]{user}{hmac} eq $hmac }, 'user');
shows([ '--operation', 'face.revoke' ], sub { ($_[0]{operation} // '')
    eq 'face.revoke' }, 'operation');
shows([ '--result', 'denied' ], sub { ($_[0]{result} // '') eq 'denied' },
    'result');
shows([ '--type', 'refusal' ], sub { $_[0]{type} eq 'refusal' }, 'type');
shows([ '--request-id', $id ], sub { ($_[0]{request_id} // '') eq $id },
    'request id');
shows([ '--since', $since ], sub { $_[0]{time} ge $since }, 'since');
shows([ '--until', $since ], sub { $_[0]{time} le $since }, 'until');
shows([ '--since', $day ], sub { 1 }, 'a whole day');
shows([ '--result', 'success', '--caller', 'CN=payments' ], sub {
    ($_[0]{result} // '') eq 'success' && $_[0]{caller} eq 'CN=payments' },
    'two of them');

is audit('show', @key, '--result', 'denied', @files), 0, 'show: a table';
my ($denied) = grep { ($_->{result} // '') eq 'denied' } @records;
like $said, qr/^seq +time +type +request_id .*caller$/m, 'with a heading';
like $said, qr/^$denied->{seq}\ +\Q@{[ substr $denied->{time}, 0, 23 ]}\E
    \ +outcome\ +$denied->{request_id}\ +face\.revoke\ +denied\ +404\ +
    @{[ substr $denied->{user}{hmac}, 0, 16 ]}\ +$denied->{caller}$/mx,
    'and a line a record';

is audit('show', @key, '--user', 'user-7', '--json', $plain), 0,
    'show: a user of a trail with plain ids';
is scalar(() = $said =~ /"plain":"user-7"/g), 2, 'both records';
is audit('show', @key, $plain), 0, 'show: what a caller wrote';
unlike $said, qr/\x1b/, 'does not reach the terminal';

is audit('show', @files), 0, 'show: without a key';
like $said, qr/no --key: nothing was checked/, 'says so';

$t->write_file('tmp/broken', join '', @whole[0 .. 4], "x\n",
    '{"v":1' . 'y' x 20_000 . "\n", @whole[8 .. 12]);
is audit('show', @key, '--json', "$dir/tmp/broken"), 1, 'show: a broken one';
like $said, qr/broken:6:\ after\ seq\ 5:\ not\ a\ record\n.*
    ^NOT\ WHOLE:\ the\ chain\ breaks\ in\ 3\ places/msx, 'how';
is scalar(() = $said =~ /^\{/mg), 10, 'and all its records';

# --- orphans, stats

is audit('orphans', @key, @files), 0, 'orphans';
is $said, "0 orphan intents\n", 'there is none';

my ($intent) = grep { $whole[$_] =~ /"type":"intent"/ } 100 .. $#whole;
$t->write_file('tmp/orphan', join '', @whole[0 .. $intent]);
is audit('orphans', @key, '--json', "$dir/tmp/orphan"), 0, 'orphans: one';
is $said, $whole[$intent], 'which it is';
is audit('orphans', @key, "$dir/tmp/orphan"), 0, 'as a table';
like $said, qr/ intent +$records[$intent]{request_id} .*\n1 orphan intent\n/,
    'too';
is audit('orphans', @key, '--caller', 'CN=nobody', "$dir/tmp/orphan"), 0,
    'of a caller who has none';
is $said, "0 orphan intents\n", 'there is none';

my @intents = grep { /"type":"intent"/ } @whole;
$t->write_file('tmp/orphans', join '', @intents);
is audit('orphans', '--json', "$dir/tmp/orphans"), 1, 'orphans: nothing else';
is join('', $said =~ /^\{.*\n/mg), join('', @intents), 'in their order';

is audit('stats', @key, @files), 0, 'stats';
my %n;
for my $r (@records) {
    $n{"type $r->{type}"}++;
    next if !$r->{result};
    $n{"result $r->{result}"}++;
    $n{"caller $r->{caller}"}++ if defined $r->{caller};
    $n{"operation $r->{operation}"}++ if defined $r->{operation};
}
my %said = map { /^(\w+) +(\d+)  (.*)$/ ? ("$1 $3" => $2) : () }
    split /\n/, $said;
is_deeply \%said, \%n, 'counts';
like $said, qr/^records\ +$count\nfirst\ +\Q$records[0]{time}\E
    \nlast\ +\Q$records[-1]{time}\E\n/x, 'number, first and last time';

# --- tampering: each edit is found, and at its line

my $tried = $ENV{TSFACE_TEST_VALGRIND} ? 40 : $ENV{TSFACE_TEST_LONG} ? 5_000
    : 1_200;
my $seed = $ENV{TSFACE_TEST_SEED} || time;
srand $seed;

my @foreign = $t->read_file($plain) =~ /.*\n/g;

my %edit = (
    'a bit' => sub {
        my ($lines, $n) = @_;
        my $at = int rand length $lines->[$n];
        substr($lines->[$n], $at, 1) ^= chr(1 << int rand 8);
    },
    'a line dropped' => sub {
        my ($lines, $n) = @_;
        splice @$lines, $n, 1;
    },
    'two lines swapped' => sub {
        my ($lines, $n) = @_;
        my $m = int rand @$lines;
        @$lines[$n, $m] = @$lines[$m, $n];
    },
    'a line doubled' => sub {
        my ($lines, $n) = @_;
        splice @$lines, int rand(@$lines + 1), 0, $lines->[$n];
    },
    'a piece cut out' => sub {
        my ($lines, $n) = @_;
        my $bytes = join '', @$lines;
        my $at = int rand length $bytes;
        substr $bytes, $at, 1 + int rand(length($bytes) - $at), '';
        @$lines = $bytes =~ /.*\n|.+\z/g;
    },
    'lines of another trail' => sub {
        my ($lines, $n) = @_;
        my $m = int rand @foreign;
        my $k = 1 + int rand(@foreign - $m);
        splice @$lines, $n, int rand(2) * $k, @foreign[$m .. $m + $k - 1];
    },
    'a member' => sub {
        my ($lines, $n) = @_;
        my $line = $lines->[$n];
        my @edits = (
            sub { $line =~ s/"seq":(\d+)/'"seq":' . ($1 + 1)/e },
            sub { $line =~ s/"time":"\d/"time":"3/ },
            sub { $line =~ s/"type":"\w+"/"type":"close"/ },
            sub { $line =~ s/"result":"\w+"/"result":"error"/ },
            sub { $line =~ s/"caller":"[^"]*"/"caller":"CN=root"/ },
            sub { $line =~ s/"hmac":"./"hmac":"x/ },
            sub { $line =~ s/"status":\d+/"status":200/ },
            sub { $line =~ s/,"mac"/,"more":1,"mac"/ },
            sub { $line =~ s/"mac":"..../"mac":"0000/ },
        );
        $edits[rand @edits]->();
        $json->decode($line);
        $lines->[$n] = $line;
    },
);

# Where edited files differ from the original first; () if they are its
# beginning, whole lines only: that is a cut at the end.
sub difference {
    my @edited = @_;

    my $n = 0;
    for my $file (0 .. $#edited) {
        my $number = 0;
        for my $line (@{ $edited[$file] }) {
            $number++;
            return ($file, $number) if $n >= @whole || $line ne $whole[$n++];
        }
    }

    return;
}

$ENV{ASAN_OPTIONS} = "log_path=$dir/san/asan";
$ENV{UBSAN_OPTIONS} = "print_stacktrace=1:log_path=$dir/san/ubsan";

my (%tried, @missed, @elsewhere, @dead);
my @kinds = sort keys %edit;
my @reading = ('show', 'show --json', 'orphans', 'stats',
    'stats --caller x');

for (my $n = 0; $n < $tried; ) {
    my $kind = $kinds[$n % @kinds];
    my $file = int rand 3;
    my @edited = map { [ @$_ ] } @original;
    $edit{$kind}->($edited[$file], int rand @{ $edited[$file] });

    # bytes may have made lines of one, or one of lines
    $edited[$file] = [ join('', @{ $edited[$file] }) =~ /.*\n|.+\z/g ];

    my ($where, $line) = difference(@edited) or next;
    $n++;
    $tried{$kind}++;

    my $changed = $t->write_file('tmp/edited', join '', @{ $edited[$file] });
    my @names = @files;
    $names[$file] = $changed;

    open my $fh, '-|', @tool, 'verify', '--from-start', @key, @names
        or die "$tool: $!\n";
    my $told = do { local $/; <$fh> };
    close $fh;
    my $exit = $?;

    # without a key, nothing stands between such bytes and what reads them

    if ($n % 8 == 0) {
        my @command = ($reading[rand @reading], $changed);
        system "@tool @command > /dev/null 2>&1";
        push @dead, "$kind: @command: exit $?" if $? != 0 && $? != 1 << 8;
    }

    push @missed, "$kind: exit $exit: $told" if $exit != 1 << 8;

    # the beginning of another trail with this key is one: what follows is not
    next if $where == 0 && $line == 1 && $edited[0][0] eq $foreign[0];

    push @elsewhere, "$kind: not $names[$where]:$line but $told"
        if $told !~ /\A\Q$names[$where]\E:$line: .+\nNOT WHOLE: /
        && $told !~ /\A\Q$names[$where]\E:$line: .+\n.*swapped\nNOT WHOLE: /;
}

my $tally = join ', ', map { "$_: $tried{$_}" } @kinds;
is scalar @missed, 0, "$tried edits are found ($tally)"
    or diag "seed $seed\n", @missed[0 .. ($#missed > 4 ? 4 : $#missed)];
is scalar @elsewhere, 0, 'each at the first line that differs'
    or diag "seed $seed\n",
        @elsewhere[0 .. ($#elsewhere > 4 ? 4 : $#elsewhere)];
is scalar @dead, 0, 'and can be shown' or diag "seed $seed\n", @dead;

# --- while it is being written: PATH.chain is read first, so it is never ahead

my %live;
$t->under_load(sub {
    for (1 .. 20) {
        my $exit = audit('verify', @key, '--chain', "$trail.chain", @files);
        $live{ $exit == 1 && $said =~ /: torn: / ? 'torn' : $exit }++;
    }
}, clients => 4, pause => 0.001);
ok !(grep { $_ ne '0' && $_ ne 'torn' } keys %live) && $live{0},
    'a trail that grows is whole' or diag explain \%live, $said;

# --- follow, over rotations under load: each record once, in its order

my $followed = "$dir/tmp/followed";
my $pid = fork;
die "fork: $!\n" if !defined $pid;
if (!$pid) {
    open STDOUT, '>', $followed or die "$followed: $!\n";
    open STDERR, '>', "$followed.err" or die "$followed.err: $!\n";
    exec @tool, 'follow', @key, '--json', '--lines', 10_000, $trail
        or POSIX::_exit(127);
}
$t->wait_for(sub { -s $followed }, 20);

$t->under_load(sub {
    for my $n (1 .. 3) {
        sleep 1.2;
        rename $trail, "$trail.under$n" or die "$trail: $!\n";
        kill 'USR1', $t->master;
        $t->wait_for(sub { -e $trail }, 10);
    }
    sleep 0.4;
}, clients => 4, pause => 0.001);

my @under = map { $t->read_file($_) } map({ "$trail.under$_" } 1 .. 3), $trail;
my $under = join '', @under;
$t->wait_for(sub { -s $followed >= length $under }, 20);
kill 'TERM', $pid;
waitpid $pid, 0;
is $?, 0, 'follow: ends with 0, the chain was whole'
    or diag $t->read_file("$followed.err");
is scalar(grep { !length } @under), 0, 'three rotations under load';
ok $t->read_file($followed) eq $under, 'all records, as they were written: '
    . ($under =~ tr/\n//);

done_testing;
