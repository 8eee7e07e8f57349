package TSFace::Sandbox::Switch;

# What Transmit does not say in print, or says in two ways, is a switch: one
# table from which the command line, the control API and --help are made.

use v5.36;

use TSFace::Sandbox::JSON qw(decode_json encode_json);

# name, default, what is allowed (a list of words, or a pattern with its
# description), basis, one line of help.  Basis: D documented by Transmit,
# I inferred, NF not found in public: the default is an assumption.
my @TABLE = (
    ['issuer', 'https://userid.security', [qr/\S/, 'URL'], 'D',
        'claim iss of every token (US issuer; the sandbox region\'s is NF)'],
    ['audience', 'userid-api', [qr/\S/, 'NAME'], 'D',
        'claim aud of a token asked for without "resource"'],
    ['token_ttl', 3600, [qr/^[1-9][0-9]{0,8}$/, 'SECONDS'], 'D',
        'life of a token'],
    ['expires_in', 'ttl', [\&_expires_in, 'ttl|absent|JSON'], 'D',
        'member expires_in: the life, left out, or any JSON value'],
    ['token_body', 'ok',
        [qw(ok malformed truncated empty array no_token empty_token
            null_token number_token long_token no_token_type mac_token_type
            no_scope duplicate_token)], 'D',
        'body of a 200 of the token endpoint'],
    ['token_reuse', 'off', [qw(off on)], 'NF',
        'on: answer with the same token as long as it lives'],
    ['wrong_secret', 'invalid_client',
        [qw(invalid_client invalid_client_400 bad_request)], 'NF',
        'unknown client or wrong secret: 401 OAuth, 400 OAuth, 400 Mosaic'],
    ['bad_request', 'message', [qw(message messages oauth)], 'D',
        '400 of the token endpoint: message is a string, an array, or OAuth'],
    ['auth_methods', 'both', [qw(both post basic)], 'I',
        'where client_id and client_secret are taken from'],
    ['basic_encoding', 'form', [qw(form raw)], 'NF',
        'whether id and secret are form-encoded in Basic (RFC 6749 2.3.1)'],
    ['resource_check', 'off', [qw(off on)], 'NF',
        'on: 401 on /cis for a token whose aud is not "audience"'],
    ['revoke_ok', '204', [qw(204 200)], 'I',
        'a revoke done: 204 without a body, or 200 with {}'],
    ['bad_bearer', 'invalid_token', [qw(invalid_token unauthorized_request)],
        'I', '401 body: "Invalid token" 401, or the string code'],
    ['wrong_kind', '401', [qw(401 403)], 'NF',
        'user token on the management path, client token on me'],
    ['permissions', 'any', [qw(any all off)], 'NF',
        'how many of the three permissions a client with roles needs'],
    ['admin', 'allow', [qw(allow refuse)], 'NF',
        'admin tokens on the management path (refuse: 403)'],
    ['unknown_user', 'number', [qw(number code)], 'I',
        '404 for an unknown user: error_code 404 or "user_not_found"'],
    ['no_face', '204', [qw(204 404)], 'NF',
        'revoke of a user without a face, so also a repeat'],
    ['rate_limit', 0, [qr/^[0-9]{1,9}$/, 'N'], 'D',
        'requests a minute and client address before 429; 0 is no limit'],
    ['rate_style', 'app', [qw(app edge)], 'I',
        'shape of that 429: the application\'s JSON, the edge\'s HTML'],
    ['retry_after', 'none', [qr/^(?:none|[0-9]{1,9})$/, 'none|SECONDS'], 'NF',
        'Retry-After of every 429'],
    ['role_delay', 300, [qr/^[0-9]{1,9}$/, 'SECONDS'], 'D',
        'until a changed role shows in new tokens (up to 5 minutes)'],
    ['edge_headers', 'on', [qw(on off)], 'I',
        'Server: cloudflare and CF-Ray on every answer'],
    ['log_values', 'off', [qw(off on)], '-',
        'on: log the values of harmless token request fields too'],
);

my %ROW = map { $_->[0] => $_ } @TABLE;

sub new ($class, %initial) {
    my $self = bless {initial => \%initial}, $class;
    $self->reset;
    return $self;
}

sub names { return map { $_->[0] } @TABLE }

# Back to the defaults and to what the command line said.
sub reset ($self) {
    $self->{value} = {map { $_->[0] => $_->[1] } @TABLE};
    $self->set(%{$self->{initial}});
    return $self;
}

# The hash the service reads; a plain one, because it is read often.
sub values ($self) { return $self->{value} }

# All or nothing: dies with a text for people and leaves all as it was.
sub set ($self, %new) {
    my $checked = check(%new);
    $self->{value} = {%{$self->{value}}, %$checked};
    return $self;
}

sub check (%new) {
    for my $name (sort keys %new) {
        my $row = $ROW{$name}
            or die qq{no switch "$name"; there are: @{[names()]}\n};
        my $value = $new{$name};
        die qq{switch "$name" takes a string or a number, one of: }
            . choices($name) . "\n"
            if !defined $value || (ref $value && $name ne 'expires_in');
        $new{$name} = $value
            = _expires_text($value) if $name eq 'expires_in';
        die qq{switch "$name" can't be "$value"; it is one of: }
            . choices($name) . "\n"
            unless _allowed($row->[2], $value);
    }
    return \%new;
}

sub choices ($name) {
    my $allowed = $ROW{$name}[2];
    return ref $allowed->[0] ? $allowed->[1] : join '|', @$allowed;
}

sub help {
    my $text = '';
    for my $row (@TABLE) {
        my ($name, $default, undef, $basis, $help) = @$row;
        my $choices = choices($name);
        $choices = join "|\n" . ' ' x 21, $choices =~ /(.{1,48})(?:\||$)/g
            if length $choices > 52;
        $text .= sprintf "  --%-16s %s\n%21s%s\n%21sdefault %s [%s]\n",
            $name =~ tr/_/-/r, $choices, '', $help, '', $default, $basis;
    }
    return $text;
}

sub _allowed ($allowed, $value) {
    my $first = $allowed->[0];
    return $first->($value) if ref $first eq 'CODE';
    return $value =~ $first if ref $first;
    return grep { $_ eq $value } @$allowed;
}

# "ttl", "absent", or the text of a JSON value: 30, "30", -1, 1e3, null, [].
sub _expires_in ($value) {
    return 1 if $value eq 'ttl' || $value eq 'absent';
    return eval { decode_json(qq{[$value]}); 1 };
}

sub _expires_text ($value) {
    return encode_json($value) if ref $value;
    return $value;
}

1;
