#!/usr/bin/perl
# Which answers mean that the endpoint rejects the gateway's own token: the
# configured statuses and what RFC 6750 says; and whether the request is sent
# once more.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 1);
my $sandbox = $t->sandbox;

# An endpoint that answers the first request as the user's id asks for, and
# the next with 204: "403", "401 insufficient_scope".

my $port = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 30)) {
        my ($status, $error) = $request->{body} =~ /"user_id":"(\d+) ?(\w*)"/;
        my $token = $request->{headers}{authorization};
        my $seen = $t->read_file('tmp/token');
        $t->write_file('tmp/token', $token);
        my $answer = $token eq $seen
            ? "HTTP/1.1 $status X\r\n" . ($error ? "WWW-Authenticate: "
                . "Basic realm=\"x\"\r\nWWW-Authenticate: Bearer "
                . "error=\"$error\"\r\n" : '')
            : "HTTP/1.1 204 No Content\r\n";
        print $socket $answer,
            $token eq $seen ? "Content-Length: 0\r\n\r\n" : "\r\n";
    }
});
my $token_url = 'https://127.0.0.1:' . $sandbox->https_port . '/oidc/token';

my $conf = <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    tsface_credentials sandbox {
        endpoint            http://127.0.0.1:$port/cis;
        token_endpoint      $token_url;
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        %%CLIENT%%
        min_interval        10ms;
    }
    tsface_pass_here
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
            add_header    X-Attempts \$tsface_attempts always;
        }
    }
}
END

sub conf { my ($more) = @_; (my $c = $conf) =~ s/tsface_pass_here/$more/; $c }

# The answer to a request whose token the endpoint has seen before.
sub ask {
    my ($how) = @_;
    sleep 0.05;
    $t->revoke('204');              # whatever came before: the token is seen
    my $answer = $t->revoke($how);
    return $answer->status . '/' . $answer->header('X-Attempts');
}

$t->write_file('tmp/token', '');
$t->start(conf(''));
is ask('401'), '204/2', 'by default 401 is a rejected token';
is ask('403'), '403/1', '403 is none';
is ask('407'), '407/1', '407 is none';
is ask('403 invalid_token'), '204/2', 'invalid_token is one with any status';
is ask('400 invalid_token'), '204/2', 'with 400';
is ask('401 insufficient_scope'), '401/1', 'insufficient_scope is none';
is ask('401 invalid_request'), '204/2', 'another error changes nothing';
is ask('500 invalid_token'), '500/1', 'a 500 may have been carried out';

$t->reload(conf('tsface_token_rejected 403 407;'));
is ask('403'), '204/2', 'configured: 403';
is ask('407'), '204/2', 'and 407';
is ask('401'), '401/1', '401 no more';
is ask('401 invalid_token'), '204/2', 'but for what it says';
is ask('403 insufficient_scope'), '403/1', 'insufficient_scope is none';
is ask('404'), '404/1', '404 is none';

$t->reload(conf('tsface_replay off;'));
my $n = () = $sandbox->exchanges;
is ask('401'), '401/1', 'no replay';
sleep 0.2;
is scalar(() = $sandbox->exchanges), $n + 1, 'but another token';
is ask('401 invalid_token'), '401/1', 'the same when it says so';
my @records = $t->records;
is $records[-1]{type} . ' ' . $records[-1]{attempt}, 'outcome 1',
    'one attempt is recorded';

done_testing;
