package TSFace::Test;

# The harness: a folder, ports and an nginx for each test file, and the checks
# that every test ends with (see done_testing).
#
#   use TSFace::Test;
#   my $t = TSFace::Test->new;
#   $t->sandbox;
#   $t->start(<<'END');
#   %%GLOBALS%%
#   http {
#       %%HTTP%%
#       %%ZONE%%
#       %%CREDENTIALS%%
#       %%TRAIL%%
#       server { listen 127.0.0.1:%%PORT_0%%; ... }
#   }
#   END
#   is $t->revoke('user-1')->status, 204, 'revoked';
#   done_testing;
#
# Environment: TSFACE_NGINX, TSFACE_MODULE (a .so or "static"),
# TSFACE_TEST_KEEP, _VERBOSE, _VALGRIND, _EVENT, _WORKERS, _TIMEOUT.

use strict;
use warnings;

use Cwd 'abs_path';
use Fcntl qw(:flock SEEK_SET);
use File::Basename 'dirname';
use File::Path 'remove_tree';
use File::Temp 'tempdir';
use IO::Socket::INET;
use POSIX qw(:sys_wait_h WNOHANG);
use Test::More ();
use Time::HiRes qw(sleep time);

use TSFace::Cert 'certs';
use TSFace::Checks;
use TSFace::HTTP qw(http raw_http connect_to read_answer read_request
    count_answers);
use TSFace::Peers;
use TSFace::Revoke;
use TSFace::Status;
use TSFace::Wait ();

our $ROOT = dirname(dirname(dirname(dirname(abs_path(__FILE__)))));

my @all;                # harness objects of this test file
my %locks;              # port => its lock's handle
my $owner = $$;

sub import {
    my ($class) = @_;

    my $caller = caller;
    strict->import;
    warnings->import;

    no strict 'refs';
    for my $name (@Test::More::EXPORT) {
        next if $name !~ /^\w+$/ || $name eq 'done_testing';
        *{"${caller}::$name"} = \&{"Test::More::$name"};
    }
    *{"${caller}::TODO"} = \${"${caller}::TODO"};
    for my $name (qw(http raw_http connect_to read_answer read_request
        count_answers))
    {
        *{"${caller}::$name"} = \&{$name};
    }
    *{"${caller}::done_testing"} = \&done_testing;
    *{"${caller}::sleep"} = \&Time::HiRes::sleep;
    *{"${caller}::time"} = \&Time::HiRes::time;

    return;
}


# workers => N, connections => N of each (1024), log_level => 'debug',
# timeout => seconds for the whole file, globals => lines for its top,
# daemon => 1 (only a daemon can be upgraded with USR2), blocks => { NAME =>
# sub { what %%NAME%% stands for } }.

sub new {
    my ($class, %o) = @_;

    my $slow = $ENV{TSFACE_TEST_VALGRIND} ? 10 : 1;
    my $dir = tempdir('tsface-XXXXXXXX', TMPDIR => 1);

    my $self = bless {
        dir => $dir, allowed => [], secrets => {}, ports => [], slow => $slow,
        workers => $ENV{TSFACE_TEST_WORKERS} || 2, log_level => 'info',
        connections => 1024, globals => '',
        nginx => nginx_binary(), seen => 0, n => 0,
        module => $ENV{TSFACE_MODULE}
            || "$ROOT/build-out/ngx_http_tsface_module.so",
        %o,
    }, $class;
    push @all, $self;

    # The workers of a root nginx are another user: they pass, and write logs.
    chmod 0755, $dir;
    for my $name (qw(conf logs trail secrets tmp san)) {
        mkdir "$dir/$name" or die "$dir/$name: $!\n";
    }
    my @worker = getpwnam 'www-data';
    if ($> == 0) {
        chown $worker[2], $worker[3], map { "$dir/$_" } qw(logs trail tmp san);
        $self->{group} = $worker[3];
    }

    $self->secret('audit.key', 'k3y-of-the-audit-trail-' . 'x' x 32);

    # What a test says is enough where it has the machine to itself.
    my $seconds = $ENV{TSFACE_TEST_TIMEOUT} || 2 * ($o{timeout} || 90);
    $SIG{ALRM} = sub {
        Test::More::diag("$0: still running after $seconds s: stopped");
        Test::More::diag($_->error_log_tail) for @all;
        cleanup(1);
        POSIX::_exit(142);
    };
    alarm $seconds * $slow;

    return $self;
}


