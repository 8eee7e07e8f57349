#!/usr/bin/perl
# A wall clock that is set forth or back by a day changes nothing about a token
# with expires_in: its life is counted by the monotonic clock.  nginx runs with
# a shim before libc that adds what a file says to the time of day.

use lib 't/lib';
use TSFace::Test;

my $cc = $ENV{CC} || 'gcc';
plan(skip_all => 'a shim cannot be loaded before the sanitizer or valgrind')
    if $ENV{TSFACE_SANITIZE} || $ENV{TSFACE_TEST_VALGRIND};
plan(skip_all => "no compiler: $cc") if system "$cc --version >/dev/null 2>&1";

use constant { DAY => 86400, LIFE => 12 };

my $t = TSFace::Test->new(workers => 2);
my $sandbox = $t->sandbox('--token-ttl' => LIFE);
my $dir = $t->dir;

# Without TLS: a certificate of today is not valid yet a day ago, and rightly so.
my $at = 'http://127.0.0.1:' . $sandbox->http_port;
$t->{blocks}{ENDPOINT} = sub { "endpoint $at/cis; token_endpoint $at/oidc/token;" };

# --- the shim: 8 bytes of shared memory, the seconds to add

my $source = $t->write_file('tmp/clock.c', <<'END');
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t  *shift;

__attribute__((constructor)) static void
clock_init(void)
{
    int   fd;
    void  *p;

    fd = open(CLOCK_FILE, O_RDONLY);
    if (fd == -1) {
        _exit(90);
    }

    p = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        _exit(91);
    }

    close(fd);
    shift = p;
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
    int  rc;

    rc = syscall(SYS_clock_gettime, id, ts);

    if (rc == 0 && shift && (id == CLOCK_REALTIME
                             || id == CLOCK_REALTIME_COARSE
                             || id == CLOCK_TAI))
    {
        ts->tv_sec += *shift;
    }

    return rc;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    struct timespec  ts;

    (void) tz;
    (void) clock_gettime(CLOCK_REALTIME, &ts);

    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}

time_t
time(time_t *t)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    if (t) {
        *t = ts.tv_sec;
    }

    return ts.tv_sec;
}
END

my ($code, $output) = $t->run(30, $cc, qw(-shared -fPIC -O1 -Wall -Werror),
    "-DCLOCK_FILE=\"$dir/clock\"", '-o', "$dir/clock.so", $source);
is $code, 0, 'the shim is built' or BAIL_OUT($output);

sub set_clock {
    my ($seconds) = @_;

    open my $fh, '+>>', "$dir/clock" or die "clock: $!\n";
    close $fh;
    open $fh, '+<', "$dir/clock" or die "clock: $!\n";
    syswrite $fh, pack 'q', $seconds;
    close $fh;

    return;
}

set_clock(0);
chmod 0644, "$dir/clock";

sub exchanges { return scalar(() = $sandbox->exchanges) }

sub status { return http($t->port, 'GET', '/status')->json->{credentials}[0] }

# What nginx says the time is, less what it is here.
sub shown {
    my $answer = $t->revoke('user-1');
    my ($d, $mon, $y, $h, $m, $s) = $answer->header('Date')
        =~ /, (\d+) (\w+) (\d+) (\d+):(\d+):(\d+) GMT/;
    my %month;
    @month{qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec)} = 0 .. 11;
    require Time::Local;
    return (Time::Local::timegm($s, $m, $h, $d, $month{$mon}, $y) - time(),
        $answer->status);
}

{
    local $ENV{LD_PRELOAD} = "$dir/clock.so";
    $t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%

    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        min_interval 200ms;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
        location = /status {
            tsface_status;
        }
    }
}
END
}

# --- set forth, back, and forth again, in the first life of one token

is $t->revoke('user-1')->status, 204, 'revoked';
is exchanges(), 1, 'with the first token';
my $started = time();
my $left = status()->{expires_in_ms};
my $refresh = status()->{refresh_in_ms};
cmp_ok $refresh, '>', 5000, 'which is not refreshed soon';

for my $shift (DAY, -(DAY), DAY) {
    my $how = $shift > 0 ? 'forth' : 'back';
    set_clock($shift);
    # Time for a timer to go off, and for a look at the clock.
    sleep 0.8;

    my ($off, $got) = shown();
    cmp_ok abs($off - $shift), '<', 5, "a day $how: nginx sees it";
    is $got, 204, 'revokes work';
    is exchanges(), 1, 'with the same token: no exchange';

    my $passed = 1000 * (time() - $started);
    my $status = status();
    is $status->{state}, 'ready', 'ready';
    cmp_ok abs($left - $passed - $status->{expires_in_ms}), '<', 1000,
        'expires when it did';
    cmp_ok abs($refresh - $passed - $status->{refresh_in_ms}), '<', 1000,
        'and is refreshed when it would have been';
}

my ($record) = reverse $t->records;
my $day = (gmtime(time() + DAY))[3];
like $record->{time}, qr/^\d+-\d+-0?\Q$day\ET/, 'records tell the wall clock';

# --- the refresh comes at its time, by the monotonic clock, and once

set_clock(-(DAY));
$t->wait_for(sub { exchanges() > 1 }, LIFE);
my $took = 1000 * (time() - $started);
is exchanges(), 2, 'refreshed';
cmp_ok abs($took - $refresh), '<', 1500,
    sprintf 'after %.1f s, as planned', $took / 1000;
sleep 0.5;
set_clock(0);
sleep 0.5;
is $t->revoke('user-1')->status, 204, 'revoked with the second';
is exchanges(), 2, 'and set right: no exchange';

done_testing;
