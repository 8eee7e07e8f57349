#!/usr/bin/perl
# tsface_status: JSON, nothing secret, same in all workers.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
        location = /tsface/status {
            tsface_status;
            allow 127.0.0.1;
            deny  all;
        }
    }
}
END

is $t->revoke('user-1')->status, 204, 'revoked' for 1 .. 5;

my $answer = http($t->port, 'GET', '/tsface/status');
push @{ $t->{answers} }, $answer;
is $answer->status, 200, 'status';
like $answer->header('Content-Type'), qr{^application/json}, 'JSON';
is ref $answer->json, 'HASH', 'it is' or diag $answer->body;
like $answer->body, qr/sandbox/, 'names the credentials';
note $answer->body;

is http($t->port, 'HEAD', '/tsface/status')->status, 200, 'HEAD';
is http($t->port, 'POST', '/tsface/status', body => 'x')->status, 405, 'POST';

done_testing;