# With its whole path, as an upgrade (USR2) looks in no PATH.
sub nginx_binary {
    my $name = $ENV{TSFACE_NGINX} || 'nginx';
    return $name if $name =~ m{^/};
    return abs_path($name) if $name =~ m{/};

    for my $dir (split(/:/, $ENV{PATH} || ''), '/usr/sbin', '/usr/local/sbin') {
        return "$dir/$name" if -x "$dir/$name";
    }
    die "$name not found\n";
}


sub dir { return $_[0]{dir} }
sub certs_dir { return certs() }


# A port nobody else in this run has: a lock file says so, as a bind alone
# would not between picking it and using it.

sub port {
    my ($self, $n) = @_;

    $n ||= 0;
    return $self->{ports}[$n] ||= free_port();
}


sub free_port {
    my $dir = File::Spec->tmpdir . "/tsface-ports.$>";
    mkdir $dir, 0700;

    for (1 .. 2000) {
        my $port = 12000 + int rand 18000;
        next if $locks{$port};

        open my $lock, '>>', "$dir/$port" or die "$dir/$port: $!\n";
        flock $lock, LOCK_EX | LOCK_NB or next;
        IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port,
            Listen => 1, ReuseAddr => 1) or next;

        $locks{$port} = $lock;
        return $port;
    }

    die "no free port\n";
}


# Writes a secret file (0600 if no mode is given) and returns its path.  The
# value must then appear in no log, answer or record.

sub secret {
    my ($self, $name, $value, $mode) = @_;

    my $file = "$self->{dir}/secrets/$name";
    $self->write_file("secrets/$name", $value);
    chmod defined $mode ? $mode : 0600, $file or die "$file: $!\n";
    chown 0, $self->{group}, $file if $self->{group};
    $self->hide($value);

    return $file;
}


# These strings are secrets: done_testing looks for them.
sub hide {
    my ($self, @values) = @_;
    $self->{secrets}{$_} = 1 for grep { length >= 8 } @values;
    return;
}


# An alert, or anything else that done_testing would complain about, which
# this test provokes.
sub allow {
    my ($self, @patterns) = @_;
    push @{ $self->{allowed} }, @patterns;
    return;
}


sub write_file {
    my ($self, $name, $content) = @_;

    my $file = $name =~ m{^/} ? $name : "$self->{dir}/$name";
    open my $fh, '>:raw', $file or die "$file: $!\n";
    print $fh $content;
    close $fh or die "$file: $!\n";

    return $file;
}


sub read_file {
    my ($self, $name) = @_;

    my $file = $name =~ m{^/} ? $name : "$self->{dir}/$name";
    open my $fh, '<:raw', $file or return '';
    local $/;
    my $content = <$fh>;

    return defined $content ? $content : '';
}


sub error_log { return $_[0]->read_file('logs/error.log') }
sub access_log { return $_[0]->read_file('logs/access.log') }

sub error_log_tail {
    my ($self) = @_;
    my @lines = split /\n/, $self->error_log;
    splice @lines, 0, @lines - 30 if @lines > 30;
    return join "\n", @lines;
}


# ------------------------------------------------------------ configuration

sub expand {
    my ($self, $conf) = @_;

    my %block = (
        GLOBALS     => sub { $self->globals },
        MODULE      => sub { $self->module_line },
        HTTP        => sub { $self->http_block },
        ZONE        => sub { 'tsface_zone zone=tsface:1m;' },
        CREDENTIALS => sub {
            "tsface_credentials sandbox {\n%%ENDPOINT%%\n%%CLIENT%%\n}"
        },
        ENDPOINT    => sub { $self->sandbox->endpoint_conf },
        CLIENT      => sub { $self->sandbox->client_conf },
        TRAIL       => sub {
            "tsface_audit_trail trail {\n    file %%DIR%%/trail/trail.jsonl;\n"
            # a disk that others use, too, may take longer than the default
            . "    key file:%%DIR%%/secrets/audit.key;\n    timeout 20s;\n}"
        },
        DIR         => sub { $self->{dir} },
        CERTS       => sub { certs() },
        %{ $self->{blocks} || {} },
    );

    # Twice, as blocks hold others.
    for (1 .. 3) {
        $conf =~ s{%%PORT_(\d+)%%}{ $self->port($1) }ge;
        $conf =~ s{%%([A-Z]+)%%}{
            my $f = $block{$1} or die "unknown %%$1%% in a configuration\n";
            $f->() }ge;
    }

    return $conf;
}


sub module_line {
    my ($self) = @_;
    return $self->{module} eq 'static' ? '' : "load_module $self->{module};";
}


