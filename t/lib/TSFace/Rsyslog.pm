package TSFace::Rsyslog;

# A real rsyslogd of a test's own: its configuration, pid file and work folder
# are in the test's folder, and it listens on loopback or a unix socket only.
# What it does with a message is done before it reads on (a direct queue), so
# that what it has taken is in its file.  Needs Debian's rsyslog.

use strict;
use warnings;

use Exporter 'import';

use TSFace::Test ();

our @EXPORT_OK = qw(have_rsyslog);

sub have_rsyslog {
    for my $dir (split(/:/, $ENV{PATH} || ''), '/usr/sbin') {
        return "$dir/rsyslogd" if -x "$dir/rsyslogd";
    }
    return;
}


# unix => 1: a unix socket instead of a port; meta => 1: fields of the message
# in front of it; sync => 1: slow, one fsync() a message.

sub new {
    my ($class, $t, %o) = @_;

    my $n = ++$t->{rsyslogs};
    my $dir = $t->dir . "/rsyslog-$n";
    mkdir $dir or die "$dir: $!\n";
    chmod 0755, $dir;

    my $self = bless { t => $t, dir => $dir, program => have_rsyslog(), %o },
        $class;

    $self->{port} = TSFace::Test::free_port() if !$o{unix};
    $self->configure;

    return $self;
}


sub configure {
    my ($self) = @_;

    my $dir = $self->{dir};
    my $input = $self->{unix}
        ? qq{module(load="imptcp")\ninput(type="imptcp" path="$dir/socket"}
            . qq{ fileCreateMode="0666")}
        : qq{module(load="imtcp")\ninput(type="imtcp" address="127.0.0.1"}
            . qq{ port="$self->{port}")};
    my $format = $self->{meta}
        ? '%pri% %timestamp:::date-rfc3339% %hostname% %app-name% %procid%'
            . ' %msgid% %structured-data% %msg%\n'
        : '%msg%\n';

    return $self->{t}->write_file("$dir/conf", <<"END");
global(workDirectory="$dir" maxMessageSize="16k")
main_queue(queue.type="Direct")
$input
template(name="record" type="string" string="$format")
action(type="omfile" file="$dir/records" template="record")
END
}


# What "syslog server=" needs.
sub server {
    my ($self) = @_;
    return $self->{unix} ? "unix:$self->{dir}/socket"
        : "127.0.0.1:$self->{port}";
}


sub start {
    my ($self) = @_;

    my ($t, $dir) = @$self{qw(t dir)};
    unlink "$dir/pid", "$dir/socket";
    $self->{pid} = $t->spawn("$dir/output", $self->{program}, '-n', '-f',
        "$dir/conf", '-i', "$dir/pid");

    $t->wait_for(sub { -s "$dir/pid" && $self->listens }, 20)
        or die 'rsyslogd did not start: ' . $t->read_file("$dir/output");

    return $self;
}


sub listens {
    my ($self) = @_;
    return -S "$self->{dir}/socket" if $self->{unix};
    my $hex = sprintf ':%04X', $self->{port};
    return $self->{t}->read_file('/proc/net/tcp') =~
        /^\s*\d+: 0100007F\Q$hex\E 00000000:0000 0A/m;
}


# With KILL nothing is flushed or said.
sub stop {
    my ($self, $signal) = @_;
    my $pid = delete $self->{pid} or return;
    kill $signal || 'TERM', $pid;
    return defined $self->{t}->wait_pid($pid, 10);
}


# The lines it stored.
sub lines {
    my ($self) = @_;
    return split /\n/, $self->{t}->read_file("$self->{dir}/records");
}


# The same with what came twice only once, as docs/audit.md says.
sub unique {
    my ($self) = @_;
    my %seen;
    return grep { !$seen{$_}++ } $self->lines;
}

1;
