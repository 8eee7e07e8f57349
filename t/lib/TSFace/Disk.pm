package TSFace::Disk;

# A disk that hangs or fails: a shim before libc, whose functions do what the
# test says at the time.
#
#   my $disk = TSFace::Disk->new($t, [qw(write_hangs write_error)], <<'END');
#   ssize_t
#   write(int fd, const void *buf, size_t n)
#   {
#       if (disk && disk->write_hangs && disk_is(fd, "/trail.jsonl")) {
#           disk_hangs(&disk->write_hangs);
#       }
#       return syscall(SYS_write, fd, buf, n);
#   }
#   END
#   { local $ENV{LD_PRELOAD} = $disk->shim; $t->start(...); }
#   $disk->set(write_hangs => 1);          # all others are 0 then
#
# The members are numbers of 32 bits; disk is NULL before it has begun.  A test
# that needs it is skipped where it can't be.

use strict;
use warnings;

use Test::More;

sub new {
    my ($class, $t, $members, $functions) = @_;

    my $cc = $ENV{CC} || 'gcc';
    plan(skip_all => 'a shim cannot be loaded before the sanitizer or valgrind')
        if $ENV{TSFACE_SANITIZE} || $ENV{TSFACE_TEST_VALGRIND};
    plan(skip_all => "no compiler: $cc")
        if system "$cc --version >/dev/null 2>&1";

    my $self = bless { members => $members, file => "$t->{dir}/disk",
        shim => "$t->{dir}/disk.so" }, $class;

    my $source = $t->write_file('tmp/disk.c', prologue(@$members) . $functions);
    my ($code, $output) = $t->run(30, $cc,
        qw(-shared -fPIC -O1 -Wall -Werror -Wno-unused-function),
        "-DDISK_FILE=\"$self->{file}\"", '-o', $self->{shim}, $source);
    is $code, 0, 'the shim is built' or BAIL_OUT($output);

    $self->set;
    chmod 0644, $self->{file};

    return $self;
}

sub shim { return $_[0]{shim} }

sub set {
    my ($self, %o) = @_;

    my @members = @{ $self->{members} };
    open my $fh, '+>>', $self->{file} or die "disk: $!\n";
    close $fh;
    open $fh, '+<', $self->{file} or die "disk: $!\n";
    syswrite $fh, pack 'l' . @members, map { $o{$_} || 0 } @members;
    close $fh;

    return;
}

sub prologue {
    my $members = join "\n", map { "    int32_t  $_;" } @_;

    return <<"END";
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile struct {
$members
} *disk;

__attribute__((constructor)) static void
disk_init(void)
{
    int   fd;
    void  *p;

    fd = syscall(SYS_openat, AT_FDCWD, DISK_FILE, O_RDONLY);
    if (fd == -1) {
        _exit(90);
    }

    p = mmap(NULL, sizeof(*disk), PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        _exit(91);
    }

    close(fd);
    disk = p;
}

static int
disk_ends(const char *path, long n, const char *with)
{
    long  len;

    len = strlen(with);

    return n > len && memcmp(path + n - len, with, len) == 0;
}

static int
disk_is(int fd, const char *with)
{
    char     name[64], path[512];
    ssize_t  n;

    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    n = readlink(name, path, sizeof(path));

    return disk_ends(path, n, with);
}

static void
disk_hangs(volatile int32_t *how)
{
    while (*how) {
        usleep(20000);
    }
}

END
}

1;
