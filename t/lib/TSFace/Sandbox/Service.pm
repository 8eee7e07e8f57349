package TSFace::Sandbox::Service;

# What Transmit does: token endpoint, both Face revokes, JWKS.  Every method
# here only decides: it returns an answer, and changes nothing.  What changes
# is in the answer's "effect", so that the request can be logged first.
#
# answer: {status, type, body, headers => [name, value, ...], effect, log}

use v5.36;

use MIME::Base64 qw(decode_base64 encode_base64url);
use Mojo::Util   qw(url_unescape);
use Time::HiRes  ();

use TSFace::Sandbox::Assertion;
use TSFace::Sandbox::JSON qw(decode_json encode_json);
use TSFace::Sandbox::Token;

use constant {
    JSON_TYPE   => 'application/json; charset=utf-8',
    TENANT      => '8AEM5PpWyJBH6opzIOrJ2',
    MAX_SECRETS => 2,
    WINDOW      => 60,
};

# How a client proves who it is; what else is registered for it then.
my %METHOD = (
    secret          => [],
    private_key_jwt => ['public_key'],
    tls_client_auth => ['certificate'],
    self_signed_tls_client_auth => ['certificate'],
);
my @REGISTERED
    = qw(method public_key key_id alg audience certificate bound);

my @GENERIC_PERMISSIONS = qw(apps:delete authenticators:delete);

sub new ($class, %args) {
    my $self = bless {
        switches => $args{switches},
        token    => TSFace::Sandbox::Token->new($args{key}),
        initial  => {clients => $args{clients}, users => $args{users}},
    }, $class;
    $self->reset;
    return $self;
}

sub reset ($self) {
    $self->{clients} = {};
    $self->{users}   = {};
    $self->{reuse}   = {};
    $self->{jti}     = {};
    $self->{window}  = {start => 0, count => {}};
    $self->{token}->forget_revocations;
    $self->set_client(%$_) for @{$self->{initial}{clients}};
    $self->set_user(%$_)   for @{$self->{initial}{users}};
    return $self;
}

sub tokens ($self) { return $self->{token} }

# ------------------------------------------------------------ what exists

