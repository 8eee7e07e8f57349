#!/usr/bin/perl
# How the gateway proves to the token endpoint who it is.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(log_level => 'debug');
my $sandbox = $t->sandbox;

# Bytes that form-encoding changes, and whose decoding changes them again.
my $odd = 'odd%41+/&=:secret~';
$t->secret('odd', "$odd\n");
$sandbox->set_client(client_id => 'odd%2Bid', secrets => [ $odd ]);

# What is configured with each name.
my %client = (
    post => 'client_id odd%2Bid; client_secret file:%%DIR%%/secrets/odd;',
);
$client{form} = "$client{post} token_auth_method client_secret_basic;";
$client{raw} = "$client{form} basic_encoding raw;";

# --- keys

my $keys = $t->dir . '/secrets';

sub openssl {
    my ($code, $output) = $t->run(30, 'openssl', @_);
    die "openssl @_: $output\n" if $code;
    return;
}

# NAME.pem and NAME.pub; a password, if there is one, encrypts the first.
sub new_key {
    my ($name, $password, @genpkey) = @_;

    openssl('genpkey', @genpkey, '-out', "$keys/$name.plain");
    openssl('pkey', '-in', "$keys/$name.plain", '-pubout',
        '-out', "$keys/$name.pub");
    openssl('pkey', '-in', "$keys/$name.plain", '-out', "$keys/$name.pem",
        $password ? ('-aes256', '-passout', "pass:$password") : ());
    my $pem = $t->read_file("secrets/$name.pem");
    unlink "$keys/$name.plain";
    $t->secret("$name.pem", $pem);

    # of the file, which is in no log as a whole, a part
    $t->hide((split /\n/, $pem)[2]);

    return $t->read_file("secrets/$name.pub");
}

my @ec = ('-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256');
my @rsa = ('-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048');
my $password = 'the password: of a key';

my %public = (
    rsa       => new_key('rsa', undef, @rsa),
    encrypted => new_key('encrypted', $password, @rsa),
    ec        => new_key('ec', undef, @ec),
);
$t->secret('password', "$password\n");

sub register {
    my ($id, %o) = @_;
    return $sandbox->set_client(client_id => $id, method => 'private_key_jwt',
        %o);
}

register('rsa', public_key => $public{rsa}, alg => 'RS256');
register('pss', public_key => $public{rsa}, alg => 'PS256');
register('ec', public_key => $public{ec}, alg => 'ES256');
register('encrypted', public_key => $public{encrypted},
    key_id => 'a"key\\of', audience => 'https://who/"\\it/is');
register('stranger', public_key => $public{rsa});

my $jwt = 'token_auth_method private_key_jwt; client_key file:%%DIR%%/secrets';
$client{rsa} = "client_id rsa; $jwt/rsa.pem;";
$client{pss} = "client_id pss; $jwt/rsa.pem; assertion_algorithm PS256;";
$client{ec} = "client_id ec; $jwt/ec.pem;";
$client{stranger} = "client_id stranger; $jwt/encrypted.pem;"
    . ' client_key_password file:%%DIR%%/secrets/password;';
$client{encrypted} = "client_id encrypted; $jwt/encrypted.pem;"
    . ' client_key_password file:%%DIR%%/secrets/password;'
    . ' assertion_lifetime 1h;'
    . q( assertion_key_id 'a"key\\of';)
    . q( assertion_audience 'https://who/"\\it/is';);

# --- certificates

my $certs = $t->certs_dir;

# The SHA-256 of NAME's certificate, as the sandbox has it.
sub digest {
    my ($file) = @_;
    my ($code, $output) = $t->run(30, qw(openssl x509 -noout -fingerprint
        -sha256 -in), $file);
    my ($hex) = $output =~ /=([0-9A-F:]+)$/m;
    return lc $hex =~ tr/://dr;
}

my %digest = map { $_ => digest("$certs/$_.pem") }
    qw(payments support selfsigned);

