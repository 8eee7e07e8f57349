#!/usr/bin/perl

# The sandbox itself: what it answers, every switch, every fault, its log and
# its control API.  Without nginx.

use v5.36;

use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::RealBin/lib";

use Digest::SHA qw(sha256_hex);
use IO::Socket::INET;
use IO::Socket::SSL;
use MIME::Base64 qw(decode_base64url encode_base64 encode_base64url);
use Mojo::JSON   qw(decode_json encode_json);
use Mojo::UserAgent;
use POSIX       qw(WNOHANG);
use Time::HiRes qw(sleep time);
use Test::More;

for my $module (qw(Crypt::PK::ECC Crypt::PK::RSA Mojo::Server::Daemon)) {
    plan skip_all => "$module is not installed" unless eval "require $module";
}

my $PROGRAM = "$FindBin::RealBin/sandbox";
my $DIR     = tempdir(CLEANUP => 1);
my $REVOKE  = '/cis/v1/users/face/revoke';
my $ME      = '/cis/v1/users/me/face/revoke';
my $TOKEN   = '/oidc/token';
my @PIDS;

END {
    local $?;
    kill TERM => @PIDS;
    waitpid $_, 0 for @PIDS;
}

is system("$PROGRAM --make-cert $DIR/cert --name api.example.com -q"
        . " >$DIR/cert.out 2>&1"), 0, 'make-cert';
like slurp("$DIR/cert.out"), qr{^cert +\Q$DIR\E/cert/server\.pem$}m,
    'it prints the paths';

my $box = start_box('--key', "$DIR/key.pem", '--users', 3,
    '--listen', 'http://127.0.0.1:0', '--listen',
    "https://127.0.0.1:0?cert=$DIR/cert/server.pem&key=$DIR/cert/server.key");
our $url = $box->{listen}[0];
my $tls_url = $box->{listen}[1];
my ($port) = $url =~ /:(\d+)/;
my ($tls_port) = $tls_url =~ /:(\d+)/;
my $ua = Mojo::UserAgent->new(ca => "$DIR/cert/ca.pem", inactivity_timeout => 9,
    max_response_size => 0);

# ---------------------------------------------------------------- the service

subtest 'token' => sub {
    fresh();
    for my $path ('/oidc/token', '/cis/oidc/token') {
        my $res = exchange(path => $path);
        is $res->code, 200, "$path: 200";
        is $res->headers->cache_control, 'no-store', 'no-store';
        like $res->headers->header('CF-Ray'), qr/^[0-9a-f]{16}-/, 'cf-ray';
        is_deeply [sort keys %{$res->json}],
            [qw(access_token expires_in scope token_type)], 'the four members';
        is $res->json->{expires_in}, 3600, 'an hour';
        is $res->json->{token_type}, 'Bearer', 'Bearer';

        my $claims = verified($res->json->{access_token});
        ok $claims, 'signed RS256 by the key in the key set';
        is $claims->{sub}, 'sandbox-client', 'sub is the client';
        is $claims->{iss}, 'https://userid.security', 'iss';
        is $claims->{aud}, 'userid-api', 'aud';
        is $claims->{exp} - $claims->{iat}, 3600, 'exp';
        is_deeply $claims->{$_}, [], $_ for qw(roles ts_roles ts_permissions);
    }
    is exchange(secret => 'sandbox-secret-2')->code, 200, 'second secret';
    is logged('token')->{secret}, 2, 'and the log tells which';

    my $basic = encode_base64('sandbox-client:sandbox-secret', '');
    my $res = $ua->post("$url$TOKEN", {Authorization => "Basic $basic"},
        form => {grant_type => 'client_credentials'})->res;
    is $res->code, 200, 'client_secret_basic';
    is logged('token')->{auth_method}, 'client_secret_basic', 'is logged';

    control(POST => 'client', {client_id => 'a b:c', secrets => ['s+/%&=']});
    $basic = encode_base64('a+b%3Ac:s%2B%2F%25%26%3D', '');
    is $ua->post("$url$TOKEN", {Authorization => "Basic $basic"},
        form => {grant_type => 'client_credentials'})->res->code, 200,
        'Basic is form-urlencoded inside';

    my $admin = verified(exchange(id => 'sandbox-admin',
            secret => 'sandbox-admin-secret')->json->{access_token});
    is_deeply $admin->{roles}, ['Admin'], 'management application';
    is verified(exchange(form => {resource => 'https://risk.identity.security'})
            ->json->{access_token})->{aud}, 'https://risk.identity.security',
        'resource is the audience';

    for my $case (
        [{grant_type => 'password'}, 'wrong grant_type'],
        [{grant_type => ''},         'empty grant_type'],
        [{client_id => undef},       'no client_id'],
        [{client_secret => undef},   'no client_secret'])
    {
        my $got = exchange(form => $case->[0]);
        is $got->code, 400, "$case->[1]: 400";
        is_deeply $got->json, {message => 'Bad request', error_code => 400},
            'body';
    }
    is $ua->post("$url$TOKEN", json => {})->res->code, 400, 'not a form';
    is $ua->post("$url$TOKEN", {'Content-Type' =>
            'application/x-www-form-urlencoded'}, 'client_id=sandbox-client'
            . '&client_id=x&client_secret=sandbox-secret'
            . '&grant_type=client_credentials')->res->code, 400,
        'repeated field';
    is $ua->get("$url$TOKEN")->res->code, 404, 'GET';
    my $got = exchange(secret => 'wrong');
    is $got->code, 401, 'wrong secret: 401';
    is $got->json->{error}, 'invalid_client', 'invalid_client';
    is exchange(id => 'nobody')->code, 401, 'unknown client: 401';
    is logged('token')->{reason}, 'unknown client', 'the log tells why';
};

subtest 'two secrets, not three' => sub {
    fresh();
    my $two = {client_id => 'sandbox-client', secrets => ['new', 'old']};
    is control(POST => 'client', $two)->{secrets}, 2, 'two';
    is exchange(secret => $_)->code, 200, $_ for qw(new old);
    is exchange(secret => 'sandbox-secret')->code, 401, 'the former is gone';
    $two->{secrets} = [qw(a b c)];
    like control_error(POST => 'client', $two), qr/one or two/, 'no third';
    $two->{secrets} = [];
    like control_error(POST => 'client', $two), qr/one or two/, 'nor none';
    is exchange(secret => 'new')->code, 200, 'a refusal changes nothing';
};

