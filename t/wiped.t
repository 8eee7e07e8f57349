#!/usr/bin/perl
# Tokens and secrets that were replaced are wiped: the workers' memory, the
# zone in it, is searched for them.

use lib 't/lib';
use TSFace::Test;

plan(skip_all => 'sanitizers and valgrind keep what was freed')
    if $ENV{TSFACE_SANITIZE} || $ENV{TSFACE_TEST_VALGRIND};

my $t = TSFace::Test->new(workers => 2, timeout => 400);
my $sandbox = $t->sandbox;
my $n = 0;

# Tokens of our own, so that they are known: mark-00001-....
my $token_port = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 30)) {
        my ($secret) = $request->{body} =~ /client_secret=([\w-]+)/;
        my $n = 1 + ($t->read_file('tmp/n') || 0);
        $t->write_file('tmp/n', $n);
        my $mark = token($n);
        my $body = qq({"access_token":"$mark","token_type":"Bearer",)
            . qq("expires_in":3600});
        print $socket "HTTP/1.1 200 OK\r\nContent-Length: " . length($body)
            . "\r\n\r\n$body";
    }
}, tls => 'localhost');
sub token { sprintf 'mark-%05d-%s', $_[0], 'T' x 600 }

# Refuses the token once when it is told to.
my $port = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 30)) {
        my $refuse = $t->read_file('tmp/refuse') || '';
        my $bearer = $request->{headers}{authorization};
        my $answer = $refuse && $bearer =~ /\Q$refuse\E/
            ? "401 X\r\nContent-Length: 0\r\n" : "204 X\r\n";
        print $socket "HTTP/1.1 $answer\r\n";
    }
}, tls => 'localhost');

$t->secret('rotated', "secret-mark-one\n", 0640);
$t->hide('secret-mark-one', 'secret-mark-two', 'mark-0000');
$t->write_file('tmp/n', 0);
$t->write_file('tmp/refuse', '');

# Keys of which OpenSSL makes what it needs: their text is needed no more.
for my $key ([ plain => () ], [ locked => qw(-aes256 -pass pass:pass-mark-x) ]) {
    my ($name, @cipher) = @$key;
    my $file = $t->dir . "/secrets/$name.key";
    my ($code, $output) = $t->run(30, qw(openssl genpkey -algorithm RSA
        -pkeyopt rsa_keygen_bits:2048), @cipher, '-out', "$file.new");
    die $output if $code;
    $t->secret("$name.key", $t->read_file("$file.new"));
}
$t->secret('password', "pass-mark-x\n");
my $line = (split /\n/, $t->read_file('secrets/plain.key'))[5];
my $locked_line = (split /\n/, $t->read_file('secrets/locked.key'))[5];

my $with_key = join "\n", map { <<"END" } 'plain', 'locked';
    tsface_credentials $_ {
        endpoint            https://127.0.0.1:$port/cis;
        token_endpoint      https://127.0.0.1:$token_port/oidc/token;
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        client_id           $_;
        token_auth_method   private_key_jwt;
        client_key          file:%%DIR%%/secrets/$_.key;
        %%PASSWORD%%
    }
END
$with_key =~ s/%%PASSWORD%%//;
$with_key =~ s{%%PASSWORD%%}
    {client_key_password file:%%DIR%%/secrets/password;};

