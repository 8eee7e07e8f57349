#!/usr/bin/perl
# The file of the next secret is emptied when the change is over: that of the
# current one is still read.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 2, timeout => 60);
my $sandbox = $t->sandbox;
sub secrets {
    $sandbox->set_client(client_id => 'sandbox-client', secrets => [@_]);
}
secrets('secret-one');
$t->secret('current', "secret-one\n", 0640);
$t->secret('next', "secret-two\n", 0640);

$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    tsface_credentials c {
        %%ENDPOINT%%
        client_id          sandbox-client;
        client_secret      file:%%DIR%%/secrets/current;
        client_secret_next file:%%DIR%%/secrets/next;
        min_interval       200ms;
    }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   c;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

is $t->revoke('user-1')->status, 204, 'the first secret';
secrets('secret-two');
$t->secret('current', "secret-two\n", 0640);
$t->secret('next', '', 0640);
sleep 0.4;
$sandbox->revoke_tokens;
is $t->revoke('user-1')->status, 204, 'the second';
secrets('secret-three');
$t->secret('current', "secret-three\n", 0640);
sleep 0.4;
$sandbox->revoke_tokens;
is $t->revoke('user-1')->status, 204, 'the third';

# ... and in the pause after a refusal

secrets('secret-four');
sleep 0.4;
$sandbox->revoke_tokens;
is $t->revoke('user-1')->status, 503, 'refused';
$t->secret('current', "secret-four\n", 0640);
ok $t->wait_for(sub { $t->revoke('user-1')->status == 204 }, 12), 'the fourth';

done_testing;