# Keys as they may lie about for nginx; one is encrypted.
for my $name (qw(payments support selfsigned)) {
    $t->secret("$name.key", $t->read_file("$certs/$name.key"));
}
openssl('pkey', '-in', "$certs/support.key", '-aes256', '-passout',
    "pass:$password", '-out', "$keys/support.new");
$t->secret('support.key', $t->read_file('secrets/support.new'));

sub certificate {
    my ($name) = @_;
    return "client_certificate %%CERTS%%/$name.pem;"
        . " client_certificate_key file:%%DIR%%/secrets/$name.key;";
}

my %tls = (
    tls      => [ 'tls_client_auth', 'payments' ],
    self     => [ 'self_signed_tls_client_auth', 'selfsigned' ],
    protected => [ 'tls_client_auth', 'support' ],
    impostor => [ 'tls_client_auth', 'payments' ],
);
for my $id (sort keys %tls) {
    my ($method, $name) = @{ $tls{$id} };
    $sandbox->set_client(client_id => $id, method => $method, bound => 1,
        certificate => $digest{ $id eq 'impostor' ? 'support' : $name });
    $client{$id} = "client_id $id; token_auth_method $method; "
        . certificate($name);
}
$client{tls} .= ' keepalive 0;';
$client{protected} .= ' client_key_password file:%%DIR%%/secrets/password;';

# the certificate beside another method: it proves nothing, but binds
$sandbox->set_client(client_id => 'both', bound => 1,
    secrets => [ 'secret-beside-a-certificate' ]);
$t->secret('both', 'secret-beside-a-certificate');
$client{both} = 'client_id both; client_secret file:%%DIR%%/secrets/both; '
    . certificate('payments');
register('jwt_and_tls', public_key => $public{ec}, bound => 1);
$client{jwt_and_tls} = "client_id jwt_and_tls; $jwt/ec.pem; "
    . certificate('support')
    . ' client_key_password file:%%DIR%%/secrets/password;';

# --- nginx

# Starts nginx with these credentials, and an empty zone.
my @running;

sub conf {
    my $blocks = join "\n", map { <<"END" } @running;
    tsface_credentials $_ {
        %%ENDPOINT%%
        token_wait   2s;
        min_interval 1ms;
        $client{$_}
    }
END

    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
$blocks
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   \$http_x_which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
    }
}
END
}

sub run {
    @running = @_;
    $t->stop;
    $t->start(conf());
    return;
}

sub reload {
    $t->reload(conf());
    return;
}