my $conf = <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    tsface_credentials c {
        endpoint            https://127.0.0.1:$port/cis;
        token_endpoint      https://127.0.0.1:$token_port/oidc/token;
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        client_id           %%ID%%;
        client_secret       file:%%DIR%%/secrets/rotated;
        min_interval        100ms;
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

# How many of the workers have the text anywhere in memory they can write to.
sub found {
    my ($text) = @_;

    no warnings 'portable';
    my $found = 0;
    for my $pid ($t->workers) {
        open my $mem, '<:raw', "/proc/$pid/mem" or die "/proc/$pid/mem: $!";
        my $here = 0;
        for (split /\n/, $t->read_file("/proc/$pid/maps")) {
            my ($from, $to) = /^([0-9a-f]+)-([0-9a-f]+) rw/ or next;
            ($from, $to) = (hex $from, hex $to);
            sysseek $mem, $from, 0 or next;
            my $buf = '';
            while (length $buf < $to - $from) {
                sysread($mem, $buf, $to - $from - length $buf, length $buf)
                    or last;
            }
            while ($buf =~ /(.{0,40})\Q$text\E/sg) {
                $here++;
                diag sprintf '%s in %s, after "%s"', $text, $_,
                    $1 =~ s/[^ -~]/./gr if $ENV{TSFACE_TEST_WIPED};
            }
        }
        $found++ if $here;
    }
    return $found;
}

(my $first = $conf) =~ s/%%ID%%/client-one/;
$t->start($first);
is $t->revoke('u')->status, 204, 'revoked' for 1 .. 6;
cmp_ok found('mark-00001-'), '>=', 1, 'the token in use is found: the search works';
cmp_ok found('secret-mark-one'), '>=', 1, 'so is the secret';

# --- and not in core dumps: flag "dd" of its memory

for my $pid ($t->workers) {
    my @shared = grep { m{^[0-9a-f]+-[0-9a-f]+ rw-s .*/dev/zero}m
        && /^Size:\s+1024 kB/m } split /(?=^[0-9a-f]+-[0-9a-f]+ )/m,
        $t->read_file("/proc/$pid/smaps");
    is scalar(grep { !/^VmFlags:.*\bdd\b/m } @shared), 0,
        'the zone is kept out of core dumps';
    ok @shared, 'it was looked at';
}

# --- a token is replaced

$t->write_file('tmp/refuse', 'mark-00001-');
sleep 0.3;
is $t->revoke('u')->status, 204, 'the token is refused, and replaced';
$t->write_file('tmp/refuse', '');
is $t->revoke('u')->status, 204, 'revoked' for 1 .. 6;
sleep 0.5;
is found('mark-00001-'), 0, 'the old token is nowhere';
cmp_ok found('mark-00002-'), '>=', 1, 'the new one is there';

# --- a secret is replaced

$t->secret('rotated', "secret-mark-two\n", 0640);
for my $old (2 .. 6) {
    $t->write_file('tmp/refuse', "mark-0000$old-");
    sleep 0.3;
    is $t->revoke('u')->status, 204, 'another token';
}
cmp_ok found('secret-mark-two'), '>=', 1, 'the new secret is there';
$t->wait_for(sub { !found('secret-mark-one') }, 5);
is found('secret-mark-one'), 0, 'the old one is in no worker';

# --- other credentials: three minutes, as their workers may still leave

if ($ENV{TSFACE_TEST_LONG}) {
    my $now = sprintf 'mark-%05d-', $t->read_file('tmp/n');
    (my $second = $conf) =~ s/%%ID%%/client-two/;
    $t->reload($second);
    for my $i (1 .. 120) {
        is $t->revoke('u')->status, 204, "revoked" if $i % 20 == 0;
        last if !found($now);
        sleep 3;
    }
    is found($now), 0, 'the token of the old credentials is nowhere';
}

# --- keys

{
    (my $third = $conf) =~ s/%%ID%%/client-one/;
    $third =~ s/(?=    server \{)/$with_key/;
    $t->stop;
    $t->start($third);
    is $t->revoke('u')->status, 204, 'started with keys';
    is found($line), 0, 'the text of a key is nowhere';
    is found($locked_line), 0, 'nor that of an encrypted one';
    is found('pass-mark-x'), 0, 'nor its password';
}

# --- an answer that is malformed behind its token

{
    my $broken = $t->fake_server(sub {
        my ($socket) = @_;
        read_request($socket, 30) or return;
        my $body = '{"access_token":"broken-mark-' . 'T' x 600 . '"}';
        print $socket "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            . sprintf("%x\r\n%s\r\n", length $body, $body) . "zz\r\n";
    }, tls => 'localhost');
    (my $fourth = $conf) =~ s/%%ID%%/client-four/;
    $fourth =~ s/:$token_port/:$broken/;
    $t->stop;
    $t->start($fourth);
    is $t->revoke('u')->status, 503, 'a broken answer';
    like $t->error_log, qr/exchange for credentials "c" failed/, 'it was read';
    is found('broken-mark-TTT'), 0, 'its token is nowhere';
}

done_testing;
