package TSFace::Sandbox::Token;

# Access tokens as RS256 JWTs: one key, made or read at start.  A token that
# was checked once is known by its text from then on, so that the signature
# costs nothing on the next thousand requests.

use v5.36;

use Crypt::PK::RSA;
use Digest::SHA  qw(sha256_hex);
use MIME::Base64 qw(decode_base64url encode_base64url);

use TSFace::Sandbox::JSON qw(decode_json encode_json);

use constant {KEY_BYTES => 256, CACHE_MAX => 20_000};

sub new ($class, $key_file = undef) {
    my $self = bless {issued => {}, cache => {}, stale => {}}, $class;
    $self->{key} = _key($key_file);
    my $public = $self->{key}->export_key_jwk('public', 1);
    $self->{kid}
        = 'sandbox-' . substr sha256_hex("$public->{n}.$public->{e}"), 0, 8;
    $self->{header} = encode_base64url(
        encode_json({alg => 'RS256', typ => 'JWT', kid => $self->{kid}}));
    $self->{jwks} = encode_json({keys => [{
        kty => 'RSA', use => 'sig', alg => 'RS256', kid => $self->{kid},
        n   => $public->{n}, e => $public->{e},
    }]});
    return $self;
}

sub jwks ($self) { return $self->{jwks} }

# First 16 hex digits of the token's SHA-256: what a log may hold.
sub fingerprint ($token) { return substr sha256_hex($token), 0, 16 }

sub mint ($self, $claims) {
    my $jti = encode_base64url(_random(15));
    my %all = (%$claims, jti => $jti);
    my $text = "$self->{header}." . encode_base64url(encode_json(\%all));
    my $signature = $self->{key}->sign_message($text, 'SHA256', 'v1.5');
    my $token = "$text." . encode_base64url($signature);

    $self->{issued}{$jti} = $all{sub};
    $self->_remember($token, \%all);
    return $token;
}

# {claims, kind, fingerprint, state}; state is valid, expired, revoked or bad.
sub look ($self, $token, $now) {
    my $known = $self->{cache}{$token} // $self->_check($token);
    my $claims = $known->{claims};
    my $state
        = !$claims                                 ? 'bad'
        : $self->_stale($claims)                   ? 'revoked'
        : ($claims->{exp} // 0) <= $now            ? 'expired'
        :                                            'valid';
    return {%$known, state => $state};
}

# From now on only tokens made later are good, for one "sub" or for all.
sub revoke ($self, $sub = undef) {
    my $issued = $self->{issued};
    if (defined $sub) {
        $self->{stale}{sub}{$sub} = 1;
        delete @$issued{grep { $issued->{$_} eq $sub } keys %$issued};
        return;
    }
    $self->{stale}{all} = 1;
    %$issued = ();
}

sub forget_revocations ($self) { $self->{stale} = {} }

# A token of an earlier run with the same --key is not in "issued" and good,
# until the first revocation: then it is older than that, and not.
sub _stale ($self, $claims) {
    my $stale = $self->{stale};
    return 0 unless %$stale;
    return 0 unless $stale->{all} || $stale->{sub}{$claims->{sub} // ''};
    return !$self->{issued}{$claims->{jti} // ''};
}

sub _check ($self, $token) {
    my $claims = eval {
        my ($header, $body, $signature, $more) = split /\./, $token, -1;
        die "not three parts\n" if defined $more || !defined $signature;
        my $head = decode_json(decode_base64url($header));
        die "not RS256 by our key\n"
            unless ($head->{alg} // '') eq 'RS256'
            && ($head->{kid} // '') eq $self->{kid};
        die "bad signature\n"
            unless $self->{key}->verify_message(decode_base64url($signature),
            "$header.$body", 'SHA256', 'v1.5');
        decode_json(decode_base64url($body));
    };
    return $self->_remember($token, ref $claims eq 'HASH' ? $claims : undef);
}

sub _remember ($self, $token, $claims) {
    $self->{cache} = {} if keys %{$self->{cache}} >= CACHE_MAX;
    return $self->{cache}{$token} = {
        claims      => $claims,
        kind        => _kind($claims),
        fingerprint => fingerprint($token),
    };
}

# Nothing in a token says which kind it is.  A client's has roles of its own
# and its client id as subject; a management application's has Admin in roles.
sub _kind ($claims) {
    return 'unknown' unless $claims;
    my $roles = ref $claims->{roles} eq 'ARRAY' ? $claims->{roles} : [];
    return 'admin' if grep { $_ eq 'Admin' } @$roles;
    return 'client'
        if $claims->{ts_roles} || $claims->{sub} eq $claims->{client_id};
    return 'user';
}

sub _key ($file) {
    if (defined $file && -e $file) {
        my $key = eval { Crypt::PK::RSA->new($file) }
            or die "can't read the RSA key in $file: $@";
        die "$file holds no private key\n" unless $key->is_private;
        return $key;
    }

    my $key = Crypt::PK::RSA->new;
    $key->generate_key(KEY_BYTES, 65537);
    return $key unless defined $file;

    my $mask = umask 077;
    open my $out, '>', $file or die "can't write the key to $file: $!\n";
    print {$out} $key->export_key_pem('private');
    close $out or die "can't write the key to $file: $!\n";
    umask $mask;
    return $key;
}

sub _random ($n) {
    require Crypt::PRNG;
    return Crypt::PRNG::random_bytes($n);
}

1;