sub globals {
    my ($self) = @_;

    my $user = $> == 0 ? "user www-data;" : '';
    my $use = $ENV{TSFACE_TEST_EVENT} ? "use $ENV{TSFACE_TEST_EVENT};" : '';
    my $daemon = $self->{daemon} ? 'on' : 'off';

    return join "\n", $self->module_line, $user, "daemon $daemon;",
        "worker_processes $self->{workers};",
        "pid $self->{dir}/nginx.pid;",
        "error_log $self->{dir}/logs/error.log $self->{log_level};",
        $self->{globals},
        "events { worker_connections $self->{connections}; $use }";
}


sub http_block {
    my ($self) = @_;

    my $tmp = "$self->{dir}/tmp";
    return join "\n", "access_log $self->{dir}/logs/access.log;",
        map { "${_}_temp_path $tmp/$_;" }
            qw(client_body proxy fastcgi uwsgi scgi);
}


# Runs "nginx -t" on a configuration: (exit code, what it printed).

sub nginx_t {
    my ($self, $conf) = @_;

    my $n = ++$self->{n};
    my $file = $self->write_file("conf/test-$n.conf", $self->expand($conf));
    my @command = ($self->{nginx}, '-t', '-p', "$self->{dir}/", '-c', $file,
        '-e', "$self->{dir}/logs/test-$n.log");

    return $self->run(30, @command);
}


# Runs a program for at most so many seconds: (exit code, output).  A program
# killed by a signal, or too slow, has a code of 128 and more.

sub run {
    my ($self, $seconds, @command) = @_;

    my $out = "$self->{dir}/tmp/output-" . ++$self->{n};
    my $pid = $self->spawn($out, @command);
    my $code = $self->wait_pid($pid, $seconds * $self->{slow});

    if (!defined $code) {
        kill 'KILL', $pid;
        $self->wait_pid($pid, 5);
        return (255, $self->read_file($out) . "\n(killed: too slow)");
    }

    return ($code & 127 ? 128 + ($code & 127) : $code >> 8,
        $self->read_file($out));
}


# ------------------------------------------------------------------ process

sub spawn {
    my ($self, $out, @command) = @_;

    my $pid = fork;
    die "fork: $!\n" if !defined $pid;

    if (!$pid) {
        $SIG{ALRM} = $SIG{PIPE} = 'DEFAULT';
        alarm 0;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $out;
        open STDERR, '>&', \*STDOUT;
        local $ENV{ASAN_OPTIONS} = join ':', grep { length }
            $ENV{ASAN_OPTIONS}, "log_path=$self->{dir}/san/asan";
        local $ENV{UBSAN_OPTIONS} = join ':', grep { length }
            $ENV{UBSAN_OPTIONS},
            "print_stacktrace=1:log_path=$self->{dir}/san/ubsan";
        exec { $command[0] } @command or print "$command[0]: $!\n";
        POSIX::_exit(127);
    }

    $self->{children}{$pid} = 1;
    return $pid;
}


# The wait status of a child, undef if it still runs after so many seconds.

sub wait_pid {
    my ($self, $pid, $seconds) = @_;

    my $end = time() + $seconds;
    for ( ;; ) {
        my $got = waitpid $pid, WNOHANG;
        if ($got == $pid || $got == -1) {
            delete $self->{children}{$pid};
            return $got == -1 ? 0 : $?;
        }
        return if time() > $end;
        sleep 0.01;
    }
}


# See TSFace::Wait.

sub wait_for {
    my ($self, $code, $seconds) = @_;
    return TSFace::Wait::wait_for($code, ($seconds || 10) * $self->{slow});
}


sub command {
    my ($self, @arguments) = @_;

    my @command = ($self->{nginx}, '-p', "$self->{dir}/",
        '-c', "$self->{dir}/conf/nginx.conf",
        '-e', "$self->{dir}/logs/error.log", @arguments);

    unshift @command, 'valgrind', '-q', '--leak-check=full',
        '--show-leak-kinds=definite', '--num-callers=30',
        "--log-file=$self->{dir}/san/valgrind.%p",
        (-e "$ROOT/build/valgrind.supp"
            ? "--suppressions=$ROOT/build/valgrind.supp" : ())
        if $ENV{TSFACE_TEST_VALGRIND};

    return @command;
}


sub configure {
    my ($self, $conf) = @_;
    return $self->write_file('conf/nginx.conf', $self->expand($conf));
}


# Starts nginx with this configuration, and dies if it does not start.

