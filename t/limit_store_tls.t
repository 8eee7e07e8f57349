#!/usr/bin/perl
# tsface_limit_store with TLS: whom the worker believes, what it shows of
# itself, and what it says when that fails.  A module that was built with a
# hiredis without TLS must say so.

use lib 't/lib';
use TSFace::Test;
use TSFace::Store;

use Socket qw(IPPROTO_TCP TCP_CORK);

my $t = TSFace::Test->new(workers => 1, timeout => 180);
my $certs = $t->certs_dir;

$t->secret('store', "a password of the store\n");
$t->hide('a password of the store');

my ($code, $output) = $t->nginx_t(conf(
    [ only => 'server 127.0.0.1; nodes 2; ssl on; verify off;' ]));

if (!-e '/usr/include/hiredis/hiredis_ssl.h') {
    isnt $code, 0, 'built without TLS to stores';
    like $output, qr/"ssl\ on"\ of\ tsface_limit_store\ "only":\ this\ module\ was
        \ built\ without\ TLS\ to\ stores,\ which\ needs\ hiredis\ 1\.0/x,
        'and it says so';
    done_testing;
    exit;
}

is $code, 0, 'built with TLS to stores' or diag $output;

for my $bad (
    [ 'client_certificate %%CERTS%%/payments.pem;',
        qr/"only" needs both "client_certificate" and "client_cert/ ],
    [ 'client_certificate_key file:%%CERTS%%/payments.key;', qr/needs both/ ],
    [ 'client_certificate %%CERTS%%/payments.pem; client_certificate_key '
        . 'file:%%CERTS%%/support.key;', qr/is not the key of/ ],
    [ 'trusted_certificate %%DIR%%/nowhere.pem;', qr/cannot load trusted_cert/ ],
    [ 'ssl_ciphers nonsense;', qr/does not take ssl_ciphers "nonsense"/ ],
    [ 'ssl_protocols TLSv1;', qr/invalid value "TLSv1"/ ],
    [ 'server unix:/run/store;', qr/"ssl_name": "unix:\/run\/store" is no name/ ],
) {
    ($code, $output) = $t->nginx_t(conf(
        [ only => "server 127.0.0.1; nodes 2; ssl on; $bad->[0]" ]));
    isnt $code, 0, "$bad->[0]: refused";
    like $output, $bad->[1], 'and it is said why';
}

# --- real stores, each with a certificate of its own

my %port;

sub store {
    my ($name, $certificate, @args) = @_;

    $port{$name} = TSFace::Test::free_port();
    return TSFace::Store->new($t, args => [ '--tls-port', $port{$name},
        '--tls-cert-file', "$certs/$certificate.pem",
        '--tls-key-file', "$certs/$certificate.key",
        '--tls-ca-cert-file', "$certs/ca.pem", @args ]);
}

my $good = store('good', 'localhost', '--tls-auth-clients', 'no',
    '--requirepass', 'a password of the store');
$good->{password} = 'a password of the store';
store('other', 'other', '--tls-auth-clients', 'no');
store('selfsigned', 'selfsigned', '--tls-auth-clients', 'no');
store('clients', 'localhost', '--tls-auth-clients', 'yes');
my $new = store('new', 'localhost', '--tls-auth-clients', 'no',
    '--tls-protocols', 'TLSv1.3');
$port{plain} = $new->port;

# --- and some that are not

# Answers eight decisions at once, each in a TLS record of its own, all in
# one segment; if it is called by its name (SNI).
$port{records} = $t->fake_server(sub {
    my ($socket) = @_;
    my ($buffer, $owed) = ('', 0);
    return if ($socket->get_servername || '') ne 'localhost';
    for ( ;; ) {
        sysread $socket, $buffer, 65536, length $buffer or return;
        while (my $word = TSFace::Store::take_command(\$buffer)) {
            $owed++;
            next if $word eq 'EVALSHA' && $owed < 8;
            setsockopt $socket, IPPROTO_TCP, TCP_CORK, 1 or die $!;
            syswrite $socket, "*2\r\n\$1\r\n1\r\n\$1\r\n0\r\n" for 1 .. $owed;
            setsockopt $socket, IPPROTO_TCP, TCP_CORK, 0 or die $!;
            $owed = 0;
        }
    }
}, tls => 'localhost');

# More than any answer is long, in whole TLS records.
$port{flood} = $t->fake_server(sub {
    my ($socket) = @_;
    sysread $socket, my $request, 65536;
    syswrite $socket, '$900000' . "\r\n";
    1 while syswrite $socket, 'x' x 16384;
}, tls => 'localhost');

# Takes the connection, and says nothing; or what is no TLS.
$port{silent} = $t->fake_server(sub { sleep 60 });
$port{http} = $t->fake_server(sub {
    print { $_[0] } "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    sleep 60;
});

$port{nobody} = TSFace::Test::free_port();

# --- name, server, lines, and what the log says, if it can't be believed

my $ca = 'trusted_certificate %%CERTS%%/ca.pem;';
my $password = 'password file:%%DIR%%/secrets/store;';
my $client = 'client_certificate %%CERTS%%/payments.pem; '
    . 'client_certificate_key file:%%CERTS%%/payments.key;';

my @rows = (
    [ address => good => "$ca $password" ],
    [ name => good => "$ca $password ssl_name localhost;" ],
    [ later => good => "$ca $password ssl_protocols TLSv1.3;" ],
    [ earlier => good => "$ca $password ssl_protocols TLSv1.2; "
        . 'ssl_ciphers ECDHE+AESGCM;' ],
    [ named => other => "$ca ssl_name other.test;" ],
    [ pinned => selfsigned => 'trusted_certificate %%CERTS%%/selfsigned.pem;' ],
    [ unverified => selfsigned => 'verify off;' ],
    [ unnamed => other => "$ca verify off;" ],
    [ client => clients => "$ca $client" ],

    [ wrong_name => good => "$ca $password ssl_name other.test;",
        qr/hostname mismatch/i ],
    [ wrong_address => other => $ca, qr/IP address mismatch/i ],
    [ self_signed => selfsigned => $ca, qr/self-signed certificate/i ],
    [ no_ca => good => $password, qr/unable to get local issuer|self-signed/i ],
    [ no_client => clients => $ca, qr/certificate required|reset|closed/i ],
    [ too_old => new => "$ca ssl_protocols TLSv1.2;", qr/protocol version/i ],
    [ plain => plain => "$ca connect_timeout 1s;", qr/no answer in time/ ],
    [ http => http => $ca, qr/wrong version number|record/i ],
    [ flood => flood => $ca, qr/no answer of the script/ ],
    [ silent => silent => "$ca connect_timeout 300ms;", qr/no answer in time/ ],
    [ nobody => nobody => $ca, qr/Connection refused/ ],
);

my @records = ([ records => records => "$ca ssl_name localhost; timeout 5s;" ]);

# One that speaks no TLS itself, to a server that asks for it.
my @none = ([ none => good => 'ssl off;', qr/reset|closed/i ]);

sub conf {
    my $stores = join "\n", map { <<"END" } @_;
    tsface_limit_store $_->[0] {
        $_->[1]
    }
    tsface_limit_zone \$http_x_key zone=$_->[0]:1m rate=60r/h burst=59
                      store=$_->[0];
END
    my $locations = join "\n", map { "location \@$_->[0] { "
        . "tsface_pass sandbox; tsface_limit zone=$_->[0]; }" } @_;

    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%
    $stores
    tsface_caller \$http_x_caller;
    tsface_audit  trail;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        $locations
        location / {
            error_page 418 = \@\$http_x_store;
            return 418;
        }
        location = /status { tsface_status json; }
    }
}
END
}

