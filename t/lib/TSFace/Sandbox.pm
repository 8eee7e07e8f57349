package TSFace::Sandbox;

# The sandbox of Transmit as a program: listens, takes a request, has the
# service decide, logs, lets the decision take effect, answers.  That order is
# what tests rely on: what is in effect is in the log.
#
# It is an "app" in the eyes of Mojo::Server::Daemon and uses nothing else of
# Mojolicious' framework, because a router, a controller and a renderer for
# five paths would cost two thirds of the requests a second.

use v5.36;

use Mojo::IOLoop;
use Mojo::JSON qw(true false);
use Mojo::Log;
use Mojo::Transaction::HTTP;
use Mojo::URL;
use Scalar::Util qw(weaken);
use Time::HiRes ();

use TSFace::Sandbox::Control;
use TSFace::Sandbox::Daemon;
use TSFace::Sandbox::Fault;
use TSFace::Sandbox::JSON qw(decode_json);
use TSFace::Sandbox::Log;
use TSFace::Sandbox::Service;
use TSFace::Sandbox::Switch;
use TSFace::Sandbox::Wire;

use constant MAX_REQUEST => 4 * 1024 * 1024;

my %NAME = (
    '/oidc/token'                    => 'token',
    '/cis/oidc/token'                => 'token',
    '/cis/v1/users/face/revoke'      => 'revoke',
    '/cis/v1/users/me/face/revoke'   => 'revoke_me',
    '/cis/oidc/jwks'                 => 'jwks',
);