# Only what a client with the private key says here and now is accepted.
subtest 'private_key_jwt' => sub {
    fresh();
    my ($key, $other) = map { Crypt::PK::RSA->new->generate_key(256) } 1, 2;
    my $ec = Crypt::PK::ECC->new->generate_key('secp256r1');
    my %client = (client_id => 'jwt', method => 'private_key_jwt');
    my $register = sub ($key, %more) {
        control(POST => 'client', {%client, %more,
            public_key => $key->export_key_pem('public')});
    };
    like control_error(POST => 'client', {%client}), qr/public_key.*missing/,
        'needs a key';
    like control_error(POST => 'client', {%client,
        public_key => $key->export_key_pem('private')}), qr/private/,
        'and a public one';
    $register->($key);

    my $n = 0;
    my $claims = sub (%new) {
        my %all = (iss => 'jwt', sub => 'jwt', aud => "$url$TOKEN",
            jti => sprintf('%022d', ++$n), iat => time, exp => time + 60,
            %new);
        $all{$_} = int $all{$_} for grep { defined $all{$_} } qw(iat exp);
        return {%all};
    };
    my $sign = sub ($claims, %o) {
        my $text = join '.', map { encode_base64url(encode_json($_)) }
            {alg => 'RS256', typ => 'JWT', %{$o{header} // {}}}, $claims;
        my $signature = $o{code} ? $o{code}->($text)
            : ($o{key} // $key)->sign_message($text, 'SHA256', 'v1.5');
        return "$text." . encode_base64url($signature);
    };
    my $ask = sub ($assertion, %form) {
        my $code = $ua->post("$url$TOKEN", form => {
            grant_type => 'client_credentials', client_id => 'jwt',
            client_assertion => $assertion, client_assertion_type =>
                'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
            %form})->res->code;
        return "$code " . (logged('token')->{reason} // '');
    };

    my $good = $sign->($claims->());
    is $ask->($good), '200 ', 'accepted';
    is logged('token')->{auth_method}, 'private_key_jwt', 'is logged';
    is $ask->($good), '401 assertion: jti was used before', 'once';

    is $ask->($sign->($claims->(), code => sub ($text) {
        $key->sign_message($text, 'SHA256', 'pss', 32) },
        header => {alg => 'PS256'})), '200 ', 'PS256';
    is $ask->($sign->($claims->(), code => sub ($text) {
        $key->sign_message($text, 'SHA256', 'pss', 20) },
        header => {alg => 'PS256'})), '401 assertion: signature',
        'PS256 with other salt';
    is $ask->($sign->($claims->(), key => $other)),
        '401 assertion: signature', 'another key';
    is $ask->($sign->($claims->(), header => {alg => 'none'})),
        '401 assertion: algorithm', 'alg none';
    is $ask->($sign->($claims->(), header => {kid => 'x'})),
        '401 assertion: kid', 'a kid that was not registered';
    is $ask->("$good="), '401 assertion: signature', 'padding';
    is $ask->('a.b'), '401 assertion: not a JWT', 'no JWT';
    is $ask->($sign->($claims->()), client_assertion_type => 'x'),
        '401 assertion: assertion type', 'another type';
    is $ask->($sign->($claims->()), client_secret => 'sandbox-secret'),
        '400 two authentication methods', 'and a secret';

    for my $case (['iss', 'x'], ['sub', 'x'], ['aud', "$tls_url$TOKEN"],
        ['iat', undef], ['iat', time + 60], ['exp', time - 1],
        ['exp', time + 4000], ['exp', undef], ['jti', ''])
    {
        my ($name, $value) = @$case;
        is $ask->($sign->($claims->($name => $value))),
            "401 assertion: $name", "$name " . ($value // 'missing');
    }

    $register->($ec, alg => 'ES256', key_id => 'k', audience => 'somebody');
    my $es = sub ($text) { $ec->sign_message_rfc7518($text, 'SHA256') };
    is $ask->($sign->($claims->(aud => 'somebody'), code => $es,
        header => {alg => 'ES256', kid => 'k'})), '200 ', 'ES256';
    is $ask->($sign->($claims->(aud => 'somebody'),
        code => sub ($text) { $ec->sign_message($text, 'SHA256') },
        header => {alg => 'ES256', kid => 'k'})), '401 assertion: signature',
        'ES256 in DER';
    is $ask->($sign->($claims->(aud => 'somebody'),
        header => {kid => 'k'})), '401 assertion: algorithm', 'another alg';
    is $ask->($sign->($claims->(), code => $es,
        header => {alg => 'ES256', kid => 'k'})), '401 assertion: aud',
        'not for the registered audience';

    is exchange(id => 'jwt')->code, 401, 'a secret is not enough';
    is logged('token')->{reason}, 'not the registered method', 'says the log';
    is $ask->($sign->($claims->(iss => 'sandbox-client',
        sub => 'sandbox-client')), client_id => 'sandbox-client'),
        '401 not the registered method', 'nor an assertion where a secret is';
};

# A token for one certificate, where another one is shown or none.
subtest 'client certificates' => sub {
    my $cert = "$DIR/cert/server.pem";
    my $hex = unpack 'H*', Net::SSLeay::X509_digest(
        Net::SSLeay::PEM_read_bio_X509(Net::SSLeay::BIO_new_file($cert, 'r')),
        Net::SSLeay::EVP_get_digestbyname('sha256'));
    my $asking = start_box('--listen', 'https://127.0.0.1:0'
        . "?cert=$cert&key=$DIR/cert/server.key&client=ask");
    local $url = $asking->{listen}[0];
    my %ua = map { $_->[0] => Mojo::UserAgent->new(ca => "$DIR/cert/ca.pem",
        $_->[1] ? (cert => "$DIR/cert/$_->[1].pem",
            key => "$DIR/cert/$_->[1].key") : ()) }
        ['none'], ['right', 'server'], ['wrong', 'ca'];
    my $control = sub ($client) {
        $ua{none}->post("$url/_sandbox/client", json => $client)->res->code;
    };
    my %form = (grant_type => 'client_credentials', client_id => 'tls');
    my $post = sub ($which, $path, @more) {
        return $ua{$which}->post("$url$path", @more)->res;
    };

    my %client = (client_id => 'tls', method => 'tls_client_auth');
    is $control->(\%client), 400, 'needs a certificate';
    is $control->({%client, certificate => $hex, bound => 1}), 200, 'has one';

    my $res = $post->('right', $TOKEN, form => \%form);
    is $res->code, 200, 'the right one';
    my $bearer = {Authorization => 'Bearer ' . $res->json->{access_token}};
    is $post->($_, $TOKEN, form => \%form)->code, 401, $_ for qw(none wrong);
    is $post->('right', $TOKEN, form => {%form,
        client_secret => 'sandbox-secret'})->code, 401, 'no secret instead';

    is $post->($_, $REVOKE, $bearer, json => {user_id => 'alice'})->code,
        $_ eq 'right' ? 204 : 401, "bound token: $_" for sort keys %ua;
};

subtest 'revoke' => sub {
    fresh();
    my $token = client_token();
    my $res = revoke($token, 'alice');
    is $res->code, 204, 'status 204';
    is $res->body, '', 'no body';
    is $res->headers->content_type, undef, 'no type';
    is_deeply control(GET => 'user?id=alice'), {user_id => 'alice', face => 0,
        app_id => 'sandbox-app', revokes => 1}, 'the face is gone';
    is revoke($token, 'alice')->code, 204, 'again: 204';
    is revoke($token, 'dave')->code, 204, 'without a face: 204';
    is revoke($token, 'user-3')->code, 204, 'one of --users';
    for my $id ('nobody', 'erin') {
        my $got = revoke($token, $id);
        is $got->code, 404, "$id: 404";
        is_deeply $got->json, {message => 'User not found', error_code => 404},
            'body';
    }
    is revoke(client_token('sandbox-admin'), 'erin')->code, 204,
        'a management application reaches every app';
    is revoke(client_token('sandbox-deleter'), 'bob')->code, 204,
        'a role with one permission of three';
    my $got = revoke(client_token('sandbox-reader'), 'carol');
    is $got->code, 403, 'a role without';
    is_deeply $got->json, {message => 'Forbidden', error_code => 403}, 'body';
    is control(GET => 'user?id=carol')->{face}, 1, 'and the face is there';

    for my $body ('{}', '[]', '{"user_id":12}', '{"user_id":null}',
        '{"user_id":["bob"]}', '"bob"')
    {
        my $got = post($REVOKE, $token, $body);
        is $got->code, 400, "$body: 400";
        is_deeply $got->json, {error_code => 400,
            message => ['user_id must be a string']}, 'body';
    }
    is post($REVOKE, $token, '{')->code, 400, 'not JSON: 400';
    is post($REVOKE, $token, '{"user_id":"bob"}', 'text/plain')->code, 400,
        'another type: 400';
    is $ua->get("$url$REVOKE")->res->code, 404, 'GET: 404';
    is $ua->post("$url/cis/v1/users/x/face/revoke")->res->code, 404,
        'another path: 404';
};

subtest 'revoke_me' => sub {
    fresh();
    my $res = post($ME, user_token('bob'), '');
    is $res->code, 204, 'status 204';
    is control(GET => 'user?id=bob')->{face}, 0, 'the face is gone';
    is post($ME, user_token('ghost', 'unknown=1'), '')->code, 404, 'unknown';
    is post($ME, client_token($_), '')->code, 401, "token of $_: 401"
        for qw(sandbox-client sandbox-admin sandbox-reader);
    is revoke(user_token('bob'), 'alice')->code, 401,
        'user token on the management path: 401';
};

subtest 'bearer' => sub {
    fresh();
    my $good = client_token();
    my %bad = (
        none    => undef,
        garbled => control(GET => 'token?client=sandbox-client&garbled=1')
            ->{access_token},
        expired => control(GET => 'token?client=sandbox-client&ttl=-5')
            ->{access_token},
        text    => 'abc',
        hs256   => join('.', map { encode_base64($_, '') =~ tr{+/=}{-_}dr }
                '{"alg":"none"}', '{"sub":"x"}', ''),
    );
    for my $name (sort keys %bad) {
        my $got = revoke($bad{$name}, 'alice');
        is $got->code, 401, "$name: 401";
        is_deeply $got->json, {message => 'Invalid token', error_code => 401},
            'body';
    }
    is revoke($good, 'alice')->code, 204, 'good';

    my ($mine, $theirs) = (user_token('bob'), user_token('carol'));
    control(POST => 'revoke_tokens', {sub => 'bob'});
    is post($ME, $mine, '')->code,   401, 'revoked by sub';
    is logged('revoke_me')->{authorization}{state}, 'revoked', 'in the log';
    is post($ME, $theirs, '')->code, 204, 'the others are good';
    is post($ME, user_token('bob'), '')->code, 204, 'and a new one';
    control(POST => 'revoke_tokens', {});
    is revoke($good, 'alice')->code, 401, 'all revoked';
    is revoke(client_token(), 'alice')->code, 204, 'a new one is good';

    control(POST => 'client', {client_id => 'short'});
    control(POST => 'switch', {token_ttl => 2});
    my $short = exchange(id => 'short')->json->{access_token};
    is revoke($short, 'alice')->code, 204, 'a short life';
    sleep 2.1;
    is revoke($short, 'alice')->code, 401, 'and then it is over';
};

# ---------------------------------------------------------------- the switches

subtest 'switches' => sub {
    my %done;
    my $with = sub ($name, $value, $test) {
        fresh();
        control(POST => 'switch', {$name => $value});
        $done{$name}++;
        subtest "$name $value" => $test;
    };
    my $claim = sub ($name) {
        return verified(exchange()->json->{access_token})->{$name};
    };

    $with->(issuer => 'https://eu.userid.security', sub {
        is $claim->('iss'), 'https://eu.userid.security', 'iss';
    });
    $with->(audience => 'other', sub { is $claim->('aud'), 'other', 'aud' });
    $with->(token_ttl => 77, sub {
        my $json = exchange()->json;
        is $json->{expires_in}, 77, 'expires_in';
        my $claims = verified($json->{access_token});
        is $claims->{exp} - $claims->{iat}, 77, 'exp';
    });
    $with->(expires_in => 'absent', sub {
        ok !exists exchange()->json->{expires_in}, 'absent';
    });
    for my $value ('"30"', '-1', '0', 'null', '1.5', '1e99', '[]') {
        $with->(expires_in => $value, sub {
            like exchange()->body, qr/"expires_in":\Q$value\E,/, 'as it is';
        });
    }
    my %body = (
        malformed       => qr/^\{"access_token": oops/,
        truncated       => qr/^\{"access_token":"[^"]+$/,
        empty           => qr/^$/,
        array           => qr/^\[/,
        no_token        => qr/^\{"token_type"/,
        empty_token     => qr/"access_token":"",/,
        null_token      => qr/"access_token":null,/,
        number_token    => qr/"access_token":12345,/,
        long_token      => qr/"access_token":"a{20000}"/,
        no_token_type   => qr/^(?!.*token_type)/,
        mac_token_type  => qr/"token_type":"mac"/,
        no_scope        => qr/^(?!.*scope)/,
        duplicate_token => qr/^\{"access_token":"first","access_token":"ey/,
    );
    for my $kind (sort keys %body) {
        $with->(token_body => $kind, sub {
            my $res = exchange();
            is $res->code, 200, 'status 200';
            like $res->body, $body{$kind}, 'body';
        });
    }
    $with->(token_reuse => 'on', sub {
        my @tokens = map { exchange()->json->{access_token} } 1 .. 2;
        is $tokens[0], $tokens[1], 'same token';
        isnt exchange(id => 'sandbox-other', secret => 'sandbox-other-secret')
            ->json->{access_token}, $tokens[0], 'not for another client';
    });
    $with->(token_reuse => 'off', sub {
        my @tokens = map { exchange()->json->{access_token} } 1 .. 2;
        isnt $tokens[0], $tokens[1], 'another token';
    });
    $with->(wrong_secret => 'invalid_client_400', sub {
        my $res = exchange(secret => 'x');
        is $res->code, 400, 'status 400';
        is $res->json->{error}, 'invalid_client', 'OAuth';
    });
    $with->(wrong_secret => 'bad_request', sub {
        my $res = exchange(secret => 'x');
        is $res->code, 400, 'status 400';
        is $res->json->{error_code}, 400, 'Mosaic';
    });
    $with->(bad_request => 'messages', sub {
        is_deeply exchange(form => {grant_type => 'x'})->json->{message},
            ['Bad request'], 'array';
    });
    $with->(bad_request => 'oauth', sub {
        is exchange(form => {grant_type => 'x'})->json->{error},
            'invalid_request', 'OAuth';
    });
    $with->(auth_methods => 'basic', sub {
        is exchange()->code, 400, 'post is refused';
    });
    $with->(auth_methods => 'post', sub {
        is exchange()->code, 200, 'post is accepted';
        my $basic = encode_base64('sandbox-client:sandbox-secret', '');
        is $ua->post("$url$TOKEN", {Authorization => "Basic $basic"},
            form => {grant_type => 'client_credentials'})->res->code, 400,
            'Basic is not';
    });
    for my $case (['raw', 'raw%2Bid:+%2B'], ['form', 'raw%252Bid:%2B%252B']) {
        my ($value, $pair) = @$case;
        for my $encoding (qw(form raw)) {
            $with->(basic_encoding => $encoding, sub {
                control(POST => 'client',
                    {client_id => 'raw%2Bid', secrets => ['+%2B']});
                my $basic = encode_base64($pair, '');
                is $ua->post("$url$TOKEN", {Authorization => "Basic $basic"},
                    form => {grant_type => 'client_credentials'})->res->code,
                    $value eq $encoding ? 200 : 401, "$value where $encoding";
            });
        }
    }
    for my $value (qw(off on)) {
        $with->(resource_check => $value, sub {
            my $token = exchange(form => {resource => 'x'})
                ->json->{access_token};
            is revoke($token, 'bob')->code, $value eq 'on' ? 401 : 204, 'status';
            is revoke(client_token(), 'bob')->code, 204, 'usual audience';
        });
    }
    $with->(revoke_ok => '200', sub {
        my $res = revoke(client_token(), 'alice');
        is $res->code, 200, 'status 200';
        is $res->body, '{}', 'body';
    });
    $with->(bad_bearer => 'unauthorized_request', sub {
        is revoke('x', 'alice')->json->{error_code}, 'unauthorized_request',
            'string code';
    });
    $with->(wrong_kind => '403', sub {
        is revoke(user_token('bob'), 'bob')->code, 403, 'management';
        is post($ME, client_token(), '')->code, 403, 'me';
    });
    $with->(permissions => 'all', sub {
        is revoke(client_token('sandbox-deleter'), 'bob')->code, 403, 'one of three';
        control(POST => 'client', {client_id => 'three', roles => ['r'],
            permissions =>
                [qw(apps:delete authenticators:delete sandbox-app:delete)]});
        is revoke(client_token('three'), 'bob')->code, 204, 'three';
        is revoke(client_token(), 'bob')->code, 204, 'no role';
    });
    $with->(permissions => 'any', sub {
        for my $permission ('apps:delete', 'authenticators:delete',
            'sandbox-app:delete')
        {
            control(POST => 'client', {client_id => $permission, roles => ['r'],
                permissions => [$permission]});
            is revoke(client_token($permission), 'bob')->code, 204, $permission;
        }
        control(POST => 'client', {client_id => 'o', roles => ['r'],
            permissions => ['other-app:delete']});
        is revoke(client_token('o'), 'bob')->code, 403, 'of another app';
    });
    $with->(permissions => 'off', sub {
        is revoke(client_token('sandbox-reader'), 'bob')->code, 204, 'none';
    });
    $with->(admin => 'refuse', sub {
        is revoke(client_token('sandbox-admin'), 'bob')->code, 403, 'status 403';
        is revoke(client_token(), 'bob')->code, 204, 'others';
    });
    $with->(unknown_user => 'code', sub {
        my $res = revoke(client_token(), 'nobody');
        is $res->code, 404, 'status 404';
        is $res->json->{error_code}, 'user_not_found', 'string code';
    });
    $with->(no_face => '404', sub {
        is revoke(client_token(), 'dave')->code, 404, 'without a face';
        is revoke(client_token(), 'bob')->code, 204, 'with';
        is revoke(client_token(), 'bob')->code, 404, 'repeat';
    });
    $with->(rate_limit => 2, sub {
        is revoke('x', 'bob')->code, 401, 'below the limit' for 1 .. 2;
        my $res = revoke('x', 'bob');
        is $res->code, 429, 'status 429';
        is $res->json->{message}, 'ThrottlerException: Too Many Requests',
            'the application\'s';
        is $res->headers->header('Retry-After'), undef, 'no Retry-After';
        ok !logged('revoke')->{acted}, 'not acted on';
    });
    $with->(rate_style => 'edge', sub {
        control(POST => 'switch', {rate_limit => 1, edge_headers => 'off'});
        revoke('x', 'bob');
        my $res = revoke('x', 'bob');
        is $res->code, 429, 'status 429';
        is $res->headers->server, 'cloudflare', 'the edge\'s';
        like $res->headers->content_type, qr{^text/html}, 'HTML';
    });
    $with->(retry_after => 17, sub {
        control(POST => 'switch', {rate_limit => 1});
        revoke('x', 'bob');
        is revoke('x', 'bob')->headers->header('Retry-After'), 17, 'Retry-After';
    });
    my $reader = {client_id => 'sandbox-reader',
        permissions => ['authenticators:delete']};
    $with->(role_delay => 2, sub {
        my $old = client_token('sandbox-reader');
        control(POST => 'client', $reader);
        is revoke(client_token('sandbox-reader'), 'bob')->code, 403, 'not yet';
        sleep 2.1;
        is revoke($old, 'bob')->code, 403, 'an old token keeps its rights';
        is revoke(client_token('sandbox-reader'), 'bob')->code, 204, 'now';
    });
    $with->(role_delay => 300, sub {
        control(POST => 'client', {%$reader, now => 1});
        is revoke(client_token('sandbox-reader'), 'bob')->code, 204,
            'or at once with "now"';
    });
    $with->(edge_headers => 'off', sub {
        my $res = revoke(client_token(), 'bob');
        is $res->headers->header($_), undef, "no $_" for qw(Server CF-Ray);
    });
    $with->(log_values => 'on', sub {
        exchange(form => {audience => 'x'});
        my $values = logged('token')->{values};
        is $values->{audience}, 'x', 'value';
        ok !exists $values->{client_secret}, 'but not the secret';
    });

    require TSFace::Sandbox::Switch;
    is_deeply [sort keys %done], [sort(TSFace::Sandbox::Switch::names())],
        'every switch was tried';

    fresh();
    like control_error(POST => 'switch', {nonsense => 1}), qr/no switch/,
        'unknown switch';
    like control_error(POST => 'switch', {revoke_ok => 200, admin => 'x'}),
        qr/allow\|refuse/, 'a bad value names the good ones';
    is control(GET => 'switch')->{revoke_ok}, 204, 'all or nothing';
};

# ------------------------------------------------------------------ the faults

subtest 'faults' => sub {
    my %done;
    my $token = client_token();
    my $user  = user_token('bob');

    # For one request; returns the raw bytes of the answer and how it ended.
    my $raw = sub ($kind, %fields) {
        fresh();
        $done{$kind}++;
        control(POST => 'fault', {kind => $kind, path => 'revoke', %fields});
        return raw_revoke($token, $kind eq 'delay' ? 0.8 : 0.25);
    };

    my $got = $raw->('delay', ms => 300);
    like $got->{bytes}, qr/^HTTP\/1\.1 204 /, 'delay: 204';
    cmp_ok $got->{first}, '>=', 0.28, 'after the time';
    $got = $raw->('delay', body_ms => 300);
    like $got->{bytes}, qr/^HTTP\/1\.1 200 .*\{"result":"revoked"\}$/s,
        'delay of the body: there is one';
    cmp_ok $got->{first}, '<', 0.25, 'the header at once';
    cmp_ok $got->{last} - $got->{first}, '>=', 0.25, 'the body later';
    is logged('revoke')->{acted}, 1, 'acted on';

    $got = $raw->('reset');
    is_deeply [@$got{qw(bytes end)}], ['', 'reset'], 'reset: RST, no bytes';
    is control(GET => 'user?id=alice')->{face}, 1, 'not acted on';
    $got = $raw->('reset', act => 1);
    is control(GET => 'user?id=alice')->{face}, 0, 'unless told';
    $got = $raw->('reset', after => 'head');
    like $got->{bytes}, qr/^HTTP.*\r\n\r\n\z/s, 'reset after the header';
    is $got->{end}, 'reset', 'RST';
    $got = $raw->('reset', after => 'body');
    like $got->{bytes}, qr/\r\n\r\n\{"result/, 'reset in the body';
    is $got->{end}, 'reset', 'RST';

    $got = $raw->('close');
    is_deeply [@$got{qw(bytes end)}], ['', 'eof'], 'close: no bytes, FIN';
    $got = $raw->('close', after => 'head');
    like $got->{bytes}, qr/\r\n\r\n\z/, 'close after the header';
    is length_of($got), 20, 'that promised a body';

    $got = $raw->('hang');
    is_deeply [@$got{qw(bytes end)}], ['', 'open'], 'hang: open, no bytes';

    $got = $raw->('garbage');
    unlike $got->{bytes}, qr/HTTP\/1/, 'garbage';
    cmp_ok length $got->{bytes}, '>', 10, 'some';
    is $got->{end}, 'eof', 'then closed';
    is $raw->('garbage', bytes => 'hello')->{bytes}, 'hello', 'or this';

    $got = $raw->('truncated');
    is $got->{end}, 'eof', 'truncated: closed';
    cmp_ok body_of($got), '<', length_of($got), 'less than Content-Length';
    is body_of($raw->('truncated', bytes => 3)), 3, 'so many';
    is $raw->('truncated', keep => 1)->{end}, 'open', 'or left open';

    for my $kind (qw(oversized large)) {
        my $bytes = $kind eq 'large' ? 512 * 1024 : 2 * 1024 ** 2;
        $got = $raw->($kind);
        is body_of($got), $bytes, "$kind: $bytes";
        is length_of($got), $bytes, 'and says so';
        is $got->{end}, 'open', 'kept alive';
        is body_of($raw->($kind, bytes => 70_000)), 70_000, 'or so many';
    }

    $got = $raw->('chunked');
    like $got->{bytes}, qr/Transfer-Encoding: chunked/, 'chunked';
    like $got->{bytes}, qr/\r\n7\r\n\{"resul\r\n7\r\n.*\r\n0\r\n\r\n\z/s,
        'in sevens';
    unlike $got->{bytes}, qr/Content-Length/, 'no length';
    $got = $raw->('chunked', size => 10_000, bytes => 100_000);
    is scalar(() = $got->{bytes} =~ /\r\n2710\r\n/g), 10, 'large chunks';
    is $got->{end}, 'open', 'kept alive';

    $got = $raw->('drip', ms => 20);
    cmp_ok $got->{reads}, '>', 10, 'drip: many pieces';
    cmp_ok $got->{last} - $got->{first}, '>=', 0.3, 'slow';
    like $got->{bytes}, qr/\{"result":"revoked"\}\z/, 'complete';
    is $got->{end}, 'open', 'kept alive';
    $got = $raw->('drip', ms => 5, head => 1, size => 5);
    like $got->{bytes}, qr/^HTTP.*\{"result":"revoked"\}\z/s, 'drip of the header';
    cmp_ok $got->{reads}, '>', 20, 'many pieces';

    $got = $raw->('duplicate_length');
    is scalar(() = $got->{bytes} =~ /Content-Length: 20\r\n/g), 2,
        'duplicate_length: twice';
    $got = $raw->('duplicate_length', values => [5, 20, 'x']);
    like $got->{bytes}, qr/Length: 5\r\n.*Length: 20\r\n.*Length: x\r\n/s,
        'or these';

    $got = $raw->('length_and_chunked');
    like $got->{bytes}, qr/Content-Length: 20\r\n/, 'length_and_chunked: length';
    like $got->{bytes}, qr/Transfer-Encoding: chunked\r\n/, 'chunked';
    like $got->{bytes}, qr/\r\n14\r\n.{20}\r\n0\r\n\r\n\z/s, 'body in a chunk';

    for my $status (200, 302, 400, 401, 403, 404, 409, 422, 429, 500, 501, 503,
        520, 599)
    {
        $got = $raw->('status', status => $status);
        like $got->{bytes}, qr/^HTTP\/1\.1 $status /, "status $status";
        is $got->{end}, 'open', 'kept alive';
        my $html = $status >= 501;
        is scalar($got->{bytes} =~ m{text/html}) ? 1 : 0, $html ? 1 : 0,
            $html ? 'HTML' : 'not HTML';
        is logged('revoke')->{status}, $status, 'is logged';
        is control(GET => 'user?id=alice')->{face}, 1, 'not acted on';
    }
    $got = $raw->('status', status => 503, retry_after => 9, body => '{"a":1}',
        type => 'text/x', headers => {'X-Extra' => 'yes'});
    like $got->{bytes}, qr/^$_\r$/m, $_ for 'Retry-After: 9', 'X-Extra: yes',
        'Content-Type: text/x';
    like $got->{bytes}, qr/\{"a":1\}\z/, 'own body';

    $got = $raw->('throttle');
    like $got->{bytes}, qr/^HTTP\/1\.1 429 .*ThrottlerException/s, 'throttle';
    unlike $got->{bytes}, qr/Retry-After/, 'without Retry-After';
    $got = $raw->('throttle', style => 'edge', retry_after => 3);
    like $got->{bytes}, qr/^Retry-After: 3\r$/m, 'with';
    like $got->{bytes}, qr/<html>/, 'HTML';

    $got = $raw->('edge', status => 522);
    like $got->{bytes}, qr/^HTTP\/1\.1 522 .*<html>/s, 'edge';
    like $got->{bytes}, qr/^Server: cloudflare\r$/m, 'server';
    like $got->{bytes}, qr/^CF-Ray: \S+\r$/m, 'cf-ray';

    $got = $raw->('headers', headers => {'X-One' => 'a'}, fill => 20,
        size => 50);
    like $got->{bytes}, qr/^HTTP\/1\.1 204 /, 'headers: 204';
    like $got->{bytes}, qr/^X-One: a\r$/m, 'own';
    is scalar(() = $got->{bytes} =~ /^X-Fill-\d+: f{50}\r$/mg), 20, 'fill';

    $got = $raw->('switch', set => {revoke_ok => '200'});
    like $got->{bytes}, qr/^HTTP\/1\.1 200 .*\{\}\z/s, 'switch';
    like raw_revoke($token)->{bytes}, qr/^HTTP\/1\.1 204 /, 'for one request';

    $got = $raw->('raw', bytes => "HTTP/1.1 200 OK\r\n\r\nabc");
    is $got->{bytes}, "HTTP/1.1 200 OK\r\n\r\nabc", 'raw';
    is $got->{end}, 'eof', 'closed';
    $got = $raw->('raw', bytes => encode_base64("\0\xff"), base64 => 1,
        keep => 1);
    is_deeply [@$got{qw(bytes end)}], ["\0\xff", 'open'], 'base64, open';
    print {$got->{socket}} 'more';
    my $until = time + 10;
    sleep 0.05 until logged('stray') || time > $until;
    is logged('stray')->{bytes}, 4, 'who goes on talking there is logged';

    # Faults of the token endpoint.
    my $for_token = sub ($kind, %fields) {
        fresh();
        $done{$kind}++;
        control(POST => 'fault', {kind => $kind, path => 'token', %fields});
        return exchange();
    };
    ok !exists $for_token->('expires_in')->json->{expires_in}, 'expires_in';
    is $for_token->('expires_in', value => 5)->json->{expires_in}, 5, 'value';
    is $for_token->('expires_in', value => undef)->json->{expires_in}, undef,
        'null';
    is $for_token->('malformed_json')->json, undef, 'malformed_json';
    is exchange()->code, 200, 'once';
    fresh();
    my $first = exchange()->json->{access_token};
    control(POST => 'fault', {kind => 'same_token', path => 'token'});
    is exchange()->json->{access_token}, $first, 'same_token';
    isnt exchange()->json->{access_token}, $first, 'once';
    $done{same_token}++;
    my $large = $for_token->('large', bytes => 65_536);
    is length $large->body, 65_536, 'a large token answer';
    ok verified($large->json->{access_token}), 'is legal';

    is_deeply [sort keys %done], [sort @{TSFace::Sandbox::Fault::kinds()}],
        'every fault was tried' if require TSFace::Sandbox::Fault;

    # Which requests.
    fresh();
    control(POST => 'fault', {kind => 'edge', path => 'revoke', skip => 1,
        count => 2});
    is_deeply [map { revoke($token, 'bob')->code } 1 .. 5],
        [204, 502, 502, 204, 204], 'skip and count';
    is post($ME, $user, '')->code, 204, 'other path';
    fresh();
    control(POST => 'fault', {kind => 'edge', count => 'forever'});
    is_deeply [map { $_->code } (map { revoke($token, 'bob') } 1 .. 3),
        post($ME, $user, ''), exchange(), $ua->get("$url/cis/oidc/jwks")->res],
        [(502) x 6], 'any, forever';
    is scalar @{control(GET => 'fault')}, 1, 'is listed';
    control(DELETE => 'fault');
    is revoke($token, 'bob')->code, 204, 'until taken away';
    control(POST => 'fault', {kind => 'edge', user => 'alice'});
    is_deeply [map { revoke($token, $_)->code } qw(bob alice alice)],
        [204, 502, 204], 'user';
    control(POST => 'fault', {kind => 'edge', client => 'sandbox-other'});
    is exchange()->code, 200, 'another client';
    is exchange(id => 'sandbox-other', secret => 'sandbox-other-secret')->code,
        502, 'client';
    control(POST => 'fault', {kind => 'status', status => 500, delay => 200});
    my $start = time;
    is revoke($token, 'bob')->code, 500, 'delay and another fault';
    cmp_ok time - $start, '>=', 0.18, 'after the time';

    like control_error(POST => 'fault', {kind => 'nonsense'}), qr/no fault/,
        'unknown kind';
    like control_error(POST => 'fault', {kind => 'edge', bytes => 1}),
        qr/no field "bytes"/, 'unknown field';
    like control_error(POST => 'fault', {kind => 'edge', path => 'x'}),
        qr/no path/, 'unknown path';
    like control_error(POST => 'fault', {kind => 'delay', ms => 'x'}),
        qr/number/, 'not a number';
};

# ----------------------------------------------------------------- TLS, log...

subtest 'TLS' => sub {
    fresh();
    my $token = client_token();
    my $post = sub {
        return $ua->post("https://localhost:$tls_port$REVOKE",
            {Authorization => "Bearer $token"}, json => {user_id => 'alice'})
            ->res;
    };
    is $post->()->code, 204, 'certificate is good for localhost';
    my $tls = logged('revoke')->{tls};
    is $tls->{sni}, 'localhost', 'SNI in the log';
    like $tls->{version}, qr/^TLSv1_[23]$/, 'version';
    ok tls_connect('api.example.com'), 'and for --name';
    ok !tls_connect('evil.example.com'), 'not for others';

    my $alert = sub (%fields) {
        control(POST => 'fault', {kind => 'truncated', %fields});
        my $socket = tls_connect('localhost') or return 'no connection';
        print {$socket} request($token);
        my $all = '';
        1 while $socket->sysread($all, 4096, length $all);
        return Net::SSLeay::get_shutdown($socket->_get_ssl_object)
            & Net::SSLeay::RECEIVED_SHUTDOWN() ? 'notified' : 'cut';
    };
    is $alert->(), 'notified', 'close_notify';
    is $alert->(notify => Mojo::JSON->false), 'cut', 'and without it';
    control(POST => 'fault', {kind => 'reset'});
    my $socket = tls_connect('localhost');
    print {$socket} request($token);
    my $n = $socket->sysread(my $all, 4096);
    ok !$n, 'reset over TLS';
    is tls_resumed(), 1, 'a session is resumed';
};

subtest 'log' => sub {
    fresh();
    my $token = client_token();
    my $secret_free = sub ($text, $what) {
        unlike $text, qr/sandbox-secret|\Q$token\E/, "$what: no secret, no token";
    };
    exchange(form => {audience => 'hidden-value'});
    my $entry = logged('token');
    is_deeply [sort @{$entry->{fields}}],
        [qw(audience client_id client_secret grant_type)], 'field names';
    is $entry->{client_id}, 'sandbox-client', 'client_id';
    like $entry->{issued}, qr/^[0-9a-f]{16}$/, 'fingerprint of the token made';
    ok !exists $entry->{body}, 'no body';

    $ua->post("$url$REVOKE", {Authorization => "Bearer $token",
        'X-Request-ID' => 'r-1', 'User-Agent' => 'test'},
        json => {user_id => "\x{e9}"});
    $entry = logged('revoke');
    is $entry->{body}, "{\"user_id\":\"\x{e9}\"}", 'body';
    is $entry->{headers}{'x-request-id'}, 'r-1', 'x-request-id';
    is $entry->{headers}{'user-agent'}, 'test', 'user-agent';
    is $entry->{headers}{host}, "127.0.0.1:$port", 'host';
    is_deeply $entry->{authorization}, {scheme => 'Bearer', kind => 'client',
        state => 'valid', sub => 'sandbox-client',
        token => substr sha256_hex($token), 0, 16}, 'authorization';
    like $entry->{time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, 'time';
    is $entry->{status}, 404, 'status';
    is $entry->{port}, $port, 'port';

    post($REVOKE, $token, "\xff\xfe");
    is logged('revoke')->{body_base64}, "//4=", 'a body that is not text';

    revoke($token, 'alice') for 1 .. 2;
    my @two = @{control(GET => 'log?name=revoke&limit=2')};
    is $two[0]{conn}, $two[1]{conn}, 'kept alive: same connection';
    is $two[1]{on_conn}, $two[0]{on_conn} + 1, 'counted';
    my $since = control(GET => "log?since=$two[0]{n}");
    is_deeply [map { $_->{n} } @$since], [$two[1]{n}], 'since';

    my $file = slurp($box->{log});
    $secret_free->($file, 'file');
    unlike $file, qr/hidden-value/, 'nor values of other fields';
    my @lines = map { decode_json($_) } split /\n/, $file;
    is $lines[-1]{n}, $two[1]{n}, 'the file has the same';

    # Before it is acted on: an answer that takes 5 s is in the log at once.
    control(POST => 'fault', {kind => 'delay', ms => 5000});
    my $socket = IO::Socket::INET->new("127.0.0.1:$port");
    print {$socket} request($token);
    my $last;
    my $until = time + 4;
    do {
        sleep 0.05;
        $last = decode_json((split /\n/, slurp($box->{log}))[-1])->{fault};
    } until $last || time > $until;
    is $last, 'delay', 'logged before the answer';

    is control(DELETE => 'log')->{ok}, 1, 'cleared';
    is_deeply control(GET => 'log'), [], 'empty';
    $socket = IO::Socket::INET->new("127.0.0.1:$port");
    print {$socket} "this is not HTTP\r\n\r\n";
    like scalar <$socket>, qr/^HTTP\/1\.1 400 /, 'not HTTP: 400';
    ok logged('other')->{error}, 'is logged';
};

subtest 'control' => sub {
    fresh();
    revoke(client_token(), 'alice');
    my $stats = control(GET => 'stats');
    is $stats->{requests}{revoke}{204}, 1, 'stats';
    cmp_ok $stats->{connections}, '>', 0, 'connections';
    control(POST => 'user', {user_id => 'new', face => 0});
    is revoke(client_token(), 'new')->code, 204, 'a new user';
    control(DELETE => 'user?id=new');
    is revoke(client_token(), 'new')->code, 404, 'is gone';
    like control_error(GET => 'token?user=nobody'), qr/no user/, 'no user';
    like control_error(POST => 'client', {client_id => 'sandbox-admin',
        roles => ['x']}), qr/can't be assigned/, 'no roles for management';
    is $ua->get("$url/_sandbox/nonsense")->res->code, 404, 'no such control';
    like $ua->get("$url/_sandbox/token?user=bob&format=text")->res->body,
        qr/^ey[\w-]+\.[\w-]+\.[\w-]+\n$/, 'text';
    my $state = control(GET => '');
    unlike encode_json($state), qr/sandbox-secret/, 'state has no secret';
    is_deeply $state->{listen}, $box->{listen}, 'listen';
    control(POST => 'switch', {revoke_ok => 200});
    control(POST => 'fault', {kind => 'edge'});
    control(POST => 'reset', {});
    is revoke(client_token(), 'bob')->code, 204, 'reset';
};

subtest 'command line' => sub {
    my $help = `$PROGRAM --help`;
    is $?, 0, '--help';
    like $help, qr/^  --\Q$_\E /m, "help: $_"
        for map { tr/_/-/r } TSFace::Sandbox::Switch::names();
    like $help, qr/^  \Q$_\E /m, "help: fault $_"
        for @{TSFace::Sandbox::Fault::kinds()};

    for my $case (
        ['--listen http://0.0.0.0:0',     qr/loopback.*any-address/s],
        ['--listen http://192.0.2.1:0',   qr/loopback/],
        ['--listen nonsense',             qr/is expected/],
        ['--listen https://127.0.0.1:0',  qr/cert=FILE is missing/],
        ['--no-such-option',              qr/no-such-option/],
        ['--revoke-ok 500',               qr/204\|200/],
        ['--fault kind=nonsense',         qr/no fault/],
        ['--user a,b',                    qr/what is "b"/],
        ['--client id=x',                 qr/are needed/],
        ["--key $DIR/cert.out",           qr/can't read the RSA key/],
        ['--log /nonexistent/log',        qr/can't open the log/],
        ["--listen http://127.0.0.1:$port", qr/in use/],
        ['argument',                      qr/no arguments/])
    {
        my ($options, $text) = @$case;
        $options = "--listen http://127.0.0.1:0 $options"
            unless $options =~ /--listen/;
        my $said = `$PROGRAM $options -q 2>&1 </dev/null`;
        isnt $?, 0, "$options: fails";
        like $said, $text, 'and says why';
        unlike $said, qr/ line \d+/, 'for people';
    }

    my $other = start_box('--listen', 'http://127.0.0.1:0',
        '--key', "$DIR/key.pem", '--no-defaults', '--revoke-ok', 200,
        '--client', 'id=c,secret=one,secret=two', '--user', 'u,app=x,no-face',
        '--client', 'id=a,secret=adm,admin',
        '--fault', 'kind=status,path=token,status=503,count=1');
    local $url = $other->{listen}[0];
    is exchange(id => 'c', secret => 'two')->code, 503, '--fault';
    is exchange(id => 'c', secret => 'two')->code, 200, '--client';
    is exchange()->code, 401, '--no-defaults';
    is control(GET => 'user?id=u')->{face}, 0, '--user';
    is control(GET => 'switch')->{revoke_ok}, 200, 'a switch';
    is revoke(client_token('a'), 'u')->code, 200, 'admin';
    control(POST => 'switch', {revoke_ok => 204});
    control(POST => 'reset', {});
    is control(GET => 'switch')->{revoke_ok}, 200, 'reset keeps the options';
    is exchange(id => 'c', secret => 'two')->code, 503, '--fault is back';

    # The same --key: the first sandbox knows tokens of the second.
    my $token = exchange(id => 'a', secret => 'adm')->json->{access_token};
    $url = $box->{listen}[0];
    fresh();
    is revoke($token, 'bob')->code, 204, 'token by another run with this key';
    is((stat "$DIR/key.pem")[2] & 0777, 0600, 'the key is private');

    for my $signal (qw(TERM INT)) {
        my $end = $signal eq 'TERM' ? $other
            : start_box('--listen', 'http://127.0.0.1:0');
        kill $signal => $end->{pid};
        my $until = time + 5;
        sleep 0.02 until waitpid($end->{pid}, WNOHANG) || time > $until;
        is $?, 0, "SIG$signal: exit 0";
        ok !-e $end->{ready}, 'ready file is gone';
        @PIDS = grep { $_ != $end->{pid} } @PIDS;
    }
};

is slurp($box->{output}), '', 'nothing on its standard error';

done_testing;

# -------------------------------------------------------------------- helpers

sub start_box (@options) {
    state $number = 0;
    my $base = "$DIR/box" . ++$number;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDOUT, '>', "$base.out";
        open STDERR, '>&', \*STDOUT;
        exec $^X, $PROGRAM, '--quiet', '--ready-file', "$base.ready",
            '--log', "$base.log", @options;
        die "exec: $!";
    }
    push @PIDS, $pid;
    my $until = time + 20;
    until (-e "$base.ready") {
        BAIL_OUT('the sandbox did not start: ' . slurp("$base.out"))
            if time > $until || waitpid $pid, WNOHANG;
        sleep 0.02;
    }
    return {%{decode_json(slurp("$base.ready"))}, log => "$base.log",
        ready => "$base.ready", output => "$base.out"};
}

sub slurp ($file) {
    open my $in, '<', $file or return '';
    local $/;
    return <$in> // '';
}

sub fresh { control(POST => 'reset', {}) }

sub control ($method, $name, $json = undef) {
    my $res = $ua->start($ua->build_tx($method => "$url/_sandbox/$name",
        $json ? (json => $json) : ()))->res;
    die "$method $name: " . $res->body unless ($res->code // 0) == 200;
    return $res->json;
}

sub control_error ($method, $name, $json = undef) {
    my $res = $ua->start($ua->build_tx($method => "$url/_sandbox/$name",
        $json ? (json => $json) : ()))->res;
    return $res->code == 400 ? $res->json->{error} : 'status ' . $res->code;
}

sub logged ($name) { return control(GET => "log?name=$name&limit=1")->[0] }

sub exchange (%with) {
    my %form = (
        grant_type    => 'client_credentials',
        client_id     => $with{id}     // 'sandbox-client',
        client_secret => $with{secret} // 'sandbox-secret',
        %{$with{form} // {}},
    );
    delete @form{grep { !defined $form{$_} } keys %form};
    return $ua->post($url . ($with{path} // $TOKEN), form => \%form)->res;
}

sub client_token ($id = 'sandbox-client') {
    return control(GET => "token?client=$id")->{access_token};
}

sub user_token ($id, $more = '') {
    return control(GET => "token?user=$id&$more")->{access_token};
}

sub post ($path, $token, $body, $type = 'application/json') {
    return $ua->post("$url$path", {
        defined $token ? (Authorization => "Bearer $token") : (),
        length $body ? ('Content-Type' => $type) : (),
    }, $body)->res;
}

sub revoke ($token, $user) {
    return post($REVOKE, $token, encode_json({user_id => $user}));
}

sub request ($token) {
    my $body = '{"user_id":"alice"}';
    return join "\r\n", "POST $REVOKE HTTP/1.1", 'Host: x',
        "Authorization: Bearer $token", 'Content-Type: application/json',
        'Content-Length: ' . length $body, '', $body;
}

# The claims if the key in the key set signed them.
sub verified ($token) {
    my $keys = $ua->get("$url/cis/oidc/jwks")->res->json->{keys};
    my ($head, $body, $signature) = split /\./, $token;
    my $header = decode_json(decode_base64url($head));
    my ($jwk) = grep { $_->{kid} eq $header->{kid} } @$keys;
    return unless $jwk && $header->{alg} eq 'RS256' && $header->{typ} eq 'JWT';
    my $key = Crypt::PK::RSA->new({map { $_ => $jwk->{$_} } qw(kty n e)});
    return unless $key->verify_message(decode_base64url($signature),
        "$head.$body", 'SHA256', 'v1.5');
    return decode_json(decode_base64url($body));
}

# {bytes, reads, first, last, end: eof, reset or open (nothing more comes)}
sub raw_revoke ($token, $silence = 0.25) {
    my $socket = IO::Socket::INET->new("127.0.0.1:$port") or die "connect: $!";
    my $start = time;
    print {$socket} request($token);
    $socket->flush;
    my %got = (bytes => '', reads => 0, socket => $socket, end => 'open');
    while (1) {
        my $bits = '';
        vec($bits, fileno $socket, 1) = 1;
        last unless select $bits, undef, undef, $silence;
        my $n = sysread $socket, $got{bytes}, 1 << 20, length $got{bytes};
        if (!$n) {
            $got{end} = defined $n ? 'eof' : 'reset';
            last;
        }
        $got{reads}++;
        $got{last} = time - $start;
        $got{first} //= $got{last};
    }
    return \%got;
}

sub body_of ($got) { return length(($got->{bytes} =~ /\r\n\r\n(.*)\z/s)[0]) }

sub length_of ($got) {
    return ($got->{bytes} =~ /^Content-Length: (\d+)\r$/m)[0];
}

sub tls_connect ($name, %more) {
    return IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $tls_port,
        SSL_hostname => $name, SSL_verifycn_name => $name,
        SSL_verifycn_scheme => 'http', SSL_ca_file => "$DIR/cert/ca.pem",
        %more);
}

sub tls_resumed {
    my $cache = IO::Socket::SSL::Session_Cache->new(5);
    my $context = IO::Socket::SSL::SSL_Context->new(
        SSL_ca_file => "$DIR/cert/ca.pem", SSL_session_cache => $cache,
        SSL_version => 'TLSv1_2');
    my $resumed;
    for (1 .. 2) {
        my $socket = tls_connect('localhost', SSL_reuse_ctx => $context,
            SSL_session_key => 'x') or return 'no connection';
        print {$socket} "GET /cis/oidc/jwks HTTP/1.1\r\nHost: x\r\n\r\n";
        <$socket>;
        $resumed = $socket->get_session_reused;
        $socket->close;
    }
    return $resumed ? 1 : 0;
}