sub set_user ($self, %user) {
    my $id = $user{user_id};
    die qq{"user_id" is missing\n} unless defined $id && length $id;
    my $old = $self->{users}{$id} // {app_id => 'sandbox-app', face => 1};
    return $self->{users}{$id} = {
        user_id => $id,
        app_id  => $user{app_id} // $old->{app_id},
        face    => ($user{face} // $old->{face}) ? 1 : 0,
        revokes => $old->{revokes} // 0,
    };
}

sub user ($self, $id)        { return $self->{users}{$id} }
sub delete_user ($self, $id) { return delete $self->{users}{$id} }

# Two secrets are valid side by side, a third can't be made.  Changed roles
# show up in new tokens only after the switch "role_delay", unless "now".
sub set_client ($self, %new) {
    my $id = $new{client_id};
    die qq{"client_id" is missing\n} unless defined $id && length $id;
    my $is_new = !$self->{clients}{$id};
    my $old    = $self->{clients}{$id} // {};
    my $client = {
        client_id => $id,
        app_id    => $new{app_id} // $old->{app_id} // 'sandbox-app',
        admin     => ($new{admin} // $old->{admin}) ? 1 : 0,
        secrets   => $new{secrets} // $old->{secrets} // ['sandbox-secret'],
        rights    => $old->{rights} // [],
        map { $_ => $new{$_} // $old->{$_} } @REGISTERED,
    };
    _check_method($client);
    for my $list (grep { defined } $client->{secrets},
        @new{qw(roles permissions)})
    {
        die qq{secrets, roles and permissions are arrays of strings\n}
            if ref $list ne 'ARRAY' || grep { ref || !defined } @$list;
    }
    die "a client has one or two secrets\n"
        unless @{$client->{secrets}} && @{$client->{secrets}} <= MAX_SECRETS;

    if ($new{roles} || $new{permissions} || $is_new) {
        die "a management application can't be assigned roles\n"
            if $client->{admin}
            && (@{$new{roles} // []} || @{$new{permissions} // []});
        my $last  = $client->{rights}[-1];
        my $delay = $is_new || $new{now}
            ? 0 : $self->{switches}->values->{role_delay};
        $client->{rights} = [
            $delay ? @{$client->{rights}} : (),
            {
                from        => Time::HiRes::time() + $delay,
                roles       => $new{roles}       // $last->{roles}       // [],
                permissions => $new{permissions} // $last->{permissions} // [],
            }
        ];
    }
    return $self->{clients}{$id} = $client;
}

sub _check_method ($client) {
    my $method = $client->{method} //= 'secret';
    my $needs = $METHOD{$method}
        or die "no method $method; there are: @{[sort keys %METHOD]}\n";
    for my $name (@$needs) {
        die qq{method $method: "$name" is missing\n}
            unless defined $client->{$name};
    }
    TSFace::Sandbox::Assertion::check_key($client->{public_key})
        if defined $client->{public_key};
}

sub client ($self, $id) {
    my $client = $self->{clients}{$id} or return;
    my %public = %$client;
    my $rights = _rights($client, Time::HiRes::time());
    $public{secrets} = @{$client->{secrets}};
    delete $public{rights};
    return {%public, map { $_ => $rights->{$_} } qw(roles permissions)};
}

sub clients ($self) {
    return [map { $self->client($_) } sort keys %{$self->{clients}}];
}

sub users ($self) { return $self->{users} }

sub mint_user ($self, $user_id, %how) {
    my $user = $self->{users}{$user_id};
    my $app = $user ? $user->{app_id} : 'sandbox-app';
    return $self->_mint({
        sub => $user_id, client_id => $how{client_id} // 'sandbox-client',
        app_id => $app, app_name => $app, scope => 'openid', roles => [],
    }, $how{ttl});
}

sub mint_client ($self, $id, %how) {
    my $client = $self->{clients}{$id} or return;
    return $self->_mint(_client_claims($client), $how{ttl}, $how{resource});
}

# ------------------------------------------------------------ POST /oidc/token

sub token ($self, $req) {
    my $switch = $self->{switches}->values;
    my %log;

    return $self->_not_found($req) unless $req->method eq 'POST';

    my ($form, $names) = _form($req);
    $log{fields} = $names;
    $log{values} = _harmless($form) if $switch->{log_values} eq 'on';

    # That a certificate is the proof shows in nothing that is sent.
    my ($id, $secret, $method)
        = _client_authentication($req, $form, $switch->{basic_encoding});
    my $client = defined $id ? $self->{clients}{$id} : undef;
    $method //= $client->{method}
        if $client && $client->{method} =~ /tls_client_auth$/;
    $log{client_id}   = $id     if defined $id;
    $log{auth_method} = $method if defined $method;
    $log{$_} = $form->{$_}
        for grep { defined $form->{$_} } qw(grant_type resource);

    my $refuse = sub ($reason) {
        $log{reason} = $reason;
        return {%{$self->_bad_token_request}, log => \%log};
    };
    return $refuse->('content type') unless $form->{'.ok'};
    my %count;
    return $refuse->('repeated field') if grep { $count{$_}++ } @$names;
    return $refuse->('two authentication methods') if ($method // '') eq 'two';
    return $refuse->('no client authentication')
        unless defined $id && defined $method;
    return $refuse->('authentication method')
        if defined $secret && $switch->{auth_methods} ne 'both'
        && $method ne "client_secret_$switch->{auth_methods}";
    return $refuse->('grant_type')
        unless ($form->{grant_type} // '') eq 'client_credentials';

    my $wrong = $client
        ? $self->_wrong_proof($req, $form, $client, $secret, $method, \%log)
        : 'unknown client';
    if (defined $wrong) {
        $log{reason} = $wrong;
        return {%{$self->_wrong_secret}, log => \%log};
    }

    my $answer = $self->_token_answer($client, $form->{resource}, \%log);
    if (my $claims = $log{assertion} && $log{assertion}{claims}) {
        my $effect = $answer->{effect};
        $answer->{effect} = sub {
            $self->{jti}{$id}{$claims->{jti}} = $claims->{exp};
            $effect->();
        };
    }
    return {%$answer, log => \%log};
}

# Why the client did not prove who it is, or nothing.
sub _wrong_proof ($self, $req, $form, $client, $secret, $method, $log) {
    my $registered = $client->{method};
    $method = 'secret' if defined $secret;
    return 'not the registered method' if $method ne $registered;
    return $self->_wrong_assertion($req, $form, $client, $log)
        if $method eq 'private_key_jwt';
    if ($method ne 'secret') {
        return 'no certificate' unless defined $self->{peer};
        return $self->{peer} eq $client->{certificate}
            ? undef : 'another certificate';
    }

    my ($which) = grep { $client->{secrets}[$_] eq $secret }
        0 .. $#{$client->{secrets}};
    return 'wrong secret' unless defined $which;
    $log->{secret} = $which + 1;
    return;
}

# Without its signature an assertion is no secret.
sub _wrong_assertion ($self, $req, $form, $client, $log) {
    my $jwt = TSFace::Sandbox::Assertion::look($form->{client_assertion});
    $log->{assertion} = {map { $_ => $jwt->{$_} } qw(header claims)}
        if $jwt->{claims};
    my $here = $req->url->to_abs->query('')->to_string =~ s/\?$//r;
    my @audiences = $client->{audience} // $here;
    my $fault = TSFace::Sandbox::Assertion::fault($client, $form, \@audiences,
        $self->{jti}{$client->{client_id}} // {});
    return defined $fault ? "assertion: $fault" : undef;
}

sub _token_answer ($self, $client, $resource, $log) {
    my $switch = $self->{switches}->values;
    my $slot   = "$client->{client_id}\0" . ($resource // '');
    my $reuse  = $switch->{token_reuse} eq 'on' ? $self->{reuse}{$slot} : undef;
    undef $reuse if $reuse && $reuse->{dies} <= time;

    my $token = $reuse ? $reuse->{token}
        : $self->_mint({%{_client_claims($client)}, $self->_bound($client)},
        undef, $resource);
    my $ttl = $reuse ? $reuse->{dies} - time : $switch->{token_ttl};
    $log->{issued} = TSFace::Sandbox::Token::fingerprint($token);

    return {
        status  => 200,
        type    => JSON_TYPE,
        body    => _token_body($token, $ttl, $switch),
        headers => ['Cache-Control', 'no-store'],
        effect  => sub {
            $self->{reuse}{$slot} = {token => $token, dies => time + $ttl};
        },
    };
}

# RFC 8705, 3: a token that is good only beside the certificate it was made
# for.
sub _bound ($self, $client) {
    return unless $client->{bound} && defined $self->{peer};
    return (cnf => {'x5t#S256' => _thumbprint($self->{peer})});
}

sub _thumbprint ($hex) { return encode_base64url(pack 'H*', $hex // '') }

sub _token_body ($token, $ttl, $switch) {
    my $kind = $switch->{token_body};
    return '' if $kind eq 'empty';
    return "[$ttl]" if $kind eq 'array';
    return '{"access_token": oops' if $kind eq 'malformed';

    my %value = (
        access_token => qq{"$token"},
        token_type   => '"Bearer"',
        expires_in   => $ttl,
        scope        => '"openid"',
    );
    my $expires = $switch->{expires_in};
    $value{expires_in} = $expires if $expires ne 'ttl';
    delete $value{expires_in}     if $expires eq 'absent';

    delete $value{access_token}      if $kind eq 'no_token';
    $value{access_token} = '""'      if $kind eq 'empty_token';
    $value{access_token} = 'null'    if $kind eq 'null_token';
    $value{access_token} = 12345     if $kind eq 'number_token';
    $value{access_token} = '"' . 'a' x 20_000 . '"' if $kind eq 'long_token';
    delete $value{token_type}        if $kind eq 'no_token_type';
    $value{token_type} = '"mac"'     if $kind eq 'mac_token_type';
    delete $value{scope}             if $kind eq 'no_scope';

    my @members = map { qq{"$_":$value{$_}} }
        grep { defined $value{$_} } qw(access_token token_type expires_in scope);
    unshift @members, '"access_token":"first"' if $kind eq 'duplicate_token';
    my $body = '{' . join(',', @members) . '}';
    return $kind eq 'truncated' ? substr $body, 0, length($body) / 2 : $body;
}

sub _client_claims ($client) {
    my %claims = (
        sub      => $client->{client_id}, client_id => $client->{client_id},
        app_id   => $client->{app_id},    app_name  => $client->{app_id},
        scope    => 'openid',
        roles    => $client->{admin} ? ['Admin'] : [],
    );
    return \%claims if $client->{admin};
    my $rights = _rights($client, Time::HiRes::time());
    return {%claims, ts_roles => $rights->{roles},
        ts_permissions => $rights->{permissions}};
}

sub _rights ($client, $now) {
    my ($current) = grep { $_->{from} <= $now } reverse @{$client->{rights}};
    return $current // $client->{rights}[0];
}

sub _mint ($self, $claims, $ttl = undef, $resource = undef) {
    my $switch = $self->{switches}->values;
    my $now = time;
    return $self->{token}->mint({
        %$claims,
        tid => TENANT,
        iss => $switch->{issuer},
        aud => $resource // $switch->{audience},
        iat => $now,
        exp => $now + ($ttl // $switch->{token_ttl}),
    });
}

# RFC 6749, 2.3.1: id and secret are form-urlencoded inside Basic; or not.
sub _client_authentication ($req, $form, $encoding = 'form') {
    my $basic = $req->headers->authorization // '';
    my ($id, $secret) = @$form{qw(client_id client_secret)};
    if (defined(my $assertion = $form->{client_assertion})) {
        my $claims = TSFace::Sandbox::Assertion::look($assertion)->{claims};
        $id //= $claims->{sub} if $claims;
        return ($id, undef, 'two') if defined $secret || length $basic;
        return ($id, undef, 'private_key_jwt');
    }
    return ($id, $secret, defined $secret ? 'client_secret_post' : undef)
        unless $basic =~ /^Basic +([A-Za-z0-9+\/]+=*) *$/i;

    my @pair = split /:/, decode_base64($1), 2;
    my ($basic_id, $basic_secret)
        = map { $encoding eq 'raw' ? $_ : url_unescape(tr/+/ /r) } @pair;
    return ($basic_id, $basic_secret, 'two') if defined $secret;
    return ($basic_id, $basic_secret, 'two')
        if defined $id && $id ne ($basic_id // '');
    return ($basic_id, $basic_secret, 'client_secret_basic');
}

# Names in their order, repeated ones too; ".ok" tells that it was a form.
sub _form ($req) {
    my $type = $req->headers->content_type // '';
    return ({}, [])
        unless $type =~ m{^application/x-www-form-urlencoded\s*(?:;|$)}i;
    my (%form, @names);
    for my $pair (split /&/, $req->body) {
        my ($name, $value)
            = map { url_unescape(tr/+/ /r) } split(/=/, $pair, 2), '';
        push @names, $name;
        $form{$name} = $value;
    }
    return ({%form, '.ok' => 1}, \@names);
}

sub _harmless ($form) {
    my %harmless = %$form;
    delete @harmless{'.ok', grep { /secret|assertion|password|token|code/i }
            keys %harmless};
    return \%harmless;
}

sub _wrong_secret ($self) {
    my $style = $self->{switches}->values->{wrong_secret};
    return _error(400, 'Bad request') if $style eq 'bad_request';
    return {
        status => $style eq 'invalid_client' ? 401 : 400,
        type   => JSON_TYPE,
        body   => '{"error":"invalid_client",'
            . '"error_description":"client authentication failed"}',
    };
}

sub _bad_token_request ($self) {
    my $style = $self->{switches}->values->{bad_request};
    return _error(400, 'Bad request')   if $style eq 'message';
    return _error(400, ['Bad request']) if $style eq 'messages';
    return {
        status => 400,
        type   => JSON_TYPE,
        body   => '{"error":"invalid_request",'
            . '"error_description":"Bad request"}',
    };
}

# ------------------------------------------------------------ face revokes

# POST /cis/v1/users/face/revoke: a client's or a management app's token.
sub revoke ($self, $req, $bearer) {
    my $switch = $self->{switches}->values;
    return $self->_not_found($req) unless $req->method eq 'POST';

    my $refused = $self->_refuse_bearer($bearer);
    return $refused if $refused;
    return $self->_wrong_kind if $bearer->{kind} eq 'user';
    return _error(403, 'Forbidden') unless $self->_permitted($bearer);

    my $type = $req->headers->content_type // '';
    my $body = $type =~ m{^application/json\s*(?:;|$)}i
        ? eval { [decode_json($req->body)] } : [{}];
    return _error(400, 'Unexpected token in JSON') unless $body;
    my $user_id = ref $body->[0] eq 'HASH' ? $body->[0]{user_id} : undef;
    return _error(400, ['user_id must be a string']) unless _is_string($user_id);

    my $user = $self->{users}{$user_id};
    return $self->_unknown_user
        if !$user
        || ($bearer->{kind} ne 'admin'
        && $user->{app_id} ne $bearer->{claims}{app_id});
    return $self->_unregister($user);
}

# POST /cis/v1/users/me/face/revoke: the user's own token, no body.
sub revoke_me ($self, $req, $bearer) {
    return $self->_not_found($req) unless $req->method eq 'POST';

    my $refused = $self->_refuse_bearer($bearer);
    return $refused           if $refused;
    return $self->_wrong_kind if $bearer->{kind} ne 'user';

    my $user = $self->{users}{$bearer->{claims}{sub}}
        or return $self->_unknown_user;
    return $self->_unregister($user);
}

# {kind, claims, state, fingerprint, scheme} of the Authorization header.
sub bearer ($self, $req) {
    my $header = $req->headers->authorization;
    return {state => 'none'} unless defined $header;
    my ($scheme, $value) = $header =~ /^([A-Za-z]+) +(\S+) *$/;
    return {state => 'bad'} unless defined $scheme;
    return {state => 'bad', scheme => $scheme} unless lc $scheme eq 'bearer';
    return {%{$self->{token}->look($value, time)}, scheme => $scheme};
}

sub _refuse_bearer ($self, $bearer) {
    my $switch = $self->{switches}->values;
    my $good = $bearer->{state} eq 'valid'
        && ($switch->{resource_check} eq 'off'
        || $bearer->{claims}{aud} eq $switch->{audience});
    my $cnf = $good && $bearer->{claims}{cnf};
    undef $good if $cnf && $cnf->{'x5t#S256'} ne _thumbprint($self->{peer});
    return if $good;
    return $switch->{bad_bearer} eq 'invalid_token'
        ? _error(401, 'Invalid token')
        : _error(401,
        'Unauthorized request: JWT access token is missing or invalid',
        'unauthorized_request');
}

sub _wrong_kind ($self) {
    return $self->{switches}->values->{wrong_kind} eq '401'
        ? _error(401, 'Invalid token') : _error(403, 'Forbidden');
}

# A client without a role may do everything; with one, what it says.
sub _permitted ($self, $bearer) {
    my $switch = $self->{switches}->values;
    return $switch->{admin} eq 'allow' if $bearer->{kind} eq 'admin';
    my $claims = $bearer->{claims};
    my %has = map { $_ => 1 } @{$claims->{ts_permissions} // []};
    return 1
        if $switch->{permissions} eq 'off'
        || (!%has && !@{$claims->{ts_roles} // []});
    my @wanted = (@GENERIC_PERMISSIONS, "$claims->{app_id}:delete");
    my $held = grep { $has{$_} } @wanted;
    return $switch->{permissions} eq 'all' ? $held == @wanted : $held > 0;
}

sub _unregister ($self, $user) {
    my $switch = $self->{switches}->values;
    return _error(404, 'Face authenticator not found')
        if !$user->{face} && $switch->{no_face} eq '404';
    my $effect = sub { $user->{face} = 0; $user->{revokes}++ };
    return {status => 204, effect => $effect} if $switch->{revoke_ok} eq '204';
    return {status => 200, type => JSON_TYPE, body => '{}', effect => $effect};
}

sub _unknown_user ($self) {
    return $self->{switches}->values->{unknown_user} eq 'number'
        ? _error(404, 'User not found')
        : _error(404, 'User not found', 'user_not_found');
}

# ------------------------------------------------------------ the rest

sub keys_answer ($self, $req) {
    return $self->_not_found($req) unless $req->method eq 'GET';
    return {status => 200, type => JSON_TYPE, body => $self->{token}->jwks};
}

sub not_found ($self, $req) { return $self->_not_found($req) }

sub _not_found ($self, $req) {
    my $path = $req->url->path->to_string;
    return _error(404, 'Cannot ' . $req->method . " $path");
}

# 429 for an address that asked too often within a minute, or nothing.
sub throttle ($self, $address) {
    my $switch = $self->{switches}->values;
    my $limit = $switch->{rate_limit} or return;
    my $window = $self->{window};
    my $now = time;
    $window = $self->{window} = {start => $now, count => {}}
        if $now - $window->{start} >= WINDOW;
    return if ++$window->{count}{$address} <= $limit;
    return throttled($switch->{rate_style}, $switch->{retry_after});
}

sub throttled ($style, $retry_after = undef) {
    my $answer = $style eq 'edge' ? edge(429) : {
        status => 429,
        type   => JSON_TYPE,
        body   => '{"statusCode":429,'
            . '"message":"ThrottlerException: Too Many Requests"}',
    };
    push @{$answer->{headers}}, 'Retry-After', $retry_after
        if defined $retry_after && $retry_after ne 'none';
    return $answer;
}

# What the content delivery network in front of Transmit answers by itself.
sub edge ($status) {
    my $title = $status == 429 ? 'Too many requests'
        : "Error $status: the origin did not answer as it should";
    return {
        status  => $status,
        type    => 'text/html; charset=UTF-8',
        headers => ['Cache-Control', 'private, no-store'],
        edge    => 1,
        body    => "<!DOCTYPE html>\n<html><head><title>$title</title></head>"
            . "<body><h1>$title</h1><p>cloudflare</p></body></html>\n",
    };
}

sub error ($status) {
    return edge($status) if $status >= 501;
    my %text = (
        400 => 'Bad request',    401 => 'Invalid token', 403 => 'Forbidden',
        404 => 'User not found', 429 => 'Too Many Requests',
        500 => 'Something went wrong - Internal server error',
    );
    return throttled('app') if $status == 429;
    return {status => $status} if $status < 300 || $status == 304;
    return _error($status, $text{$status} // 'Error');
}

sub _error ($status, $message, $code = $status) {
    return {
        status => $status,
        type   => JSON_TYPE,
        body   => encode_json({message => $message, error_code => $code}),
    };
}

# JSON strings only: 12 is a number even where Perl would not mind.
sub _is_string ($value) {
    return defined $value && !ref $value && encode_json($value) =~ /^"/;
}

1;