sub start {
    my ($self, $conf) = @_;

    $self->configure($conf) if defined $conf;

    my $pid = $self->spawn("$self->{dir}/logs/output", $self->command);

    my $ready = $self->wait_for(sub {
        my ($master) = $self->read_file('nginx.pid') =~ /^(\d+)$/m;
        return 1 if $master && $self->workers($master);
        return if waitpid($pid, WNOHANG) != $pid;
        delete $self->{children}{$pid};
        return $self->{daemon} && $? == 0 ? 0 : -1;
    }, 20);

    if ($ready != 1) {
        my $why = $self->read_file('logs/output') . $self->error_log_tail;
        $self->allow(qr/./);
        die "nginx did not start: $why\n";
    }

    $self->{master} = $self->master;

    return $self;
}


sub master {
    my ($self) = @_;
    my ($pid) = $self->read_file('nginx.pid') =~ /^(\d+)/;
    return $pid;
}


# The pids of the master's workers, zombies left out.

sub workers {
    my ($self, $master) = @_;

    $master ||= $self->{master} or return;
    my $children = $self->read_file("/proc/$master/task/$master/children");
    return grep { alive($_) } split ' ', $children;
}


sub alive {
    my ($pid) = @_;
    open my $fh, '<', "/proc/$pid/stat" or return 0;
    my $stat = <$fh>;
    return defined $stat && $stat !~ /^\d+ \(.*\) [ZX]/s;
}


# Sends HUP, with a new configuration if there is one, and waits until new
# workers have taken over and (unless wait => 0) the old are gone.

sub reload {
    my ($self, $conf, %o) = @_;

    $self->configure($conf) if defined $conf;

    my %old = map { $_ => 1 } $self->workers;
    kill 'HUP', $self->{master};

    my $new = $self->wait_for(sub { grep { !$old{$_} } $self->workers }, 20);
    die "no new workers after HUP:\n" . $self->error_log_tail . "\n" if !$new;

    $self->wait_for(sub { !grep { $old{$_} } $self->workers }, 15)
        if !exists $o{wait} || $o{wait};

    return $self;
}


sub stop {
    my ($self) = @_;

    my $master = delete $self->{master} or return;

    for my $try ([ QUIT => 20 ], [ TERM => 5 ], [ KILL => 5 ]) {
        my ($signal, $seconds) = @$try;
        my @workers = $self->workers($master);
        kill $signal, $master;
        kill 'KILL', @workers if $signal eq 'KILL';

        return if $self->wait_for(sub {
            waitpid $master, WNOHANG;
            return !alive($master);
        }, $seconds) && delete $self->{children}{$master} || !alive($master);

        $self->problem("nginx did not stop on $signal");
    }

    return;
}


# Kills master, workers and these others: all are gone when it returns.

sub kill_all {
    my ($self, @others) = @_;

    my $master = delete $self->{master};
    my @pids = ($self->workers($master), grep { $_ != $master } @others);
    kill 'KILL', $master, @pids;
    $self->wait_pid($master, 5);
    $self->wait_for(sub { !grep { alive($_) } @pids }, 10)
        or die "nginx was killed, but is there\n";

    return;
}


sub problem {
    my ($self, $text) = @_;
    push @{ $self->{problems} }, $text;
    return;
}


# ------------------------------------------------------------------- the end

# Instead of Test::More's: stops everything, then makes the checks that hold
# for every test.

sub done_testing {
    for my $t (@all) {
        $t->stop;
        $t->final_checks;
    }

    alarm 0;
    cleanup(0);
    return Test::More::done_testing();
}


sub cleanup {
    my ($hard) = @_;

    return if $$ != $owner;

    for my $t (@all) {
        if (my $master = delete $t->{master}) {
            my @pids = ($master, $t->workers($master));
            kill 'KILL', @pids;
        }
        kill $hard ? 'KILL' : 'TERM', keys %{ $t->{children} };
        for my $pid (keys %{ $t->{children} }) {
            next if defined $t->wait_pid($pid, 3);
            kill 'KILL', $pid;
            $t->wait_pid($pid, 3);
        }

        Test::More::diag($t->error_log_tail) if $ENV{TSFACE_TEST_VERBOSE};

        if ($ENV{TSFACE_TEST_KEEP}) {
            Test::More::diag("kept: $t->{dir}");
        } else {
            remove_tree($t->{dir}, { safe => 0 });
        }
    }

    @all = ();
    return;
}


END {
    my $code = $?;
    cleanup(1);
    $? = $code;
}

1;
