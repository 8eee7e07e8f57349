#!/usr/bin/perl
# A higher exchange_rate is in force from the reload on: nobody keeps a place
# that a lower one gave.

use lib 't/lib';
use TSFace::Test;
use Time::HiRes qw(time);

my $t = TSFace::Test->new(workers => 2, timeout => 60);
my $sandbox = $t->sandbox;
my $port = $sandbox->https_port;

my $blocks = join '', map { <<"END" } 1 .. 6;
    tsface_credentials c$_ {
        endpoint            https://127.0.0.1:$port/cis;
        token_endpoint      https://127.0.0.1:$port/oidc/token;
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        %%CLIENT%%
        resource     https://c$_.example.com;
    }
END

sub conf {
    my ($rate) = @_;
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%TRAIL%%
    tsface_zone zone=tsface:2m exchange_rate=$rate;
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
}

$t->start(conf('1r/m'));
sleep 2;
is scalar($sandbox->exchanges), 1, 'at once for one, the others in turn';

$t->reload(conf('100r/s'));
my $before = time;
ok $t->wait_for(sub { $sandbox->exchanges >= 6 }, 8),
    'with a higher rate, the others do not wait for the lower';
is $t->revoke('user-1', headers => [ 'X-Which', 'c6' ])->status, 204,
    'nor a request';

done_testing;
