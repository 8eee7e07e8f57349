#!/usr/bin/perl
# The endpoint's TLS is verified unless told otherwise.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
$t->secret('s', 'the-secret-of-tls.t');

my %port;
for my $name (qw(localhost other selfsigned)) {
    $port{$name} = $t->fake_server(sub {
        my ($socket) = @_;
        while (my $request = read_request($socket, 30)) {
            my $body = $request->{line} =~ /token/
                ? '{"access_token":"tls-token-tls-token","token_type":"Bearer",'
                    . '"expires_in":3600}' : 'hello';
            print $socket "HTTP/1.1 200 OK\r\nContent-Length: "
                . length($body) . "\r\n\r\n$body";
        }
    }, tls => $name);
}
my $token = $t->fake_token_server;

# Answers in plain text before any handshake, as CVE-2026-1642 would like it.
$port{early} = $t->fake_server(sub {
    my ($socket) = @_;
    print $socket "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
    sleep 2;
});

my $ca = 'trusted_certificate %%CERTS%%/ca.pem;';

# name, certificate, lines of the block, status
my @rows = (
    [ good => 'localhost', "$ca ssl_name localhost;", 200 ],
    [ good_ip => 'localhost', $ca, 200 ],
    [ wrong_name => 'other', "$ca ssl_name localhost;", 502 ],
    [ wrong_name_ip => 'other', $ca, 502 ],
    [ named => 'other', "$ca ssl_name other.test;", 200 ],
    [ self_signed => 'selfsigned', "$ca ssl_name localhost;", 502 ],
    [ system_ca => 'localhost', 'ssl_name localhost;', 502 ],
    [ verify_off => 'selfsigned', 'verify off;', 200 ],
    [ verify_off_name => 'other', 'verify off;', 200 ],
    [ pinned => 'selfsigned', 'trusted_certificate %%CERTS%%/selfsigned.pem; '
        . 'ssl_name localhost;', 200 ],
    [ early => 'early', 'verify off;', 502 ],
);

my $blocks = join "\n", map { <<"END" } @rows;
    tsface_credentials $_->[0] {
        endpoint        https://127.0.0.1:$port{$_->[1]}/cis;
        token_endpoint  http://127.0.0.1:$token/oidc/token;
        client_id       x;
        client_secret   file:%%DIR%%/secrets/s;
        connect_timeout 10s;
        read_timeout    10s;
        $_->[2]
    }
    tsface_credentials token_$_->[0] {
        endpoint        http://127.0.0.1:1/cis;
        token_endpoint  https://127.0.0.1:$port{$_->[1]}/oidc/token;
        client_id       x;
        client_secret   file:%%DIR%%/secrets/s;
        token_wait      3s;
        $_->[2]
    }
END

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

for my $row (@rows) {
    my ($name, undef, undef, $status) = @$row;

    my $answer = $t->revoke('u', headers => [ 'X-Which', $name ], timeout => 20);
    is $answer->status, $status, "$name: $status" or diag $answer->body;
    unlike $answer->body, qr/early/, 'nothing is believed before the handshake';

    # Port 1 is closed, so a token that came means 502, and none means 503.
    $answer = $t->revoke('u', headers => [ 'X-Which', "token_$name" ],
        timeout => 20);
    is $answer->status, $status == 200 ? 502 : 503, "token endpoint, $name";
}

# A connection made with verification off is not used where it is on.
for (1 .. 3) {
    is $t->revoke('u', headers => [ 'X-Which', 'verify_off' ])->status, 200, 'off';
    is $t->revoke('u', headers => [ 'X-Which', 'self_signed' ])->status, 502, 'on';
}

done_testing;
