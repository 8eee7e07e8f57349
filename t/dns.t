#!/usr/bin/perl
# An endpoint's name: several addresses of which some are dead, addresses that
# change, name servers that fail, are silent or come back.

use lib 't/lib';
use TSFace::Test;

plan(skip_all => 'Net::DNS is not installed') if !eval { require Net::DNS; 1 };

my $t = TSFace::Test->new(workers => 1, timeout => 150);
$t->secret('client.secret', 'the-secret-of-dns.t');
$t->hide('token-by-name');
$t->allow(qr/unexpected.*response|unknown.*response/);

# --- a name server that answers what a file says: NAME => [ttl, address...]
# or an rcode, "silent" or "garbage"

my %zone;
sub zone {
    my (%change) = @_;
    %zone = (%zone, %change);
    my $text = join '', map { "$_ $zone{$_}\n" } sort keys %zone;
    rename $t->write_file('tmp/zone.new', $text), $t->dir . '/tmp/zone';
    return;
}

sub answer_query {
    my ($query) = @_;
    my ($question) = $query->question or return;
    my ($name, $type) = ($question->qname, $question->qtype);
    my %now = map { split / /, $_, 2 } split /\n/, $t->read_file('tmp/zone');
    my ($what, @addresses) = split / /, $now{$name} || 'NXDOMAIN';
    return if $what eq 'silent';
    return "\0" x 40 if $what eq 'garbage';

    my $reply = Net::DNS::Packet->new($name, $type, 'IN');
    $reply->header->id($query->header->id);
    $reply->header->qr(1);
    if ($what =~ /\D/) {
        $reply->header->rcode($what);
        return $reply->data;
    }
    for my $address (@addresses) {
        my $is = $address =~ /:/ ? 'AAAA' : 'A';
        $reply->push(answer => Net::DNS::RR->new("$name $what IN $is $address"))
            if $is eq $type;
    }
    return $reply->data;
}

my $dns_port = TSFace::Test::free_port();
zone('move.test' => '1 127.0.0.1', 'token.test' => '1 127.0.0.1');
my $dns = fork;
if (!$dns) {
    require IO::Socket::INET;
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $dns_port, Proto => 'udp') or die "DNS: $!\n";
    $SIG{ALRM} = 'DEFAULT';
    alarm 300;
    while (defined(my $peer = $socket->recv(my $bytes, 4096))) {
        my $query = Net::DNS::Packet->new(\$bytes) or next;
        my $reply = answer_query($query);
        $socket->send($reply, 0, $peer) if defined $reply;
    }
    POSIX::_exit(0);
}
$t->{children}{$dns} = 1;

# --- the endpoint, at two addresses

my $port = TSFace::Test::free_port();
for my $address ('127.0.0.1', '127.0.0.9') {
    $t->fake_server(sub {
        my ($socket) = @_;
        while (read_request($socket, 30)) {
            print $socket "HTTP/1.1 200 OK\r\nContent-Length: "
                . length($address) . "\r\n\r\n$address";
        }
    }, tls => 'localhost', port => $port, address => $address);
}
my $token_port = $t->fake_token_server;

# --- a token endpoint at the same two: tokens of two seconds, so that there is
# an exchange each second

my $asked = $t->dir . '/tmp/asked';
my $named_port = TSFace::Test::free_port();
for my $address ('127.0.0.1', '127.0.0.9') {
    $t->fake_server(sub {
        my ($socket) = @_;
        read_request($socket, 10) or return;
        open my $fh, '>>', $asked or die "$asked: $!\n";
        syswrite $fh, "$address\n";
        my $body = '{"access_token":"token-by-name","expires_in":2}';
        print $socket "HTTP/1.1 200 OK\r\nContent-Length: " . length($body)
            . "\r\n\r\n$body";
    }, tls => 'localhost', port => $named_port, address => $address);
}
sub asked { my @all = split /\n/, $t->read_file('tmp/asked'); return @all }

my @names = qw(move dead six silent fail twin garbage);
zone(
    'dead.test' => '1 ' . join(' ', map { "127.0.0.$_" } 1, 31 .. 36),
    'six.test' => '1 127.0.0.1' . ' ::1' x 6,
    'silent.test' => 'silent', 'fail.test' => 'SERVFAIL',
    'garbage.test' => 'garbage', 'twin.test' => 'SERVFAIL',
);

my $v6 = eval {
    $t->fake_server(sub {
        my ($socket) = @_;
        while (read_request($socket, 30)) {
            print $socket "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nv6";
        }
    }, tls => 'localhost', address => '::1');
};

my $blocks = join "\n", map { <<"END" }
    tsface_credentials $_->[0] {
        endpoint        https://$_->[1]/cis;
        token_endpoint  @{[ $_->[2] || "http://127.0.0.1:$token_port" ]}/oidc/token;
        min_interval    100ms;
        client_id       x;
        client_secret   file:%%DIR%%/secrets/client.secret;
        trusted_certificate %%CERTS%%/ca.pem;
        @{[ $_->[0] eq 'v6' ? '' : 'ssl_name localhost;' ]}
        connect_timeout 3s;
        keepalive       @{[ $_->[0] =~ /dead|six/ ? 0 : 16 ]};
    }
