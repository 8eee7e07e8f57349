#!/usr/bin/perl
# A disk that hangs, and one that fails: nothing is forwarded without a record
# that is on disk, the callers are told in time, other requests are served, and
# all of it ends by itself.  nginx runs with a shim before libc that makes the
# trail's write() and fdatasync() do what a file says.  A file system that the
# kernel makes read-only after an error of the disk shows as EROFS of write();
# nobody else can do that while the trail is open, as mount(2) says EBUSY.
#
# TSFACE_TEST_LONG=1: the disk hangs for 30 seconds, not 7.

use lib 't/lib';
use TSFace::Test;
use TSFace::Disk;

my $hang = $ENV{TSFACE_TEST_LONG} ? 30 : 7;

my $t = TSFace::Test->new(workers => 2, timeout => 120 + 5 * $hang);
my $sandbox = $t->sandbox;
my $dir = $t->dir;
$t->allow(qr/audit trail|tsface/);

# --- the shim: what the system calls on trail.jsonl are to do

# half: of the bytes are written before the error
my $disk = TSFace::Disk->new($t,
    [qw(write_error sync_error write_hangs sync_hangs half)], <<'END');
ssize_t
write(int fd, const void *buf, size_t n)
{
    if (disk && (disk->write_error || disk->write_hangs)
        && disk_is(fd, "/trail.jsonl"))
    {

        disk_hangs(&disk->write_hangs);

        if (disk->write_error && disk->half && n > 1) {
            return syscall(SYS_write, fd, buf, n / 2);
        }

        if (disk->write_error) {
            errno = disk->write_error;
            return -1;
        }
    }

    return syscall(SYS_write, fd, buf, n);
}

int
fdatasync(int fd)
{
    if (disk && (disk->sync_error || disk->sync_hangs)
        && disk_is(fd, "/trail.jsonl"))
    {

        disk_hangs(&disk->sync_hangs);

        if (disk->sync_error) {
            errno = disk->sync_error;
            return -1;
        }
    }

    return syscall(SYS_fdatasync, fd);
}
END

my %error = (EIO => 5, EROFS => 30);

# disk(): it is well.
sub disk { return $disk->set(@_) }

mkdir "$dir/lenient" or die;
chmod 0777, "$dir/lenient";

{
    local $ENV{LD_PRELOAD} = $disk->shim;
    $t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%

    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        read_timeout 60s;
    }

    tsface_audit_trail trail {
        file    %%DIR%%/trail/trail.jsonl;
        key     file:%%DIR%%/secrets/audit.key;
        timeout 1s;
    }
    tsface_audit_trail other {
        file    %%DIR%%/trail/other.jsonl;
        key     file:%%DIR%%/secrets/audit.key;
        timeout 20s;
    }
    tsface_audit_trail lenient {
        file       %%DIR%%/lenient/trail.jsonl;
        key        file:%%DIR%%/secrets/audit.key;
        timeout    1s;
        on_failure forward;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        tsface_caller $http_x_caller;
        location / { tsface_pass sandbox; tsface_audit trail; }
        location = /status { tsface_status json; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        tsface_caller $http_x_caller;
        location / { tsface_pass sandbox; tsface_audit other; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        tsface_caller $http_x_caller;
        location / { tsface_pass sandbox; tsface_audit lenient; }
    }
}
END
}

my $tool = $t->audit_tool;
my $file = "$dir/trail/trail.jsonl";

sub seen { return scalar(() = $sandbox->revokes) }

sub trail {
    my ($name) = @_;
    my ($trail) = grep { $_->{name} eq $name }
        @{ http($t->port, 'GET', '/status')->json->{trails} };
    return $trail;
}

sub log_since {
    my ($from) = @_;
    return substr $t->error_log, $from;
}

# Refused in time, with nothing forwarded.
sub refused {
    my ($n, $what) = @_;
    my $before = seen();
    for (1 .. $n) {
        my $start = time;
        my $answer = $t->revoke('user-1');
        my $took = time - $start;
        is $answer->status, 503, "$what: 503";
        is $answer->problem, 'audit_failed', "$what: audit_failed";
        cmp_ok $took, '<', 1 + 4 * $t->{slow}, sprintf '%s: after %.2f s',
            $what, $took;
    }
    is seen(), $before, "$what: nothing is forwarded";
    return;
}