# What the token endpoint was sent for this client, since the last start.
sub exchanges {
    my ($id) = @_;
    return grep { ($_->{client_id} // '') eq $id } $sandbox->exchanges;
}

sub revoke {
    my ($which) = @_;
    return $t->revoke('user-1', headers => [ 'X-Which', $which ],
        timeout => 20)->status;
}

subtest 'secrets: form, Basic encoded and not' => sub {
    run(qw(post form raw));
    is revoke($_), 204, $_ for qw(post form);
    is revoke('raw'), 503, 'raw: refused where it is decoded';

    $sandbox->switch(basic_encoding => 'raw');
    run(qw(form raw));
    is revoke('raw'), 204, 'raw: taken where it is not decoded';
    is revoke('form'), 503, 'form: refused where it is not decoded';
    $sandbox->switch(basic_encoding => 'form');
};

subtest 'private_key_jwt: each algorithm' => sub {
    run(qw(rsa pss ec encrypted stranger));
    is revoke($_), 204, $_ for qw(rsa pss ec encrypted);

    is revoke('stranger'), 503, "another's key";
    my ($refused) = exchanges('stranger');
    is $refused->{reason}, 'assertion: signature', 'for its signature';

    my %alg = (rsa => 'RS256', pss => 'PS256', ec => 'ES256',
        encrypted => 'RS256');
    for my $id (sort keys %alg) {
        my ($e, @more) = exchanges($id);
        is_deeply \@more, [], "$id: one exchange";
        is_deeply $e->{fields}, [ qw(grant_type client_id
            client_assertion_type client_assertion) ], 'no other field';
        ok !$e->{authorization}, 'no Authorization';

        my ($header, $claims) = @{ $e->{assertion} }{qw(header claims)};
        is_deeply $header, { alg => $alg{$id}, typ => 'JWT',
            $id eq 'encrypted' ? (kid => 'a"key\\of') : () }, 'header';
        like $claims->{jti}, qr/^[A-Za-z0-9_-]{22}$/, '128 bits';
        cmp_ok abs($claims->{iat} - time), '<', 20, 'iat';
        is_deeply $claims, {
            iss => $id, sub => $id,
            aud => $id eq 'encrypted' ? 'https://who/"\\it/is'
                : 'https://127.0.0.1:' . $sandbox->https_port . '/oidc/token',
            jti => $claims->{jti}, iat => $claims->{iat},
            exp => $claims->{iat} + ($id eq 'encrypted' ? 3600 : 60),
        }, 'claims';
    }
};

subtest 'private_key_jwt: the audience is the URL that is asked' => sub {
    local $client{ec} = $client{ec};
    my $url = 'https://127.0.0.1:' . $sandbox->https_port;
    run('ec');
    $t->stop;
    my $conf = conf() =~ s{%%ENDPOINT%%}{
        endpoint            $url/cis/;
        token_endpoint      HTTPS://127.0.0.1:${\ $sandbox->https_port}/oidc/token/;
        trusted_certificate %%CERTS%%/ca.pem;}r;
    $t->start($conf);
    is revoke('ec'), 204, 'a slash at the end, and large letters';
    my ($e) = exchanges('ec');
    is $e->{assertion}{claims}{aud}, "$url/oidc/token", 'are not in it';
    run(qw(rsa pss ec encrypted stranger));
    is revoke('rsa'), 204, 'as before';
};

subtest 'private_key_jwt: a new assertion for each exchange' => sub {
    for (1 .. 4) {
        $sandbox->revoke_tokens(sub => 'ec');
        is revoke('ec'), 204, 'token replaced';
        sleep 0.1;
    }
    my @jti = map { $_->{assertion}{claims}{jti} } exchanges('ec');
    my %seen = map { $_ => 1 } @jti;
    cmp_ok scalar @jti, '>=', 5, 'exchanges';
    is scalar keys %seen, @jti, 'none has the jti of another';
};

subtest 'private_key_jwt: a token is that of a key' => sub {
    my $before = () = exchanges('rsa');
    $t->reload;
    is revoke('rsa'), 204, 'reloaded';
    is scalar(() = exchanges('rsa')), $before, 'unchanged: no exchange';

    # a new key, here and there: the token of the old one is not used
    my $public = new_key('rsa', undef, @rsa);
    register('rsa', public_key => $public);
    $t->reload;
    is revoke('rsa'), 204, 'reloaded with another key';
    is scalar(() = exchanges('rsa')), $before + 1, 'one exchange';
};

subtest 'certificates: on both calls, each its own' => sub {
    my %shown = (tls => 'payments', self => 'selfsigned',
        protected => 'support', both => 'payments',
        jwt_and_tls => 'support');
    run(sort(keys %shown), 'impostor', 'post');

    for my $id (sort keys %shown) {
        my $before = $sandbox->revokes;
        is revoke($id), 204, $id;
        my ($revoke, @more) = splice @{ [ $sandbox->revokes ] }, $before;
        is_deeply \@more, [], 'one revoke';

        my ($e) = exchanges($id);
        is $e->{tls}{client}, $digest{ $shown{$id} }, 'at the token endpoint';
        is $revoke->{tls}{client}, $digest{ $shown{$id} }, 'at the revoke';
        is $revoke->{authorization}{sub}, $id, 'with its token';
        is_deeply $e->{fields}, [ qw(grant_type client_id) ],
            'nothing but the id is sent' if $id =~ /^(?:tls|self|protected)$/;
    }

    is revoke('impostor'), 503, "another's certificate";
    my ($e) = exchanges('impostor');
    is $e->{reason}, 'another certificate', 'for that';

    is revoke('post'), 204, 'without a certificate';
    ($e) = exchanges('odd%2Bid');
    my ($revoke) = reverse $sandbox->revokes;
    ok !$_->{tls}{client}, 'none is shown' for $e, $revoke;
};

subtest 'certificates: a resumed session has it, too' => sub {
    my $before = $sandbox->revokes;
    is revoke('tls'), 204, 'revoked' for 1 .. 6;
    my @reused = grep { $_->{tls}{reused} }
        splice @{ [ $sandbox->revokes ] }, $before;
    ok @reused, 'sessions are resumed';
    is $_->{tls}{client}, $digest{payments}, 'the certificate' for @reused;
};

subtest 'certificates: a token is that of a certificate' => sub {
    my $before = () = exchanges('both');
    $t->reload;
    is revoke('both'), 204, 'reloaded';
    is scalar(() = exchanges('both')), $before, 'unchanged: no exchange';

    # the old token would be refused beside the new certificate
    my $revokes = $sandbox->revokes;
    $client{both} =~ s/payments/selfsigned/g;
    reload();
    is revoke('both'), 204, 'reloaded with another certificate';
    is scalar(() = exchanges('both')), $before + 1, 'one exchange';
    my ($revoke, @more) = splice @{ [ $sandbox->revokes ] }, $revokes;
    is_deeply \@more, [], 'none was tried with the old token';
    is $revoke->{tls}{client}, $digest{selfsigned}, 'the new one is shown';
};

# A server that wants a certificate by its CA, and knows no other CA.
subtest 'certificates: intermediate ones are sent' => sub {
    my $dir = $t->dir . '/conf';
    my @new = qw(req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes);
    my %made = (middle => [ "$certs/ca", 'CA:TRUE' ],
        leaf => [ "$dir/middle", 'CA:FALSE' ]);
    for my $name (qw(middle leaf)) {
        my ($ca, $constraint) = @{ $made{$name} };
        $t->write_file('conf/ext', "basicConstraints=$constraint\n");
        openssl(@new, '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr",
            '-subj', "/CN=$name");
        openssl(qw(x509 -req -days 2 -set_serial 7 -in), "$dir/$name.csr",
            '-CA', "$ca.pem", '-CAkey', "$ca.key", '-extfile', "$dir/ext",
            '-out', "$dir/$name.pem");
    }
    $t->secret('leaf.key', $t->read_file("$dir/leaf.key"));
    $t->write_file('conf/both.pem', join '',
        map { $t->read_file("$dir/$_.pem") } qw(leaf middle));

    my $port = $t->fake_server(sub {
        my ($socket) = @_;
        require IO::Socket::SSL;
        $socket = IO::Socket::SSL->start_SSL($socket, SSL_server => 1,
            SSL_cert_file => "$certs/localhost.pem",
            SSL_key_file => "$certs/localhost.key",
            SSL_verify_mode => 3, SSL_ca_file => "$certs/ca.pem",
            SSL_session_id_context => 'x') or return;
        while (my $request = read_request($socket, 30)) {
            my $body = $request->{line} =~ /token/
                ? '{"access_token":"tls-token-tls-token","token_type":"Bearer",'
                    . '"expires_in":3600}' : 'hello';
            print $socket "HTTP/1.1 200 OK\r\nContent-Length: "
                . length($body) . "\r\n\r\n$body";
        }
    });

    for my $case ([ 'leaf', 503 ], [ 'both', 200 ]) {
        my ($name, $status) = @$case;
        $t->stop;
        $t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    tsface_credentials ca {
        endpoint            https://127.0.0.1:$port/cis;
        token_endpoint      https://127.0.0.1:$port/oidc/token;
        trusted_certificate %%CERTS%%/ca.pem;
        client_id           x;
        token_auth_method   tls_client_auth;
        client_certificate  $name.pem;
        client_certificate_key file:%%DIR%%/secrets/leaf.key;
        token_wait          2s;
    }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   ca;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
    }
}
END
        is $t->revoke('user-1', timeout => 20)->status, $status, $name;
    }
};

like $t->error_log, qr/\[debug\]/, 'the log is at the debug level';
unlike $t->error_log, qr/eyJ[\w-]+\.eyJ/, 'and has no assertion in it';

done_testing;
