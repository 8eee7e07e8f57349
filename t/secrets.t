#!/usr/bin/perl
# At the debug level, too, neither secret nor our token gets into a log.  The
# user's own bearer does, as nginx's core prints inbound headers there; it is
# not sent here.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(log_level => 'debug', workers => 1);

$t->secret('wrong', 'not-the-sandbox-s-secret');
$t->hide('c2FuZGJveC1jbGllbnQ6c2FuZGJveC1zZWNyZXQ');

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    tsface_credentials basic {
        %%ENDPOINT%%
        %%CLIENT%%
        token_auth_method client_secret_basic;
    }

    tsface_credentials wrong {
        %%ENDPOINT%%
        client_id     sandbox-client;
        client_secret file:%%DIR%%/secrets/wrong;
        token_wait    1s;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   $http_x_which;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

for my $which (qw(sandbox basic)) {
    is $t->revoke('user-1', headers => [ 'X-Which', $which ])->status, 204,
        $which;
}
is $t->revoke('user-1', headers => [ 'X-Which', 'wrong' ])->status, 503, 'wrong';

# Every way an answer of the token endpoint may fail to be understood.
for my $body (qw(malformed truncated array number_token long_token
    duplicate_token))
{
    $t->sandbox->switch(token_body => $body);
    $t->sandbox->revoke_tokens;
    $t->revoke('user-1', headers => [ 'X-Which', 'sandbox' ], timeout => 20);
}
$t->sandbox->switch(token_body => 'ok');

like $t->error_log, qr/\[debug\]/, 'the log is at the debug level';
ok length $t->read_file('trail/trail.jsonl'), 'there is a trail';

done_testing;
