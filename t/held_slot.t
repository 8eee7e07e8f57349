#!/usr/bin/perl
# A worker that leaves holds a request for long: its slots are its own until
# it is gone, whoever needs memory in the zone.

use lib 't/lib';
use TSFace::Test;
use IO::Socket::INET;

plan(skip_all => 'eleven minutes: make test-long') if !$ENV{TSFACE_TEST_LONG};

my $t = TSFace::Test->new(workers => 1, timeout => 900);
$t->secret('s', 'the-secret-of-held_slot.t');

my $token_port = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 60)) {
        my ($id) = $request->{body} =~ /client_id=([\w-]+)/;
        my $token = "token-for-$id-" . "t" x ($id =~ m{^f} ? 7800 : 20);
        my $body = qq({"access_token":"$token","expires_in":@{[$id =~ m{^other} ? 2 : 3600]}});
        print $socket "HTTP/1.1 200 OK\r\nContent-Length: "
            . length($body) . "\r\n\r\n$body";
    }
});
my $port = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 60)) {
        my ($token) = $request->{headers}{authorization} =~ /(token-for-\w+)/;
        open my $fh, '>>', $t->dir . '/tmp/seen' or die;
        syswrite $fh, "$token\n";
        print $socket "HTTP/1.1 204 X\r\n\r\n";
    }
});

sub conf {
    my (@ids) = @_;
    my $blocks = join "\n", map { <<"END" } @ids;
    tsface_credentials $_ {
        endpoint       http://127.0.0.1:$port/cis;
        token_endpoint http://127.0.0.1:$token_port/oidc/token;
        client_id      $_;
        client_secret  file:%%DIR%%/secrets/s;
        token_wait     3s;
        min_interval   200ms;
    }
END
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%TRAIL%%
    tsface_zone zone=tsface:84k;
$blocks
    server {
        listen 127.0.0.1:%%PORT_0%%;
        tsface_caller anonymous;
        tsface_audit  off;
        location / { tsface_pass $ids[0]; }
    }
}
END
}

my @fill = map { "f$_" } 1 .. 6;
$t->allow(qr/is full/);
$t->start(conf('victim', @fill));
is $t->revoke('u', caller => undef)->status, 204, 'the one';

my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port)
    or die;
my $body = '{"user_id":"user-1"}';
print $s "POST /v1/users/face/revoke HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    . "Content-Type: application/json\r\nContent-Length: " . length($body)
    . "\r\n\r\n" . substr $body, 0, 5;
sleep 0.5;
my ($old) = $t->workers;

# As long as SLOT_IDLE, or as short as a build has it.
$t->reload(conf('other', @fill), wait => 0);
my $sent = 5;
for (my $left = $ENV{IDLE} || 620; $left > 0; $left -= 45) {
    sleep $left < 45 ? $left : 45;
    print $s substr $body, $sent++, 1;
}
ok kill(0, $old), 'the old worker has its request';
for my $n (1 .. 5) {
    my @other = map { "other$n$_" } 1 .. 3;
    $t->reload(conf(@other, @fill[0..4]), wait => 0);
    sleep 1;
}
sleep 3;
truncate $t->dir . '/tmp/seen', 0;
print $s substr $body, $sent;
like join('', <$s>), qr/^HTTP.1.1 204/, 'answered';
unlike $t->read_file('tmp/seen'), qr/token-for-(?!victim)/,
    'no token of other credentials';

done_testing;
