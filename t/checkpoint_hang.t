#!/usr/bin/perl
# The second place of checkpoints hangs, or fails: nobody waits for it.
# Revokes go on, in the trail as well; what is missing there comes when it
# answers again, in order, whatever happened to the workers meanwhile: a
# reload, kill -9, an end.  And a checkpoint that the trail's own disk refused
# is made by itself when it takes it.  nginx runs with a shim before libc that
# makes the threads' system calls on these files do what a file says.

use lib 't/lib';
use TSFace::Test;
use TSFace::Cert 'key_pair';
use TSFace::Disk;
use TSFace::Load;

my $t = TSFace::Test->new(workers => 3, timeout => 300);
my $dir = $t->dir;
my $trail = "$dir/trail/trail.jsonl";
my $second = "$dir/tmp/second/checkpoints";
$t->allow(qr/audit trail|exited on signal 9/);

mkdir "$dir/tmp/second" or die;
chown((stat "$dir/tmp")[4, 5], "$dir/tmp/second");

# --- the shim

# *_hangs are of the second place, trail_error is of the trail's write()
my $disk = TSFace::Disk->new($t,
    [qw(open_hangs write_hangs sync_hangs trail_error)], <<'END');
static int
disk_thread(void)
{
    return disk && syscall(SYS_gettid) != getpid();
}

int
open64(const char *path, int flags, ...)
{
    int      mode;
    va_list  args;

    va_start(args, flags);
    mode = (flags & O_CREAT) ? va_arg(args, int) : 0;
    va_end(args);

    if (disk_thread() && disk_ends(path, strlen(path), "/checkpoints")) {
        disk_hangs(&disk->open_hangs);
    }

    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t
write(int fd, const void *buf, size_t n)
{
    if (disk_thread() && disk->write_hangs && disk_is(fd, "/checkpoints")) {
        disk_hangs(&disk->write_hangs);
    }

    if (disk_thread() && disk->trail_error && disk_is(fd, "/trail.jsonl")) {
        errno = disk->trail_error;
        return -1;
    }

    return syscall(SYS_write, fd, buf, n);
}

int
fdatasync(int fd)
{
    if (disk_thread() && disk->sync_hangs && disk_is(fd, "/checkpoints")) {
        disk_hangs(&disk->sync_hangs);
    }

    return syscall(SYS_fdatasync, fd);
}
END

# disk(): it is well.
sub disk { return $disk->set(@_) }

my ($key, $public) = key_pair($t, 'checkpoint');

my $conf = <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%

    tsface_audit_trail trail {
        file                $trail;
        key                 file:$dir/secrets/audit.key;
        checkpoint_key      file:$key;
        checkpoint_file     $second;
        checkpoint_records  10;
        checkpoint_interval 1s;
        timeout             2s;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
        location = /status { tsface_status json; }
    }
}
END

sub start {
    local $ENV{LD_PRELOAD} = $disk->shim;
    return $t->start($conf);
}

sub lines { return $t->read_file($_[0]) =~ /.*\n/g }

sub checkpoints { return grep { /"type":"checkpoint"/ } lines($trail) }

sub status { return $t->status_json->{trails}[0] }

sub log_since { return substr $t->error_log, $_[0] }

sub copied { return join('', lines($second)) eq join('', checkpoints()) }

# Revokes under load for so long: all of them answered with 204, and none late.
sub served {
    my ($what, $seconds) = @_;
    my $n = checkpoints();
    my $load = $t->under_load(
        ref $seconds ? $seconds : sub { sleep $seconds }, clients => 3,
        pause => 0.02);
    is_deeply [ keys %{ $load->{count} } ], [ 204 ], "$what: revokes get 204"
        or diag explain $load->{count};
    cmp_ok $load->{slowest}, '<', 5, sprintf '%s: the slowest after %.3f s',
        $what, $load->{slowest};
    cmp_ok scalar(() = checkpoints()), '>', $n + 2, "$what: with checkpoints";
    return;
}

my $tool = $t->audit_tool;

# All of them are there, once, in order.
sub catches_up {
    my ($what) = @_;
    ok $t->wait_for(\&copied, 40), "$what: the second place has all";
    is_deeply [ lines($second) ], [ checkpoints() ], "$what: in their order"
        if !copied();
    my ($exit, $said) = $t->run(20, $tool, 'verify', '--from-start', '--key',
        "$dir/secrets/audit.key", '--public-key', $public,
        '--checkpoints', $second, $trail);
    is $exit, 0, "$what: tsface-audit verify" or diag $said;
    return;
}

