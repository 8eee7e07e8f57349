package TSFace::Sandbox::Daemon;

# Mojolicious makes a TLS context for every connection, which reads the key
# each time and can't resume a session.  Here each listener has one.

use Mojo::Base 'Mojo::Server::Daemon', -signatures;

use Mojo::URL;

sub _listen ($self, $listen) {
    $self->SUPER::_listen($listen);
    my $url = Mojo::URL->new($listen);
    return unless $url->protocol eq 'https';

    require IO::Socket::SSL;
    my $query  = $url->query;
    my $server = $self->ioloop->acceptor($self->acceptors->[-1]);
    my %args   = (
        SSL_server    => 1,
        SSL_cert_file => $query->param('cert'),
        SSL_key_file  => $query->param('key'),
        map {
            my ($from, $to) = @$_;
            defined $query->param($from) ? ($to => $query->param($from)) : ()
        } ['ciphers', 'SSL_cipher_list'], ['version', 'SSL_version'],
        ['ca', 'SSL_ca_file'],
    );
    $args{SSL_verify_mode} = hex $query->param('verify')
        if defined $query->param('verify');

    # Any certificate will do in the handshake, if there is one: which of them
    # is whose is registered with the clients.  TLS sessions need a context then.
    if (($query->param('client') // '') eq 'ask') {
        $args{SSL_verify_mode}     = IO::Socket::SSL::SSL_VERIFY_PEER();
        $args{SSL_verify_callback} = sub { 1 };
        $args{SSL_session_id_context} = 'sandbox';
    }
    my $context = IO::Socket::SSL::SSL_Context->new(%args)
        or die "can't use the certificate for $listen: "
        . "$IO::Socket::SSL::SSL_ERROR\n";
    $server->{args}{tls_options}{SSL_reuse_ctx} = $context;
}

1;
