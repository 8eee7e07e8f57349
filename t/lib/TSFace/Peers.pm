package TSFace::Peers;

# The other side: the sandbox and its control API, and fake servers that do
# what no server should.  Their functions are methods of TSFace::Test.

use strict;
use warnings;

package TSFace::Test;

use strict;
use warnings;

use IO::Socket::IP;
use POSIX ();

# Starts the sandbox, once; options are its command line's: sandbox(
# '--token-ttl' => 60).  Returns a TSFace::Peers::Sandbox.

sub sandbox {
    my ($self, @options) = @_;

    return $self->{sandbox} ||= TSFace::Peers::Sandbox->new($self, @options);
}


# Runs code->($socket, $n) for each connection, in a process of its own per
# connection, n counting them.  Returns the port.  Options: tls => NAME of a
# certificate in the certs folder; port; address.

sub fake_server {
    my ($self, $code, %o) = @_;

    my $port = $o{port} || free_port();
    my $listener = IO::Socket::IP->new(LocalAddr => $o{address} || '127.0.0.1',
        LocalPort => $port, Listen => 128, ReuseAddr => 1, Proto => 'tcp')
        or die "port $port: $!\n";

    my $pid = fork;
    die "fork: $!\n" if !defined $pid;
    if ($pid) {
        close $listener;
        $self->{children}{$pid} = 1;
        $self->{servers}{$port} = $pid;
        return $port;
    }

    # A group of its own, so that its connections die with it.
    setpgrp 0, 0;
    $SIG{CHLD} = $SIG{PIPE} = 'IGNORE';
    $SIG{TERM} = sub { local $SIG{TERM} = 'IGNORE'; kill 'TERM', -$$;
        POSIX::_exit(0) };
    $SIG{ALRM} = 'DEFAULT';
    alarm 600;

    # Once, as it takes a busy machine seconds, and clients have time-outs.
    require IO::Socket::SSL if $o{tls};

    for (my $n = 1; ; $n++) {
        my $socket = $listener->accept or next;
        my $child = fork;
        next if !defined $child || $child;

        $SIG{TERM} = 'DEFAULT';
        alarm 120;
        close $listener;
        if ($o{tls}) {
            my $base = certs_dir() . "/$o{tls}";
            $socket = IO::Socket::SSL->start_SSL($socket, SSL_server => 1,
                SSL_cert_file => "$base.pem", SSL_key_file => "$base.key")
                or POSIX::_exit(1);
        }
        $socket->autoflush(1);
        eval { $code->($socket, $n); 1 } or warn "fake server: $@";
        close $socket;
        POSIX::_exit(0);
    }
}


sub stop_server {
    my ($self, $port) = @_;

    my $pid = delete $self->{servers}{$port} or return;
    kill 'TERM', $pid;
    $self->wait_pid($pid, 5);

    # What it had forked just before has its socket as well until it dies.
    $self->wait_for(sub {
        IO::Socket::IP->new(LocalAddr => '127.0.0.1', LocalPort => $port,
            ReuseAddr => 1, Proto => 'tcp');
    }, 10);

    return;
}


# A token endpoint for tests of the forwarding: its port.
sub fake_token_server {
    my ($self, %o) = @_;

    my $token = $o{token} || 'fake-token-of-this-test';
    $self->hide($token);

    return $self->fake_server(sub {
        my ($socket) = @_;
        while (TSFace::HTTP::read_request($socket, 60)) {
            my $body = qq({"access_token":"$token","token_type":"Bearer",)
                . qq("expires_in":3600,"scope":"s"});
            print $socket "HTTP/1.1 200 OK\r\nContent-Type: application/json"
                . "\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
        }
    }, %o);
}


package TSFace::Peers::Sandbox;

use JSON::PP ();
use Time::HiRes qw(sleep time);

use constant { CLIENT => 'sandbox-client', SECRET => 'sandbox-secret' };

