#!/usr/bin/perl
# Two workers with different secrets, both refused, and a file that can't be
# read any more: one pause for both.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 2, timeout => 120);
my $sandbox = $t->sandbox;
my $dir = $t->{dir};
$t->secret('s', "old-secret-one\n", 0640);

$sandbox->set_client(client_id => 'sandbox-client',
    secrets => ['old-secret-one']);
$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    tsface_credentials c {
        %%ENDPOINT%%
        client_id     sandbox-client;
        client_secret file:%%DIR%%/secrets/s;
        min_interval  200ms;
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

is $t->revoke('user-1')->status, 204, 'a token';
$sandbox->set_client(client_id => 'sandbox-client',
    secrets => ['a-secret-nobody-has']);
$t->secret('s', "new-secret-two\n", 0640);
sleep 0.4;
$sandbox->revoke_tokens;

# One worker reads the new secret, which is refused.
sub exchanges { return scalar(() = $sandbox->exchanges) }

my $n = exchanges();
$t->revoke('user-1');
ok $t->wait_for(sub { exchanges() > $n }, 5), 'it was tried';

# The other has the old one, and can't read the file any more.
unlink "$dir/secrets/s";
sleep 1;
$n = exchanges();
sleep 14;
cmp_ok exchanges() - $n, '<=', 1, 'a pause of 60 s, whatever the workers know';

done_testing;
