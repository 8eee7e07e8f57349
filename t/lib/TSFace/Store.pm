package TSFace::Store;

# A Valkey or Redis of the test's own: no persistence, a socket and a port in
# the test's folder, gone with it.
#
#   my $store = TSFace::Store->new($t, args => [ ... ]);   # started
#   $store->socket; $store->port;
#   $store->command('GET', 'key');         # its answer; dies on an error
#   $store->kill('STOP'); $store->kill('KILL'); $store->start;
#   my $fake = TSFace::Store->fake($t);                    # see there

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Time::HiRes qw(sleep time);

my $count = 0;

sub binary {
    for my $name (qw(valkey-server redis-server)) {
        for my $dir (split(/:/, $ENV{PATH} || ''), '/usr/bin') {
            return "$dir/$name" if -x "$dir/$name";
        }
    }
    die "neither valkey-server nor redis-server is installed (make deps)\n";
}


sub new {
    my ($class, $t, %o) = @_;

    my $n = ++$count;
    my $dir = "$t->{dir}/store-$n";
    mkdir $dir or die "$dir: $!\n";

    my $self = bless {
        t => $t, dir => $dir, socket => "$dir/s", args => [],
        port => TSFace::Test::free_port(), %o,
    }, $class;

    return $self->start;
}

sub socket { return $_[0]{socket} }
sub port { return $_[0]{port} }
sub pid { return $_[0]{pid} }


sub start {
    my ($self) = @_;

    my $t = $self->{t};
    unlink $self->{socket};

    $self->{pid} = $t->spawn("$self->{dir}/log", binary(),
        '--port', $self->{port}, '--bind', '127.0.0.1',
        '--unixsocket', $self->{socket}, '--unixsocketperm', '777',
        '--dir', $self->{dir}, '--save', '', '--appendonly', 'no',
        @{ $self->{args} });

    $t->wait_for(sub {
        -S $self->{socket} && eval { $self->command('PING'); 1 }
            || ($@ || '') =~ /NOAUTH|no permissions/i;
    }, 20) or die "the store did not start:\n" . $t->read_file("$self->{dir}/log");

    return $self;
}


sub kill {
    my ($self, $signal) = @_;

    CORE::kill $signal, $self->{pid};
    if ($signal eq 'KILL') {
        $self->{t}->wait_pid($self->{pid}, 10);
        delete $self->{pid};
    }

    return;
}


# A program that speaks the protocol and allows everything, until says() has
# it answer one kind of command (EVAL, EVALSHA|EVAL) with other bytes; "close"
# closes.

sub fake {
    my ($class, $t) = @_;

    my $n = ++$count;
    my $dir = "$t->{dir}/store-$n";
    mkdir $dir or die "$dir: $!\n";

    my $self = bless { t => $t, dir => $dir, socket => "$dir/s",
        port => TSFace::Test::free_port() }, $class;
    $self->says('', '');

    my $listen = IO::Socket::UNIX->new(Local => $self->{socket}, Listen => 64)
        or die "$self->{socket}: $!\n";
    chmod 0777, $self->{socket};
    my $inet = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
        LocalPort => $self->{port}, ReuseAddr => 1) or die "listen: $!\n";

    my $pid = fork;
    die "fork: $!\n" if !defined $pid;
    if (!$pid) {
        $SIG{ALRM} = $SIG{PIPE} = 'IGNORE';
        serve($self, $listen, $inet);
        POSIX::_exit(0);
    }
    $t->{children}{$pid} = 1;
    $self->{pid} = $pid;

    return $self;
}

sub says {
    my ($self, $command, $bytes) = @_;
    $self->{t}->write_file("$self->{dir}/says.new", "$command\n$bytes");
    rename "$self->{dir}/says.new", "$self->{dir}/says" or die "says: $!\n";
    return;
}

sub serve {
    my ($self, @listen) = @_;

    my $select = IO::Select->new(@listen);
    my %buffer;

    for ( ;; ) {
        for my $s ($select->can_read) {
            if (grep { $s == $_ } @listen) {
                my $new = $s->accept or next;
                $new->blocking(0);
                $select->add($new);
                next;
            }
            my $got = sysread $s, $buffer{$s}, 65536, length($buffer{$s} || '');
            if (!$got) {
                $select->remove($s);
                delete $buffer{$s};
                close $s;
                next;
            }
            while (my $word = take_command(\$buffer{$s})) {
                my $answer = $self->answer($word);
                if ($answer eq 'close') {
                    $select->remove($s);
                    delete $buffer{$s};
                    close $s;
                    last;
                }
                $s->blocking(1);
                syswrite $s, $answer;
                $s->blocking(0);
            }
        }
    }
}

sub answer {
    my ($self, $word) = @_;

    my ($command, $bytes) = split /\n/, $self->{t}->read_file(
        "$self->{dir}/says"), 2;

    return $bytes if $word =~ /\A(?:$command)\z/;
    return "*2\r\n\$1\r\n1\r\n\$1\r\n0\r\n";
}

# The first word of a whole command, which is taken out of the buffer.
sub take_command {
    my ($buffer) = @_;

    my $text = defined $$buffer ? $$buffer : '';
    $text =~ s/\A\*(\d+)\r\n// or return;
    my @words;
    for (1 .. $1) {
        $text =~ s/\A\$(\d+)\r\n// or return;
        return if length $text < $1 + 2;
        push @words, substr $text, 0, $1;
        substr($text, 0, $1 + 2) = '';
    }
    $$buffer = $text;

    return $words[0];
}


# One command on a connection of its own.

sub command {
    my ($self, @words) = @_;

    my $s = IO::Socket::UNIX->new(Peer => $self->{socket})
        or die "$self->{socket}: $!\n";
    if ($self->{password}) {
        send_command($s, 'AUTH', $self->{password});
        read_reply($s);
    }
    send_command($s, @words);

    return read_reply($s);
}

sub send_command {
    my ($s, @words) = @_;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $s, join '', '*' . @words . "\r\n",
        map { '$' . length($_) . "\r\n$_\r\n" } @words;
    return;
}

sub read_reply {
    my ($s) = @_;

    my $line = <$s>;
    die "closed\n" if !defined $line;
    $line =~ s/\r\n\z//;
    my ($type, $rest) = $line =~ /^([-+:\$*])(.*)/s or die "what is $line\n";

    die "$rest\n" if $type eq '-';
    return $rest if $type =~ /[+:]/;
    return if $rest < 0;
    return [ map { read_reply($s) } 1 .. $rest ] if $type eq '*';

    read $s, my $data, $rest + 2;
    return substr $data, 0, $rest;
}

1;
