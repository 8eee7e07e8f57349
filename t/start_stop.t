#!/usr/bin/perl
# The trail says that nginx started and stopped, and was upgraded: once for
# each, not for a reload or "nginx -t", whichever signal ends it.  Nothing that
# is wrong with the trail keeps the master from leaving.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;
use Fcntl;
use TSFace::Trail;

my $t = TSFace::Test->new(workers => 2, daemon => 1, timeout => 120);
my $sandbox = $t->sandbox;
my $dir = $t->dir;
my $trail = "$dir/trail/trail.jsonl";

my $conf = <<'END';
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

# What the trail itself said, from record n on.
sub notes {
    my ($n) = @_;
    my @records = $t->records;
    return map { join ' ', $_->{type}, $_->{reason} || () }
        grep { $_->{type} !~ /intent|outcome/ } @records[($n || 0) .. $#records];
}

sub ends {
    my ($master, $signal) = @_;
    kill $signal, $master;
    return $t->wait_for(sub { !TSFace::Test::alive($master) }, 20);
}

$t->nginx_t($conf);
$t->start($conf);
my $master = $t->master;
is_deeply [ notes() ], [ 'open new', 'open started' ], 'nginx -t, and a start';
my ($started) = grep { ($_->{reason} || '') eq 'started' } $t->records;
ok !exists $started->{pid}, 'before it was a daemon it had another pid';
is $started->{key_id},
    TSFace::Trail::key_id($t->read_file('secrets/audit.key')), 'under the key';
is sprintf('%04o', (stat $trail)[2] & 07777), '0640', 'the mode of the file';
is((stat $trail)[4], (stat "$dir/trail")[4], 'and its owner') if $> == 0;

is $t->revoke('user-1')->status, 204, 'revoked';
$t->reload;
is $t->revoke('user-1')->status, 204, 'revoked after a reload';
is_deeply [ notes() ], [ 'open new', 'open started' ], 'which is no start';

ok ends($master, 'QUIT'), 'QUIT';
is_deeply [ notes() ], [ 'open new', 'open started', 'close stopped' ],
    'is a stop';
my ($close) = grep { $_->{type} eq 'close' } $t->records;
is $close->{pid}, $master, 'of that master';

# requests that are in the works when it is told to leave come before it

for my $signal (qw(TERM QUIT)) {
    my $n = () = $t->records;
    delete $t->{master};
    $t->start;
    $master = $t->master;
    $sandbox->fault(kind => 'delay', path => 'revoke', ms => 800, count => 4)
        if $signal eq 'QUIT';
    my @answers = $t->burst(4, connected => sub {
        sleep 0.3;
        kill $signal, $master;
    });
    ok $t->wait_for(sub { !TSFace::Test::alive($master) }, 20), $signal;
    is_deeply [ notes($n) ], [ 'open started', 'close stopped' ],
        'from start to stop';
    is +($t->records)[-1]{type}, 'close', 'the last of all';
    is_deeply [ map { $_->status } @answers ], [ (204) x 4 ], 'all answered'
        if $signal eq 'QUIT';
}

# --- killed

my $n = () = $t->records;
delete $t->{master};
$t->start;
$master = $t->master;
is_deeply [ notes($n) ], [ 'open started' ], 'started';
# the process that it was forked by would tell, if it still lives
$t->wait_for(sub {
    my ($parent) = $t->read_file("/proc/$master/status") =~ /^PPid:\s+(\d+)/m;
    return $t->read_file("/proc/$parent/comm") !~ /nginx/;
}, 20) or die 'a master with a parent';
kill 'KILL', $master, $t->workers($master);
$t->wait_for(sub { !TSFace::Test::alive($master) }, 10);
is_deeply [ notes($n) ], [ 'open started' ], 'killed: no stop is recorded';

# --- upgrade

delete $t->{master};
unlink "$dir/nginx.pid";
$t->start;
$master = $t->master;
$n = () = $t->records;
my ($new, $tries);
ok $t->wait_for(sub {
    # it takes no notice as long as the process that it was forked by lives
    kill 'USR2', $master if $tries++ % 100 == 0;
    $new = $t->master;
    return $new && $new != $master && $t->workers($new);
}, 20), 'USR2: another master';
is_deeply [ notes($n) ], [ 'open upgraded' ], 'says so';
ok ends($master, 'QUIT'), 'the old one leaves';
$t->{master} = $new;
is_deeply [ notes($n) ], [ 'open upgraded', 'close upgraded' ], 'and says so';
my @last = ($t->records)[$n .. $n + 1];
is_deeply [ map { $_->{pid} } @last ], [ $new, $master ], 'each for itself';
is $t->revoke('user-1')->status, 204, 'revoked';

# --- somebody has the lock and keeps it

$n = () = $t->records;
sysopen my $chain, "$trail.chain", O_RDWR or die;
my $fcntl = sub {
    my ($type) = @_;
    # struct flock: type, whence, start, len, pid; F_OFD_SETLK is 37
    my $lock = pack 's s x4 q q i x4', $type, 0, 0, 1, 0;
    return fcntl $chain, 37, $lock;
};
ok $fcntl->(Fcntl::F_WRLCK()), 'the lock is held';
my $begin = time;
ok ends($new, 'QUIT'), 'the master leaves all the same';
cmp_ok time() - $begin, '<', 15, 'soon';
delete $t->{master};
like $t->error_log, qr/\[crit\].*fcntl\(LOCK\) "[^"]+" failed; it has no record of the stop/,
    'complaining';
unlink "$dir/nginx.pid";
$t->start;
like $t->error_log, qr/\[crit\].*fcntl\(LOCK\) "[^"]+" failed; it has no record of the start/,
    'and comes';
ok $fcntl->(Fcntl::F_UNLCK()), 'the lock is free';
is $t->revoke('user-1')->status, 204, 'revoked';
is_deeply [ notes($n) ], [], 'without a word of it in the trail';

# --- the trail is gone, its folder too

$master = $t->master;
rename "$dir/trail", "$dir/away" or die;
ok ends($master, 'TERM'), 'no folder: the master leaves';
delete $t->{master};
like $t->error_log, qr/\[crit\].*failed; it has no record of the stop/,
    'complaining';
rename "$dir/away", "$dir/trail" or die;

done_testing;
