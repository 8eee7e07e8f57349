#!/usr/bin/perl
# An endpoint's name: several addresses of which some are dead, addresses that
# change, name servers that fail, are silent or come back.

use lib 't/lib';
use TSFace::Test;

plan(skip_all => 'Net::DNS is not installed') if !eval { require Net::DNS; 1 };

my $t = TSFace::Test->new(workers => 1);
$t->secret('client.secret', 'the-secret-of-dns.t');
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
zone('move.test' => '1 127.0.0.1');
my $dns = fork;
if (!$dns) {
    require IO::Socket::INET;
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $dns_port, Proto => 'udp') or die "DNS: $!\n";
    $SIG{ALRM} = 'DEFAULT';
    alarm 120;
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
        token_endpoint  http://127.0.0.1:$token_port/oidc/token;
        client_id       x;
        client_secret   file:%%DIR%%/secrets/client.secret;
        trusted_certificate %%CERTS%%/ca.pem;
        @{[ $_->[0] eq 'v6' ? '' : 'ssl_name localhost;' ]}
        connect_timeout 1s;
        keepalive       @{[ $_->[0] =~ /dead|six/ ? 0 : 16 ]};
    }
END
    (map { [ $_, "$_.test:$port" ] } @names), [ twin2 => "twin.test:$port" ],
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

# --- changes

is ask('move')->body, '127.0.0.1', 'resolved';
zone('move.test' => '1 127.0.0.9');
ok $t->wait_for(sub { ask('move')->body eq '127.0.0.9' }, 6),
    'a change is followed, idle connections or not';
zone('move.test' => 'SERVFAIL');
sleep 2.2;
is ask('move')->body, '127.0.0.9', 'a failing name server takes nothing away';
zone('move.test' => 'NXDOMAIN');
ok $t->wait_for(sub { ask('move')->status == 502 }, 6), 'NXDOMAIN does';
zone('move.test' => '1 127.0.0.1');
ok $t->wait_for(sub { ask('move')->body eq '127.0.0.1' }, 6), 'and it comes back';

# --- name servers that fail

for my $which (qw(silent fail garbage)) {
    my $start = time();
    $answer = ask($which);
    is $answer->status, 502, "$which: 502";
    is $answer->problem, 'upstream_unreachable', 'unreachable';
    ok time() - $start < 2, 'soon';
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
