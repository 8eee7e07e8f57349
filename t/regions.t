#!/usr/bin/perl
# Each region has its own endpoint, and credentials are chosen by name or by
# a variable; a token never goes to another region.
#
# No test reaches Transmit: the resolver is a closed port.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;

my %host = (
    sbx => 'api.sbx.transmitsecurity.io',
    us  => 'api.transmitsecurity.io',
    eu  => 'api.eu.transmitsecurity.io',
    ca  => 'api.ca.transmitsecurity.io',
    au  => 'api.au.transmitsecurity.io',
    jp  => 'api.gasne1-ts01.transmitsecurity.io',
);
my @regions = sort keys %host;

# Tells tenants apart by the Host it is asked for.
my $upstream = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 20)) {
        my $host = $request->{headers}{host};
        my $body = $request->{line} =~ m{ /oidc/token }
            ? qq({"access_token":"token-for-$host","token_type":"Bearer",)
                . qq("expires_in":3600,"scope":"s"})
            : qq({"host":"$host","line":"$request->{line}",)
                . qq("token":"$request->{headers}{authorization}"});
        my $length = length $body;
        print $socket "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            . "Content-Length: $length\r\n\r\n$body";
    }
});

$t->secret('s', 'secret-of-a-region');

my $blocks = join "\n", (map { <<"END" } @regions), <<"END";
    tsface_credentials $_ {
        region        $_;
        client_id     client-$_;
        client_secret file:%%DIR%%/secrets/s;
    }
END
    tsface_credentials one {
        endpoint       http://127.0.0.1:$upstream/cis;
        token_endpoint http://127.0.0.1:$upstream/oidc/token;
        client_id      one;
        client_secret  file:%%DIR%%/secrets/s;
    }
    tsface_credentials two {
        region         eu;
        endpoint       http://localhost:$upstream/other/base/;
        token_endpoint http://localhost:$upstream/oidc/token;
        client_id      two;
        client_secret  file:%%DIR%%/secrets/s;
    }
END

$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    resolver 127.0.0.1:9 ipv6=off;
    resolver_timeout 1s;
$blocks
    map \$http_x_tenant \$tenant {
        default nobody;
        acme    one;
        globex  two;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        tsface_caller \$http_x_caller;
        tsface_audit  trail;

        location / {
            tsface_pass \$tenant;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        tsface_caller \$http_x_caller;
        tsface_audit  trail;

        location / {
            tsface_pass \$http_x_region;
        }
    }
}
END

# --- tenants by a variable

my $answer = $t->revoke('u', headers => [ 'X-Tenant', 'acme' ]);
is $answer->status, 200, 'one tenant';
is $answer->json->{host}, "127.0.0.1:$upstream", 'at its endpoint';
is $answer->json->{line}, 'POST /cis/v1/users/face/revoke HTTP/1.1', 'base';
is $answer->json->{token}, "Bearer token-for-127.0.0.1:$upstream", 'token';

$answer = $t->revoke('u', headers => [ 'X-Tenant', 'globex' ]);
is $answer->status, 200, 'another' or diag $answer->body;
is $answer->json->{host}, "localhost:$upstream", 'at its endpoint';
is $answer->json->{line}, 'POST /other/base/v1/users/face/revoke HTTP/1.1',
    'a trailing slash of the base does not matter';
is $answer->json->{token}, "Bearer token-for-localhost:$upstream", 'token';
my ($intent) = $t->records(request_id =>
    $answer->header('X-TSFace-Request-ID'));
is $intent->{region}, 'eu', 'region in the record';
is $intent->{credentials}, 'two', 'credentials in the record';

for my $tenant ('unheard-of', '') {
    $answer = $t->revoke('u', headers => [ 'X-Tenant', $tenant ]);
    is $answer->status, 503, "unknown tenant '$tenant'";
    is $answer->problem, 'unknown_credentials', 'problem';
}
like $t->error_log, qr/nobody/, 'the error log names it';

# --- the six regions: nothing answers there, but the record says where

for my $region (@regions) {
    $answer = $t->revoke_me('the-users-token-' . $region,
        headers => [ 'X-Region', $region ], port => $t->port(1));
    is $answer->status, 502, "$region: unreachable here";
    ($intent) = $t->records(request_id =>
        $answer->header('X-TSFace-Request-ID'), type => qr/intent/);
    is $intent->{endpoint}, "$host{$region}:443", "$region: endpoint";
    is $intent->{region}, $region, "$region: region";
}

done_testing;
