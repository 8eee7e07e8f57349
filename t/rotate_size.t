#!/usr/bin/perl
# The trail is rotated by its size, by whichever worker finds that it has it,
# under load: all files are one chain, each begins with "open" and a
# checkpoint and ends with "rotate" and one, and no request fails.  Where
# workers may not rename, the file goes on.

use lib 't/lib';
use TSFace::Test;
use TSFace::Cert 'key_pair';
use TSFace::Load;
use TSFace::Trail;

my $t = TSFace::Test->new(workers => 4, timeout => 150);
my $dir = $t->dir;
my $sandbox = $t->sandbox;
my $trail = "$dir/trail/trail.jsonl";
my $second = "$dir/tmp/checkpoints";

# A rotated file by itself begins in the middle of the chain.
$t->allow(qr/^trail: line 1: the mac does not follow/,
    qr/^trail: outcome without intent/);

my ($pem, $pub) = key_pair($t, 'checkpoint');

my @how = ('--from-start', '--key', "$dir/secrets/audit.key");
my @public = ('--public-key', $pub, '--checkpoints', $second);

sub conf {
    my ($more) = @_;
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%

    tsface_audit_trail trail {
        file        $trail;
        key         file:$dir/secrets/audit.key;
        rotate_size 64k;
        timeout     20s;
        $more
    }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
    }
}
END
}

# In the order of their names, as a shell gives them.
sub files {
    my @old = sort glob "$trail.[0-9]*";
    return (@old, -e $trail ? $trail : ());
}

sub whole {
    my $all = $t->write_file('tmp/all.jsonl',
        join '', map { $t->read_file($_) } files());
    return TSFace::Trail::read_trail($all, $t->read_file('secrets/audit.key'));
}

for my $checkpoints (0, 1) {
    my $what = $checkpoints ? 'with checkpoints' : 'without checkpoints';
    my $conf = conf($checkpoints ? "checkpoint_key file:$pem;"
        . "checkpoint_records 50; checkpoint_file $second;" : '');

    $t->{master} ? $t->reload($conf) : $t->start($conf);
    is $t->revoke('user-1')->status, 204, "$what: revoked";

    my $before = () = files();
    my $load = $t->under_load(sub {
        $t->wait_for(sub { (() = files()) > $before + 5 }, 30);
    }, clients => 8);
    is_deeply [ keys %{ $load->{count} } ], [ 204 ], 'under load: only 204'
        or diag explain $load->{count};
    my @files = files();
    cmp_ok scalar @files, '>', $before + 4, 'more files than before';

    my ($records, $wrong) = whole();
    is_deeply $wrong, [], 'they are one chain'
        or diag explain [ @$wrong[0 .. ($#$wrong > 9 ? 9 : $#$wrong)] ];
    my %outcome = map { $_->{request_id} => 1 }
        grep { $_->{type} eq 'outcome' } @$records;
    is scalar(grep { !$outcome{ $_->{id} } } @{ $load->{answers} }), 0,
        'with all that was answered';

    is $t->audit('verify', @how, @files), 0, 'verify: whole' or diag $t->said;
    if ($checkpoints) {
        is $t->audit('verify', @how, @public, @files), 0, 'and signed'
            or diag $t->said;
    }

    my (@large, @named, @ends, @begins);
    for my $file (@files[$before .. $#files]) {
        my ($own, undef) = TSFace::Trail::read_trail($file, '');
        my $n = @$own;
        push @begins, join ' ', map { $_->{type} } @$own[0 .. $checkpoints];
        next if $file eq $trail;
        push @large, "$file: " . -s _ if -s $file < 65_536
            || -s _ > 65_536 * 2;
        push @named, $file if $file ne sprintf '%s.%012d', $trail,
            $own->[-1]{seq};
        push @ends, join ' ', map { $_->{type} }
            @$own[$n - 1 - $checkpoints .. $n - 1];
    }
    is_deeply \@large, [], 'each of its size, and a batch more at most';
    is_deeply \@named, [], 'named by its last record';
    is_deeply [ grep { $_ ne join ' ', 'rotate', ('checkpoint') x $checkpoints }
        @ends ], [], 'ends as it should';
    # the first is begun before the checkpoints were wanted
    shift @begins if $checkpoints;
    is_deeply [ grep { $_ ne join ' ', 'open', ('checkpoint') x $checkpoints }
        @begins ], [], 'and begins so';
    is sprintf('%04o', (stat $_)[2] & 07777), '0640', 'mode' for $files[-1];
}

like $t->error_log, qr/\[notice\].*"\Q$trail\E" has its size and was renamed,/,
    'the log says so';

# --- cut: the last files are missing, or the end of the last

my @files = files();
is $t->audit('verify', @how, @public, @files[0 .. $#files - 1]), 1, 'a file less';
like $t->said, qr/^NOT WHOLE: cut: a checkpoint of seq \d+ is known/m, 'is found';
my @lines = $t->read_file($files[-2]) =~ /.*\n/g;
my $short = $t->write_file('tmp/short', join '', @lines[0 .. $#lines - 1]);
is $t->audit('verify', @how, @public, @files[0 .. $#files - 2], $short), 1,
    'a file, and a checkpoint';
is $t->audit('verify', @how, @public, @files[0 .. $#files - 2], $short,
    $files[-1]), 1, 'a checkpoint';
# a file that has just had its size may have none after it
like $t->said, qr/^\Q$files[-1]\E:1: .*missing: seq/m, 'where it was';

# --- with USR1 and logrotate beside it

my $load = $t->under_load(sub {
    for my $n (1 .. 6) {
        rename $trail, sprintf '%s.%012d.by-hand', $trail,
            ($t->read_file($trail) =~ /"seq":(\d+)/g)[-1] // 0;
        kill 'USR1', $t->master if $n % 2;
        sleep 0.3;
    }
}, clients => 8);
is_deeply [ keys %{ $load->{count} } ], [ 204 ],
    'rotated by hand, too: only 204' or diag explain $load->{count};

# by the number of their first record: an empty one that USR1 made has none
my %first = map { my ($seq) = $t->read_file($_) =~ /"seq":(\d+)/;
    defined $seq ? ($_ => $seq) : () } files();
is $t->audit('verify', @how, @public, sort { $first{$a} <=> $first{$b} }
    keys %first), 0, 'whole' or diag $t->said;

# --- workers that may not rename

SKIP: {
    skip 'needs root', 6 if $> != 0;

    chown 0, -1, "$dir/trail";
    chmod 0755, "$dir/trail";
    rename $trail, sprintf '%s.%012d', $trail, 10**11;
    kill 'USR1', $t->master;
    ok $t->wait_for(sub { -e $trail && (stat _)[4] != 0 }, 5),
        'a new file of the master';

    my $log = length $t->error_log;
    my $before = () = files();
    my $result = $t->under_load(sub {
        $t->wait_for(sub { (-s $trail || 0) > 200_000 }, 30);
    }, clients => 6);
    is_deeply [ keys %{ $result->{count} } ], [ 204 ], 'only 204'
        or diag explain $result->{count};
    cmp_ok -s $trail, '>', 200_000, 'it grows';
    is scalar(() = files()), $before, 'into no other';
    is scalar(() = $t->read_file($trail) =~ /"type":"rotate"/g), 0,
        'no record says that it was rotated';
    my $told = () = substr($t->error_log, $log) =~
        /\[crit\].*has its size and can't be renamed in its directory: it goes on growing/g;
    ok $told >= 1 && $told <= 4, 'each worker says so once' or diag $told;
}

done_testing;