start();
is $t->revoke('user-1')->status, 204, 'revoked';
served('well', 1);
catches_up('well');
is status()->{checkpoint_failures}, 0, 'well: no failure';
ok $t->wait_for(sub { status()->{checkpoint_copy_lag_s} == 0 }, 5),
    'well: nothing waits';

# --- it hangs

for my $call (qw(write sync open)) {
    my $what = "$call hangs";
    my $from = length $t->error_log;
    my $failures = status()->{checkpoint_failures};
    disk("${call}_hangs" => 1);
    served($what, 10);

    ok !copied(), "$what: it lacks some";
    my $status = status();
    my $lag = $status->{checkpoint_copy_lag_s};
    cmp_ok $lag, '>=', 6, "$what: the status says so";
    cmp_ok $lag, '<', 60, "$what: and for how long";
    cmp_ok $status->{checkpoint_failures}, '>', $failures, "$what: counted";
    is $status->{state}, 'ok', "$what: the trail is well";
    my $late = qr/\[crit\].*"trail":\ checkpoints\ have\ waited\ \d+\ ms
        \ for\ "\Q$second\E"/x;
    my $n = () = log_since($from) =~ /$late/g;
    ok $n >= 1 && $n <= 3, "$what: said at crit, once by a worker" or diag $n;

    disk();
    catches_up($what);
    ok $t->wait_for(sub { (() = log_since($from)
        =~ /checkpoints are written to "\Q$second\E" again/g) == $n }, 20),
        "$what: said when it is over";
    ok $t->wait_for(sub { status()->{checkpoint_copy_lag_s} == 0 }, 5),
        "$what: nothing waits any more";
}

# --- a reload meanwhile: the old workers leave

my $from = length $t->error_log;
disk(open_hangs => 1);
my @old = $t->workers;
my $took;
served('a reload', sub {
    sleep 1;
    my $began = time;
    $t->reload;
    $took = time - $began;
    sleep 1;
});
ok !(grep { TSFace::Test::alive($_) } @old), 'a reload: the old workers left';
cmp_ok $took, '<', 12, sprintf 'a reload: after %.1f s', $took;
like log_since($from),
    qr/\[crit\].*checkpoints are not in "\Q$second\E" at exit/,
    'a reload: they say what they leave behind';
disk();
catches_up('a reload');

# --- kill -9 meanwhile, of all: those who come after know nothing of it

disk(write_hangs => 1);
served('kill -9', 2);
ok !copied(), 'kill -9: it lacks some';
$t->kill_all;
disk();
start();
catches_up('kill -9');

# --- an end, in order and not

served('an end', 1);
$t->stop;
like +(lines($trail))[-2], qr/"type":"close"/, 'an end: the last but one';
ok copied(), 'an end: the last is in the second place';

start();
disk(open_hangs => 1);
served('an end that hangs', 1);
my $began = time;
$t->stop;
cmp_ok time - $began, '<', 12, sprintf 'an end that hangs: after %.1f s',
    time - $began;
ok !copied(), 'an end that hangs: it lacks some';
disk();
start();
catches_up('an end that hangs');

# --- a checkpoint that the trail's disk refuses: nobody writes a record

my $failures = status()->{failures}{EIO};
my $due;
for (1 .. 20) {

    # before the checkpoint of it, which on a busy machine takes luck

    is $t->revoke('user-1')->status, 204, 'the trail fails: revoked before';
    disk(trail_error => 5);
    sleep 0.1;
    $due = (lines($trail))[-1] !~ /"type":"checkpoint"/ and last;
    disk();
}
ok $due, 'the trail fails: a checkpoint is due';
my $n = checkpoints();
ok $t->wait_for(sub { status()->{failures}{EIO} >= $failures + 2 }, 20),
    'the trail fails: a checkpoint is tried again';
is scalar(() = checkpoints()), $n, 'the trail fails: in vain';
disk();
ok $t->wait_for(sub { (() = checkpoints()) > $n }, 20),
    'the trail fails: over, by itself';
ok $t->wait_for(sub { status()->{state} eq 'ok' }, 5), 'the status says so';
like +(lines($trail))[-1], qr/"type":"checkpoint"/, 'it is the last record';
catches_up('the trail fails');

done_testing;