sub new {
    my ($class, $t, @options) = @_;

    my $self = bless {
        t => $t, https => TSFace::Test::free_port(),
        http => TSFace::Test::free_port(),
    }, $class;

    my $dir = $t->dir;
    my $certs = $t->certs_dir;
    my $log = "$dir/logs/sandbox.output";

    $self->{pid} = $t->spawn($log, $^X, "$TSFace::Test::ROOT/t/sandbox",
        '--listen', "https://127.0.0.1:$self->{https}"
            . "?cert=$certs/localhost.pem&key=$certs/localhost.key&client=ask",
        '--listen', "http://127.0.0.1:$self->{http}",
        '--log', "$dir/sandbox.jsonl", '--ready-file', "$dir/sandbox.ready",
        '--quiet', '--users', 20, @options);
    $t->wait_for(sub { -e "$dir/sandbox.ready" }, 20)
        or die "the sandbox did not start:\n" . $t->read_file($log) . "\n";

    $t->secret('client.secret', SECRET);

    return $self;
}


sub https_port { return $_[0]{https} }
sub http_port { return $_[0]{http} }

# The lines of tsface_credentials that point to the sandbox over TLS.
sub endpoint_conf {
    my ($self) = @_;
    my $at = "https://127.0.0.1:$self->{https}";
    return join "\n", "endpoint $at/cis;", "token_endpoint $at/oidc/token;",
        'ssl_name localhost;',
        'trusted_certificate ' . $self->{t}->certs_dir . '/ca.pem;';
}

sub client_conf {
    my ($self) = @_;
    return 'client_id ' . CLIENT . ";\nclient_secret file:"
        . $self->{t}->dir . '/secrets/client.secret;';
}

sub secrets { return (SECRET) }

# One call of the control API: its decoded answer.
sub call {
    my ($self, $method, $path, $value) = @_;

    my $answer = TSFace::HTTP::http($self->{http}, $method,
        "/_sandbox$path", defined $value ? (json => $value) : ());
    die "sandbox: $method $path: $answer->{status} $answer->{error}"
        . " $answer->{body}\n" if $answer->{status} !~ /^2/;

    return length $answer->{body} ? $answer->json : undef;
}

# switch(token_ttl => 5), fault(kind => 'reset', path => 'revoke'): see
# t/sandbox --help.
sub switch { my ($self, %o) = @_; return $self->call(POST => '/switch', \%o) }
sub fault { my ($self, %o) = @_; return $self->call(POST => '/fault', \%o) }
sub no_faults { return $_[0]->call(DELETE => '/fault') }
sub reset { return $_[0]->call(POST => '/reset', {}) }
sub stats { return $_[0]->call(GET => '/stats') }
sub set_user { my ($self, %o) = @_; return $self->call(POST => '/user', \%o) }
sub set_client {
    my ($self, %o) = @_;
    return $self->call(POST => '/client', \%o);
}

# From now on the tokens made so far are answered with 401.
sub revoke_tokens {
    my ($self, %o) = @_;
    return $self->call(POST => '/revoke_tokens', \%o);
}

# A user's own token, as a string.  %o: ttl, garbled, unknown.
sub user_token {
    my ($self, $user, %o) = @_;

    my $query = join '&', "user=$user", map { "$_=$o{$_}" } sort keys %o;
    my $token = $self->call(GET => "/token?$query")->{access_token};
    $self->{t}->hide($token);

    return $token;
}

# The whole process: the system goes on taking connections for it, and what
# comes on them waits.  Nothing else may be asked of it until thaw().
sub freeze { my ($self) = @_; return kill 'STOP', $self->{pid} }
sub thaw { my ($self) = @_; return kill 'CONT', $self->{pid} }

# The request log from its file, which is never cut.  Each entry is written
# before the request is acted on, so none is missing after an answer.
sub log {
    my ($self, $name) = @_;

    my $json = JSON::PP->new->utf8;
    my @entries = map { scalar eval { $json->decode($_) } || () }
        split /\n/, $self->{t}->read_file('sandbox.jsonl');

    return grep { !defined $name || $_->{name} =~ $name } @entries;
}

sub revokes { return $_[0]->log(qr/^revoke(?:_me)?$/) }
sub exchanges { return $_[0]->log(qr/^token$/) }

1;