# It goes on by itself; the trail is whole, and every revoke that was seen has
# its intent, whose outcome or refusal follows.
sub recovers {
    my ($what) = @_;
    ok $t->wait_for(sub { $t->revoke('user-1')->status == 204 }, 10),
        "$what: over, by itself";
    ok $t->wait_for(sub { !trail('trail')->{failing_workers}
        || !$t->revoke('user-1') }, 10), "$what: no worker fails any more";

    # the other worker may be about to write the refusals of those that hung
    my @open;
    $t->wait_for(sub { !(@open = $t->open_intents) }, 10);
    is_deeply [ map { $_->{request_id} } @open ], [],
        "$what: no intent is open";

    my ($exit, $said) = $t->run(20, $tool, 'verify', '--from-start', '--key',
        "$dir/secrets/audit.key", $file);
    is $exit, 0, "$what: tsface-audit verify" or diag $said;
    return;
}

is $t->revoke('user-1')->status, 204, 'revoked';
is $t->revoke('user-1', port => $t->port(1))->status, 204, 'with another trail';

# --- hung sink: Vault serves nobody while an audit device blocks

for my $call (qw(sync write)) {
    my $what = "$call hangs";
    my $from = length $t->error_log;
    my $start = time;
    disk("${call}_hangs" => 1);
    refused(2, $what);

    my ($slowest, $bad) = (0, 0);
    while (time < $start + $hang) {
        my $began = time;
        $bad++ if $t->revoke('user-2', port => $t->port(1))->status != 204;
        $bad++ if http($t->port, 'GET', '/status')->status != 200;
        my $took = time - $began;
        $slowest = $took if $took > $slowest;
        sleep 0.1;
    }
    is $bad, 0, "$what: requests of another trail are served meanwhile";
    cmp_ok $slowest, '<', 4 * $t->{slow}, sprintf
        '%s: the slowest after %.3f s', $what, $slowest;
    refused(1, "$what still");
    like log_since($from),
        qr/\[crit\].*"trail": a batch for ".*" has been in the works for \d+ ms/,
        "$what: said at crit";
    cmp_ok trail('trail')->{queued}, '>', 0, "$what: records wait";

    disk();
    recovers($what);
    is trail('trail')->{queued}, 0, "$what: none waits any more";
}

# --- it hangs when the revoke is made: the caller is told that it was

$sandbox->fault(kind => 'delay', path => 'revoke', ms => 1000, user => 'user-3');
my $before = seen();
my $socket = $t->send_revoke('user-3', caller => 'late');
ok $t->wait_for(sub { seen() == $before + 1 }, 5), 'it is under way';
disk(sync_hangs => 1);
my $answer = read_answer($socket, time + 10, 'POST');
is $answer->status, 503, 'an outcome that hangs: 503';
is $answer->problem, 'outcome_unrecorded', 'and why';
disk();
recovers('an outcome that hangs');
is scalar(grep { ($_->{caller} || '') eq 'late' && $_->{result} eq 'success' }
    $t->records(type => qr/outcome/)), 1, 'it is recorded, late';

# --- errors

for my $row (
    [ 'write_error', 'EIO', 'write\(\)' ],
    [ 'sync_error', 'EIO', 'fdatasync\(\)' ],
    [ 'write_error', 'EROFS', 'write\(\)' ],
    [ 'write_error', 'EIO', 'write\(\)', half => 1 ],
) {
    my ($kind, $name, $call, %o) = @$row;
    my $what = $name . ($o{half} ? ' after half' : '') . " of $call" =~ s/\\//gr;
    my $from = length $t->error_log;
    my $failures = trail('trail')->{failures}{$name};
    disk($kind => $error{$name}, %o);
    refused(2, $what);
    like log_since($from), qr/\[crit\].*"trail": $call "\Q$file\E" failed; /,
        "$what: said at crit";
    like log_since($from), qr/nothing is forwarded .*\($error{$name}: /,
        "$what: and what follows";
    my $trail = trail('trail');
    is $trail->{state}, 'failing', "$what: the status says so";
    cmp_ok $trail->{failures}{$name}, '>=', $failures + 2,
        "$what: counted";
    is $trail->{errno}, $error{$name}, "$what: errno";
    disk();
    recovers($what);
    like log_since($from), qr/\[notice\].*"trail": ".*" is written again, \d+ /,
        "$what: said when it is over";
}

# --- on_failure forward: not without a word

my $from = length $t->error_log;
$before = seen();
disk(sync_hangs => 1);
is $t->revoke('user-1', port => $t->port(2))->status, 204,
    'forward: a disk that hangs, 204';
is seen(), $before + 1, 'forwarded';
like log_since($from), qr/\[crit\].*tsface forwards without an intent record/,
    'crit for the request';
disk();
ok $t->wait_for(sub { trail('lenient')->{queued} == 0 }, 10), 'it goes on';

done_testing;
