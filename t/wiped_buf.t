#!/usr/bin/perl
# The token of an answer that is no answer is wiped, too.

use lib 't/lib';
use TSFace::Test;
no warnings "portable";
my $t = TSFace::Test->new(workers => 1, timeout => 60);
$t->secret('s', "the-secret-wb\n");
my $token_port = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 30)) {
        my $body = '{"access_token":"mark-' . "12345" . '-' . 'T' x 600 . '","expires_in":3600}';
        print $socket "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            . sprintf("%x\r\n%s\r\n", length $body, $body) . "zz\r\n";
        return;
    }
}, tls => 'localhost');
$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    tsface_credentials c {
        endpoint            https://127.0.0.1:$token_port/cis;
        token_endpoint      https://127.0.0.1:$token_port/oidc/token;
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        client_id           x;
        client_secret       file:%%DIR%%/secrets/s;
        min_interval        100ms;
    }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { tsface_pass   c; tsface_caller anonymous; tsface_audit off; }
    }
}
END
sleep 3;
my $found = 0;
for my $pid ($t->workers) {
    open my $mem, '<:raw', "/proc/$pid/mem" or die;
    for (split /\n/, $t->read_file("/proc/$pid/maps")) {
        my ($from, $to) = /^([0-9a-f]+)-([0-9a-f]+) rw/ or next;
        ($from, $to) = (hex $from, hex $to);
        sysseek $mem, $from, 0 or next;
        my $buf = '';
        while (length $buf < $to - $from) { sysread($mem, $buf, $to - $from - length $buf, length $buf) or last; }
        $found++ while $buf =~ /mark-12345-TTT/g;
    }
}
is $found, 0, 'a token in a malformed answer is wiped';
done_testing;