sub block {
    my ($name, $server, $lines) = @_;
    $lines = "timeout 2s; $lines" if $lines !~ /(?<!connect_)timeout/;
    $lines = "connect_timeout 20s; $lines" if $lines !~ /connect_timeout/;
    $lines = "ssl on; $lines" if $lines !~ /ssl off/;
    return [ $name => "server 127.0.0.1:$port{$server}; prefix $name; "
        . "on_failure refuse; $lines" ];
}

$t->start(conf(map { block(@$_) } @rows, @records, @none));

sub at {
    my ($name, $key) = @_;
    return ('user-1', caller => 'a', headers => [ 'X-Store', $name,
        'X-Key', $key ]);
}

sub stores {
    return map { $_->{name} => $_ }
        @{ http($t->port, 'GET', '/status')->json->{limit_stores} };
}

$t->wait_for(sub {
    my %s = stores();
    return !grep { !$_->[3] && !$s{$_->[0]}{workers}{up} } @rows;
}, 20);
$t->wait_for(sub {
    return !grep { $_->[3] && $t->error_log !~ /store "$_->[0]" at/ } @rows, @none;
}, 20);
my %s = stores();

for (@rows, @none) {
    my ($name, undef, undef, $words) = @$_;

    if (!$words) {
        is $s{$name}{workers}{up}, 1, "$name: the store is believed";
        is $t->revoke(at($name, 'k'))->status, 204, 'and decides';
        next;
    }

    is $s{$name}{workers}{up}, 0, "$name: the store is not asked";
    is $t->revoke(at($name, 'k'))->status, 503, 'nor does it decide';
    my ($said) = $t->error_log =~ /store "$name" at \S+ failed: ([^\n;]*)/;
    like $said, $words, 'the log says why';
}

# the password was sent to none that was not believed
is scalar(grep { $_->{failures}{connect} } map { $s{$_} }
    qw(wrong_name wrong_address self_signed no_ca too_old http)), 6,
    'a handshake that fails is no connection';

%s = stores();
is $s{$_}{decisions}{allowed}, 1, "$_: the store said so"
    for qw(address name earlier later client);
unlike $t->error_log, qr/stale global SSL error/, 'no error is left behind';

# --- many questions at once

ok $t->wait_for(sub { my %s = stores(); $s{records}{workers}{up} }, 20),
    'the one with a record for each answer is up';
my @ask = map { $t->send_revoke(at('records', "key-$_")) } 1 .. 8;
is join(' ', map { read_answer($_, time() + 20)->status } @ask),
    join(' ', (204) x 8), 'all answers of one segment are read';

# --- a store that goes and comes again

my $before = () = $t->error_log =~ /store "address" at \S+ answers again/g;
$good->kill('KILL');
ok $t->wait_for(sub { my %s = stores(); !$s{address}{workers}{up} }, 20),
    'the store is gone';
is $t->revoke(at('address', 'l'))->status, 503, 'and nobody decides';
$good->start;
ok $t->wait_for(sub { my %s = stores(); $s{address}{workers}{up} }, 30),
    'the store is there again';
is $t->revoke(at('address', 'l'))->status, 204, 'and decides';

# --- reload: a new context, and connections with it

$t->reload;
ok $t->wait_for(sub { my %s = stores(); $s{address}{workers}{up}
    && $s{client}{workers}{up} }, 20), 'after a reload they are up';
is $t->revoke(at('client', 'm'))->status, 204, 'and decide';

done_testing;
