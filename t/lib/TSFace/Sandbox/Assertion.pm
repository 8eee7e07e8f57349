package TSFace::Sandbox::Assertion;

# private_key_jwt (RFC 7523): the JWT with which a client proves that it has
# the private key to the public one registered for it.

use v5.36;

use Crypt::PK::ECC;
use Crypt::PK::RSA;
use MIME::Base64 qw(decode_base64url);

use TSFace::Sandbox::JSON qw(decode_json);

use constant {
    TYPE     => 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    LIFE_MAX => 3600,
    SKEW     => 5,
};

my %VERIFY = (
    RS256 => sub ($key, $signature, $text) {
        return _rsa($key)->verify_message($signature, $text, 'SHA256', 'v1.5');
    },
    PS256 => sub ($key, $signature, $text) {
        return _rsa($key)->verify_message($signature, $text, 'SHA256', 'pss',
            32);
    },
    ES256 => sub ($key, $signature, $text) {
        my $ec = Crypt::PK::ECC->new(\$key);
        die "not on P-256\n"
            unless $ec->key2hash->{curve_name} =~ /^(?:secp256r1|prime256v1)$/;
        return $ec->verify_message_rfc7518($signature, $text, 'SHA256');
    },
);

# The text of a public key that can be used, or dies.
sub check_key ($pem) {
    die "a public key is a string in PEM\n" if ref $pem || !defined $pem;
    my $key = eval { Crypt::PK::RSA->new(\$pem) }
        // eval { Crypt::PK::ECC->new(\$pem) } // die "not a public key\n";
    die "a private key is not for others\n" if $key->is_private;
    return $pem;
}

# {header, claims} of what may be an assertion, unverified; {} if it is none.
sub look ($text) {
    my ($header, $claims, $signature, $more) = split /\./, $text // '', -1;
    return {} if defined $more || !defined $signature;
    my %part = (
        header => eval { decode_json(_plain($header)) },
        claims => eval { decode_json(_plain($claims)) },
    );
    return {} if grep { ref ne 'HASH' } values %part;
    return {%part, signature => $signature, text => "$header.$claims"};
}

# Why it is not accepted from this client, or nothing.  seen: jti => true.
sub fault ($client, $form, $audiences, $seen) {
    return 'assertion type'
        unless ($form->{client_assertion_type} // '') eq TYPE;
    my $jwt = look($form->{client_assertion});
    my ($header, $claims) = @$jwt{qw(header claims)};
    return 'not a JWT' unless $header;

    my $alg = $header->{alg} // '';
    my $verify = $VERIFY{$alg} or return 'algorithm';
    return 'algorithm' if defined $client->{alg} && $alg ne $client->{alg};
    return 'typ' if ($header->{typ} // '') ne 'JWT';
    return 'kid' if ($header->{kid} // '') ne ($client->{key_id} // '');
    return 'signature' unless eval {
        $verify->($client->{public_key}, _plain($jwt->{signature}),
            $jwt->{text});
    };
    return _claims_fault($client, $claims, $audiences, $seen);
}

sub _claims_fault ($client, $claims, $audiences, $seen) {
    my $now = time;
    for my $name (qw(iss sub)) {
        return $name if ($claims->{$name} // '') ne $client->{client_id};
    }
    my $aud = $claims->{aud} // '';
    return 'aud' unless grep { $_ eq $aud } @$audiences;

    for my $name (qw(iat exp)) {
        return $name if ($claims->{$name} // '') !~ /^[1-9][0-9]{0,11}$/;
    }
    return 'iat' if $claims->{iat} > $now + SKEW;
    return 'exp' if $claims->{exp} <= $now;
    return 'exp' if $claims->{exp} - $claims->{iat} > LIFE_MAX;

    my $jti = $claims->{jti} // '';
    return 'jti' if ref $jti || length $jti < 16;
    return 'jti was used before' if $seen->{$jti};
    return;
}

sub _rsa ($key) { return Crypt::PK::RSA->new(\$key) }

# Base64url, and nothing that decode_base64url() would pass over.
sub _plain ($text) {
    die "not base64url\n" if $text !~ /^[A-Za-z0-9_-]*$/;
    return decode_base64url($text);
}

1;
