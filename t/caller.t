#!/usr/bin/perl
# Who is asking: no default, empty is refused, and any nginx variable will do.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
my $certs = $t->certs_dir;

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    map $http_x_api_key $key_owner {
        default          "";
        k-7f1c0de5-billing billing;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% ssl;
        ssl_certificate     %%CERTS%%/localhost.pem;
        ssl_certificate_key %%CERTS%%/localhost.key;
        ssl_client_certificate %%CERTS%%/ca.pem;
        ssl_verify_client   optional;

        location / {
            tsface_pass   sandbox;
            tsface_caller $ssl_client_s_dn;
            tsface_audit  trail;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $key_owner;
            tsface_audit  trail;
        }
        location /v1/users/me/ {
            tsface_pass   sandbox;
            tsface_caller anonymous;
            tsface_audit  trail;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_2%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller "team $http_x_team of $remote_addr";
            tsface_audit  trail;
            add_header    X-Caller-Was $tsface_caller always;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_3%%;
        location / {
            deny          all;
            tsface_pass   sandbox;
            tsface_caller anonymous;
            tsface_audit  trail;
        }
    }
}
END

sub intent {
    my ($answer) = @_;
    my ($intent) = $t->records(request_id =>
        $answer->header('X-TSFace-Request-ID'));
    return $intent || {};
}

# --- client certificates

for my $name (qw(payments support)) {
    my $answer = $t->revoke('user-1', tls => 1, caller => undef,
        cert => "$certs/$name.pem", key => "$certs/$name.key");
    is $answer->status, 204, "certificate of $name" or diag $answer->error;
    is intent($answer)->{caller}, "CN=$name", 'its subject is the caller';
}

my $answer = $t->revoke('user-1', tls => 1, caller => 'CN=payments');
is $answer->status, 401, 'no certificate';
is $answer->problem, 'no_caller', 'problem';
is intent($answer)->{reason}, 'no_caller', 'recorded';
ok !defined intent($answer)->{caller} || intent($answer)->{caller} eq '',
    'without a caller';

# --- an API key map

$answer = $t->revoke('user-1', port => $t->port(1),
    headers => [ 'X-API-Key', 'k-7f1c0de5-billing' ]);
is $answer->status, 204, 'known key';
is intent($answer)->{caller}, 'billing', 'is its owner';
is $t->revoke('user-1', port => $t->port(1),
    headers => [ 'X-API-Key', 'k-other' ])->status, 401, 'unknown key';
is $t->revoke('user-1', port => $t->port(1))->status, 401, 'no key';

# The path is not told to a stranger: identity comes first.
for my $target ('/nothing', '/v1/users/face/revoke?x') {
    is $t->revoke('user-1', port => $t->port(1), target => $target)->status,
        401, "401 before anything else: $target";
}

# --- anonymous, by its explicit word

my $token = $t->sandbox->user_token('user-3');
$answer = $t->revoke_me($token, port => $t->port(1));
is $answer->status, 204, 'anonymous';
ok exists intent($answer)->{operation}, 'recorded';

# --- any value

$answer = $t->revoke('user-1', port => $t->port(2), headers => [ 'X-Team', 'red' ]);
is $answer->header('X-Caller-Was'), 'team red of 127.0.0.1', '$tsface_caller';
is intent($answer)->{caller}, 'team red of 127.0.0.1', 'in the record';

# --- nginx's own access rules come first

is $t->revoke('user-1', port => $t->port(3))->status, 403, 'deny all';

done_testing;