END
    (map { [ $_, "$_.test:$port" ] } @names), [ twin2 => "twin.test:$port" ],
    [ named => "127.0.0.1:$port", "https://token.test:$named_port" ],
    ($v6 ? [ v6 => "[::1]:$v6" ] : ());

$t->start(my $conf = <<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    resolver 127.0.0.1:$dns_port;
$blocks
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   \$http_x_which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
            add_header    X-Addr \$upstream_addr always;
        }
    }
}
END

my ($worker) = $t->workers;

sub ask {
    my ($which, %o) = @_;
    return $t->revoke('u', headers => [ 'X-Which', $which ], %o);
}

# --- dead addresses

for my $which (qw(dead six)) {
    my @bad = grep { $_->status != 200 } map { ask($which) } 1 .. 10;
    is scalar @bad, 0, "$which: one address of seven answers, and is found"
        or diag map { $_->header('X-Addr') . "\n" } @bad;
}

my $answer = ask('six');
my ($outcome) = $t->records(type => qr/outcome/,
    request_id => $answer->header('X-TSFace-Request-ID'));
is $outcome->{upstream_addr}, "127.0.0.1:$port", 'the record names the one used';

# --- a literal IPv6 address, which its certificate names

SKIP: {
    skip 'no IPv6 here', 2 if !$v6;
    is ask('v6')->body, 'v6', 'IPv6 literal' for 1 .. 2;
}

# --- changes: requests and exchanges go to the new address when there is one,
# and on to the old one as long as nobody knows another

# The addresses of the next exchanges.
sub next_asked {
    my ($n) = @_;
    my $before = () = asked();
    $t->wait_for(sub { asked() >= $before + $n }, 12);
    my @all = asked();
    return @all[$before .. $#all];
}

is ask('move')->body, '127.0.0.1', 'resolved';
is ask('named')->status, 200, 'and the token endpoint';
is_deeply [ grep { $_ ne '127.0.0.1' } next_asked(2) ], [],
    'which is at its address';

zone('move.test' => '1 127.0.0.9', 'token.test' => '1 127.0.0.9');
ok $t->wait_for(sub { ask('move')->body eq '127.0.0.9' }, 20),
    'a change is followed, idle connections or not';
sleep 1.2;
is_deeply [ grep { $_ ne '127.0.0.9' } next_asked(3) ], [], 'by exchanges too';

for my $how ('SERVFAIL', 'silent', 'garbage', 'REFUSED') {
    my $n = asked();
    zone('move.test' => $how, 'token.test' => $how);
    sleep 2.6;
    is ask('move')->body, '127.0.0.9', "$how: nothing is taken away";
    my @since = (asked())[$n .. asked() - 1];
    ok @since && !grep({ $_ ne '127.0.0.9' } @since), 'exchanges go on there'
        or diag "@since";
    is ask('named')->status, 200, 'there is a token all the time';
}

zone('move.test' => 'NXDOMAIN', 'token.test' => '1 127.0.0.1');
ok $t->wait_for(sub { ask('move')->status == 502 }, 20), 'NXDOMAIN does';
zone('move.test' => '1 127.0.0.1');
ok $t->wait_for(sub { ask('move')->body eq '127.0.0.1' }, 20), 'and it comes back';
ok $t->wait_for(sub { (asked())[-1] eq '127.0.0.1' }, 20), 'and so do exchanges';

# --- name servers that fail

for my $which (qw(silent fail garbage)) {
    my $start = time();
    $answer = ask($which);
    is $answer->status, 502, "$which: 502";
    is $answer->problem, 'upstream_unreachable', 'unreachable';
    ok time() - $start < 8, 'soon';
    is_deeply [ map { $_->{type} } $t->records(request_id =>
        $answer->header('X-TSFace-Request-ID')) ], [qw(intent refusal)],
        'an intent, and that nothing came of it';
}

zone('silent.test' => '1 127.0.0.1', 'fail.test' => '1 127.0.0.1');
ok $t->wait_for(sub { ask('fail')->status == 200 }, 8), 'fail: comes back';
ok $t->wait_for(sub { ask('silent')->status == 200 }, 12), 'silent: comes back';

# --- two credentials with one name: when it comes back, the second finds the
# answer in the resolver's cache

for my $try (1 .. 2) {
    zone('twin.test' => 'NXDOMAIN');
    $t->wait_for(sub { ask('twin')->status == 502
        && ask('twin2')->status == 502 }, 8);
    zone('twin.test' => '1 127.0.0.1');
    ok $t->wait_for(sub {
        return ask($try % 2 ? 'twin' : 'twin2')->status == 200
            && ask($try % 2 ? 'twin2' : 'twin')->status == 200;
    }, 8), 'both are back';
}

# --- clients that leave while an address is looked for; reload meanwhile

my @sockets = map { my $s = connect_to($t->port); print $s
    TSFace::HTTP::build_request('POST', '/v1/users/face/revoke', headers =>
    [ 'X-Caller', 'a', 'X-Which', 'garbage' ], json => { user_id => 'u' }); $s }
    1 .. 5;
sleep 0.2;
close $_ for @sockets[0, 1];
is_deeply [ $t->workers ], [ $worker ], 'the worker lives';
$t->reload;
is ask('move')->status, 200, 'reloaded';
my @status = map { read_answer($_, time() + 5)->status } @sockets[2 .. 4];
is_deeply \@status, [ 502, 502, 502 ], 'the old worker answered first';

done_testing;