# switches => {}, faults => [{}], clients => [{}], users => [{}],
# listen => [URL], key => FILE, log => FILE, idle_timeout => SECONDS
sub new ($class, %args) {
    my $self = bless {log_level => Mojo::Log->new(level => 'fatal'),
        connections => {}, connection => 0, stats => {}}, $class;
    $self->{switches} = TSFace::Sandbox::Switch->new(%{$args{switches} // {}});
    $self->{faults}   = TSFace::Sandbox::Fault->new(@{$args{faults} // []});
    $self->{log}      = TSFace::Sandbox::Log->new(file => $args{log});
    $self->{service}  = TSFace::Sandbox::Service->new(
        switches => $self->{switches},
        key      => $args{key},
        clients  => $args{clients} // [],
        users    => $args{users}   // [],
    );
    $self->{edge_id} = sprintf '%08x', int rand 2 ** 32;
    $self->{daemon} = TSFace::Sandbox::Daemon->new(
        app                => $self,
        listen             => $args{listen},
        silent             => 1,
        backlog            => 1024,
        max_clients        => 100_000,
        max_requests       => 2 ** 31,
        inactivity_timeout => $args{idle_timeout},
        keep_alive_timeout => $args{idle_timeout},
    );
    return $self;
}

sub start ($self) { $self->{daemon}->start; return $self }

# The addresses, with the ports the system gave where 0 was asked for.
sub listening ($self) {
    my @ports = @{$self->{daemon}->ports};
    return [map {
        my $url = Mojo::URL->new($_)->port(shift @ports);
        $url->query(Mojo::Parameters->new);
        "$url";
    } @{$self->{daemon}->listen}];
}

sub reset ($self) {
    $self->{switches}->reset;
    $self->{faults}->reset;
    $self->{service}->reset;
    $self->{log}->clear;
    $self->{stats} = {};
    return $self;
}

# Connections since start and open now; answers by path and status.
sub stats ($self) {
    return {
        requests    => $self->{stats},
        connections => $self->{connection},
        open        => scalar keys %{$self->{connections}},
    };
}

# ------------------------------------------------ what the daemon asks for

sub build_tx ($self) {
    my $tx = Mojo::Transaction::HTTP->new;
    $tx->req->max_message_size(MAX_REQUEST);
    return $tx;
}

sub log    ($self)          { return $self->{log_level} }
sub server ($self, $server) { return $self }

sub handler ($self, $tx) {
    my $req  = $tx->req;
    my $path = $req->url->path->to_string;
    return $self->_control($tx, $1) if $path =~ m{^/_sandbox/?(.*)}s;

    my $name    = $NAME{$path} // 'other';
    my $service = $self->{service};
    my $bearer  = $service->bearer($req);

    my $tls = $self->_connection($tx)->{tls};
    local $service->{peer} = $tls && $tls->{client};

    my ($fault, $answer) = $self->_decide($tx, $name, $bearer);

    if ($self->{switches}->values->{edge_headers} eq 'on' || $answer->{edge}) {
        my $ray = sprintf '%s%08x-SBX', $self->{edge_id}, ++$self->{ray};
        $answer->{ray} = $ray;
        push @{$answer->{headers}}, Server => 'cloudflare', 'CF-Ray' => $ray;
    }

    $self->_log($tx, $name, $path, $bearer, $answer, $fault);
    $answer->{effect}->() if $answer->{effect};
    $self->{stats}{$name}{$answer->{status}}++;

    my $entry = $self->{last};
    TSFace::Sandbox::Wire::deliver($tx, $answer, $fault, sub ($bytes) {
        $self->{log}->add({
            conn  => $entry->{conn},
            name  => 'stray',
            after => $entry->{n},
            bytes => length $bytes,
        });
    });
}

# ------------------------------------------------------------ one request

sub _decide ($self, $tx, $name, $bearer) {
    my ($service, $faults) = @$self{qw(service faults)};
    my $req = $tx->req;
    if (my $error = $req->error) {
        return (undef, TSFace::Sandbox::Service::error(400));
    }

    my $fault = @{$faults->list}
        ? $faults->take($name, _client_of($name, $req, $bearer),
            _user_of($name, $req, $bearer))
        : undef;

    my $switches = $self->{switches};
    my $for_now  = $fault && $fault->{set};
    local $switches->{value} = {%{$switches->{value}}, %$for_now} if $for_now;

    my $answer
        = $service->throttle($tx->remote_address)
        // ($name eq 'revoke'    ? $service->revoke($req, $bearer)
        : $name eq 'revoke_me' ? $service->revoke_me($req, $bearer)
        : $name eq 'token'     ? $service->token($req)
        : $name eq 'jwks'      ? $service->keys_answer($req)
        :                        $service->not_found($req));
    return ($fault, $answer) unless $fault;
    return ($fault, TSFace::Sandbox::Fault::apply($fault, $answer));
}

sub _client_of ($name, $req, $bearer) {
    return $bearer->{claims}{client_id} unless $name eq 'token';
    my ($form) = TSFace::Sandbox::Service::_form($req);
    my ($id) = TSFace::Sandbox::Service::_client_authentication($req, $form);
    return $id;
}

sub _user_of ($name, $req, $bearer) {
    return $bearer->{claims}{sub} if $name eq 'revoke_me';
    return undef unless $name eq 'revoke';
    my $body = eval { decode_json($req->body) };
    return ref $body eq 'HASH' ? $body->{user_id} : undef;
}

sub _log ($self, $tx, $name, $path, $bearer, $answer, $fault) {
    my $req        = $tx->req;
    my $headers    = $req->headers;
    my $connection = $self->_connection($tx);
    my $query      = $req->url->query->to_string;
    my $auth = TSFace::Sandbox::Log::authorization($bearer, $headers);
    my $error = $req->error;

    # Each request of a connection has its number: kept alive if above 1.
    $self->{last} = $self->{log}->add({
        conn    => $connection->{n},
        on_conn => ++$connection->{requests},
        name    => $name,
        method  => $req->method,
        path    => $path,
        version => $req->version,
        headers => TSFace::Sandbox::Log::headers($headers),
        status  => $answer->{status},
        acted   => $answer->{effect} ? true : false,
        port    => $tx->local_port + 0,
        $auth             ? (authorization => $auth)           : (),
        $answer->{ray}    ? (ray => $answer->{ray})            : (),
        $connection->{tls} ? (tls => $connection->{tls})       : (),
        $fault  ? (fault => $fault->{kind}, fault_id => $fault->{id}) : (),
        $error  ? (error => $error->{message})                 : (),
        $answer->{log} ? %{$answer->{log}}                     : (),
        length $query && $name ne 'token' ? (query => $query)  : (),
        $name =~ /^revoke/ ? TSFace::Sandbox::Log::body($req->body) : (),
    });
}

sub _connection ($self, $tx) {
    my $id = $tx->connection;
    return $self->{connections}{$id} //= do {
        my $stream = Mojo::IOLoop->stream($id);
        weaken(my $weak = $self);
        $stream->on(close => sub { delete $weak->{connections}{$id} });
        {n => ++$self->{connection}, requests => 0, tls => _tls($stream)};
    };
}

sub _tls ($stream) {
    my $handle = $stream->handle;
    return undef unless $handle->isa('IO::Socket::SSL');

    # SHA-256 of the certificate that the client showed, in hex
    my $certificate = $handle->peer_certificate
        && $handle->get_fingerprint('sha256') =~ s/^sha256\$//r;
    return {
        version => $handle->get_sslversion,
        cipher  => $handle->get_cipher,
        sni     => $handle->get_servername,
        reused  => $handle->get_session_reused ? true : false,
        $certificate ? (client => $certificate) : (),
    };
}

sub _control ($self, $tx, $name) {
    my ($status, $body, $type)
        = TSFace::Sandbox::Control::answer($self, $tx->req, $name);
    $tx->res->code($status);
    $tx->res->headers->content_type($type);
    $tx->res->body($body);
    $tx->resume;
}

1;
