#!/usr/bin/perl
# nginx -t and stores of limits: what is refused, and what is said of it.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
$t->secret('open', "a password\n", 0644);
$t->secret('good', "a password\n");

sub conf {
    my (%c) = (block => 'server 127.0.0.1; nodes 2;', http => '',
        rate => 'rate=6r/m burst=5', zone => 'lim', store => 'store=fleet',
        limits => '', @_);

    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%
    tsface_limit_store fleet {
        $c{block}
    }
    tsface_limit_zone \$remote_addr zone=$c{zone}:1m $c{rate} $c{store};
    $c{http}
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller \$remote_addr;
            tsface_audit  trail;
            tsface_limit  zone=$c{zone};
            $c{limits}
        }
    }
}
END
}

for my $good (
    [ 'server 127.0.0.1; nodes 2;' ],
    [ 'server [::1]:6380; server localhost:6379; nodes 1000;' ],
    [ 'server unix:/run/store; on_failure refuse;' ],
    [ 'server unix:/run/store; on_failure allow; database 15; prefix a:b;'
        . 'connect_timeout 1ms; timeout 1h;' ],
    [ 'server 127.0.0.1; nodes 2; user u; password file:%%DIR%%/secrets/good;' ],
    [ 'server 127.0.0.1; nodes 2;', rate => 'rate=1r/d burst=50000' ],
) {
    my ($block, @more) = @$good;
    my ($code, $output) = $t->nginx_t(conf(block => $block, @more));
    is $code, 0, "$block: taken" or diag $output;
}

for my $bad (
    [ [ block => 'nodes 2;' ], qr/tsface_limit_store "fleet" has no "server"/ ],
    [ [ block => 'server 127.0.0.1;' ], qr/"fleet" needs "nodes", how many/ ],
    [ [ block => 'server 127.0.0.1; nodes 0;' ], qr/must be between 1 and 1000/ ],
    [ [ block => 'server 127.0.0.1; nodes 1001;' ], qr/between 1 and 1000/ ],
    [ [ block => 'server 127.0.0.1:x; nodes 2;' ],
        qr/invalid address "127.0.0.1:x" of "server": invalid port/ ],
    [ [ block => 'server ""; nodes 2;' ], qr/invalid address "" of "server"/ ],
    [ [ block => 'server unix:; nodes 2;' ], qr/invalid address "unix:"/ ],
    [ [ block => 'server no-such-host.invalid; nodes 2;' ],
        qr/invalid address "no-such-host.invalid" of "server": host not found/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; user u;' ],
        qr/has a "user" without a "password"/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; user "a b"; ' ],
        qr/invalid character in "user"/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; password s3cret;' ],
        qr/"password" must be file:PATH, env:NAME or credential:NAME/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; password file:%%DIR%%/secrets/open;' ],
        qr/can be used by others/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; verify off;' ],
        qr/"fleet" says how to speak TLS, but not "ssl on"/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; ssl off; ssl_name a;' ],
        qr/but not "ssl on"/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; '
        . 'client_certificate %%CERTS%%/payments.pem;' ], qr/but not "ssl on"/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; ssl maybe;' ],
        qr/invalid value "maybe" in "ssl" directive/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; database -1;' ], qr/invalid number/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; database 65536;' ],
        qr/must be between 0 and 65535/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; prefix "a{b";' ],
        qr/must be visible ASCII without braces/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; prefix "a}b";' ],
        qr/"prefix" directive must be visible ASCII without braces/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; prefix "";' ],
        qr/"prefix" must have 1 to 64 characters, not 0/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; timeout 0;' ],
        qr/must be between 1ms and 1h/ ],
    [ [ block => 'server 127.0.0.1; on_failure ignore;' ],
        qr/invalid value "ignore"/ ],
    [ [ block => 'server 127.0.0.1; nodes 2; tls on;' ],
        qr/unknown directive "tls" in "tsface_limit_store"/ ],
    [ [ http => 'tsface_limit_store fleet { server 127.0.0.1; nodes 2; }' ],
        qr/duplicate tsface_limit_store "fleet"/ ],
    [ [ store => 'store=other' ],
        qr/unknown tsface_limit_store "other" of tsface_limit_zone "lim"/ ],
    [ [ store => 'store=' ], qr/invalid or repeated parameter "store="/ ],
    [ [ rate => 'rate=1r/d burst=60000' ], qr/more than the 142 years/ ],
    [ [ http => 'tsface_limit_zone $uri zone=here:1m rate=1r/s;',
        limits => 'tsface_limit zone=here;' ],
        qr/zones "lim" and "here" apply to the same request, but/ ],
    [ [ http => 'tsface_limit_zone $uri zone=here:1m rate=1r/s store=b;'
            . 'tsface_limit_store b { server 127.0.0.1; nodes 2; }',
        limits => 'tsface_limit zone=here;' ],
        qr/zones "lim" and "here" apply to the same request, but/ ],
) {
    my ($how, $message) = @$bad;
    my ($code, $output) = $t->nginx_t(conf(@$how));
    isnt $code, 0, "refused: $message";
    like $output, $message, 'and why';
}

done_testing;
