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

# --- nginx

# Starts nginx with these credentials, and an empty zone.
sub run {
    my (@which) = @_;

    my $blocks = join "\n", map { <<"END" } @which;
    tsface_credentials $_ {
        %%ENDPOINT%%
        token_wait   2s;
        min_interval 1ms;
        $client{$_}
    }
END

    $t->stop;
    $t->start(<<"END");
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

like $t->error_log, qr/\[debug\]/, 'the log is at the debug level';
unlike $t->error_log, qr/eyJ[\w-]+\.eyJ/, 'and has no assertion in it';

done_testing;
