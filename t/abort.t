#!/usr/bin/perl
# Clients that hang up, at every moment: what was begun is finished and
# recorded, what was not begun is not.

use lib 't/lib';
use TSFace::Test;
use Fcntl qw(F_SETLK F_WRLCK F_UNLCK SEEK_SET);
use Socket qw(SOL_SOCKET SO_LINGER);

my $t = TSFace::Test->new(workers => 1);
my $sandbox = $t->sandbox;
my $https = $sandbox->https_port;

# A name server that answers when the test has it answer.
my $dns = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'udp',
    LocalPort => TSFace::Test::free_port()) or die "DNS: $!\n";
my $dns_port = $dns->sockport;

$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    resolver 127.0.0.1:$dns_port ipv6=off;

    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        min_interval 100ms;
    }

    tsface_credentials named {
        endpoint            https://endpoint.test:$https/cis;
        token_endpoint      https://127.0.0.1:$https/oidc/token;
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        %%CLIENT%%
        connect_timeout     10s;
    }

    map \$http_x_which \$which {
        default sandbox;
        named   named;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_1%% http2;
        location / {
            tsface_pass   \$which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

my ($worker) = $t->workers;

sub request {
    my ($user, @headers) = @_;
    return TSFace::HTTP::build_request('POST', '/v1/users/face/revoke',
        headers => [ 'X-Caller', 'a', @headers ], json => { user_id => $user });
}

# Sends, waits, and hangs up with FIN or RST.
sub hang_up {
    my ($bytes, $wait, $reset) = @_;
    my $socket = connect_to($t->port) or die "connect: $!\n";
    print $socket $bytes;
    sleep $wait;
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $reset;
    close $socket;
    return;
}

# Starts the wait, has a client hang up within it, by FIN and by RST, ends the
# wait: the request is done all the same, and recorded.
sub survives {
    my ($wait, %o) = @_;

    for my $reset (0, 1) {
        my $how = "$wait, " . ($reset ? 'RST' : 'FIN');
        my $outcomes = () = $t->records(type => qr/outcome/);
        my $seen = () = $sandbox->revokes;
        $o{begin}->() if $o{begin};
        hang_up(request('user-2', @{ $o{headers} || [] }), 0.3, $reset);
        sleep 0.2;
        is scalar(() = $t->records(type => qr/outcome/)), $outcomes,
            "$how: it has waited";
        $o{end}->() if $o{end};
        $t->wait_records($outcomes + 1, type => qr/outcome/);
        my @outcomes = $t->records(type => qr/outcome/);
        is scalar @outcomes, $outcomes + 1, 'the outcome is recorded';
        is $outcomes[-1]{result}, 'success', 'as what it was';
        is scalar(() = $sandbox->revokes), $seen + 1, 'and seen once';
    }
    return;
}

# --- while the name of the endpoint is looked up: a name that nobody has
# asked for yet is known once it is, so the first one comes first

sub answer_dns {
    require Net::DNS;
    my $peer = recv $dns, my $bytes, 4096, 0;
    my $query = Net::DNS::Packet->new(\$bytes) or die "DNS: no query\n";
    my ($question) = $query->question;
    my $reply = $query->reply;
    $reply->header->rcode('NOERROR');
    $reply->push(answer => Net::DNS::RR->new($question->qname
        . ' 1 IN A 127.0.0.1'));
    send $dns, $reply->data, 0, $peer;
    return;
}

my $seen = () = $sandbox->revokes;
my @sockets;
for my $reset (0, 1) {
    my $socket = connect_to($t->port) or die "connect: $!\n";
    print $socket request('user-2', 'X-Which', 'named');
    push @sockets, [ $socket, $reset ];
}
$t->wait_records(2, type => qr/intent/);
sleep 0.2;
for my $pair (@sockets) {
    my ($socket, $reset) = @$pair;
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $reset;
    close $socket;
}
@sockets = ();
sleep 0.2;
is scalar(() = $sandbox->revokes), $seen, 'address, FIN and RST: have waited';
answer_dns();
$t->wait_records(2, type => qr/outcome/);
is_deeply [ map { $_->{result} } $t->records(type => qr/outcome/) ],
    [ ('success') x 2 ], 'and are done, and recorded';
is scalar(() = $sandbox->revokes), $seen + 2, 'and seen';

is $t->revoke('user-1')->status, 204, 'a good one, for the token';

# --- while the endpoint thinks

survives('attempt', begin => sub {
    $sandbox->fault(kind => 'delay', path => 'revoke', ms => 3000);
});

# --- while another token is fetched: for a replay, and for a first attempt

for my $reset (0, 1) {
    my $how = $reset ? 'RST' : 'FIN';
    sleep 0.2;
    $sandbox->fault(kind => 'delay', path => 'token', ms => 4000);
    my $exchanges = () = $sandbox->exchanges;
    my $outcomes = () = $t->records(type => qr/outcome/);
    my $seen = () = $sandbox->revokes;
    $sandbox->revoke_tokens;

    hang_up(request('user-2'), 0.4, $reset);
    is scalar(() = $sandbox->exchanges), $exchanges + 1, "token, $how: waits";
    hang_up(request('user-3'), 0.2, $reset);
    is scalar(() = $sandbox->revokes), $seen + 1, 'and another';

    $t->wait_records($outcomes + 3, type => qr/outcome/);
    my @outcomes = $t->records(type => qr/outcome/);
    is_deeply [ sort map { "$_->{attempt} $_->{result}" }
        @outcomes[$outcomes .. $#outcomes] ],
        [ '1 denied', '1 success', '2 success' ], 'both are done and recorded';
    is scalar(() = $sandbox->revokes), $seen + 3, 'and seen';
}

# --- while the disk is slow: somebody else has the trail's lock

{
    my $lock;
    my $set = sub {
        my ($type) = @_;
        fcntl $lock, F_SETLK, pack 's s l! l! i', $type, SEEK_SET, 0, 1, 0
            or die "lock: $!\n";
    };
    survives('audit', begin => sub {
        open $lock, '+<', $t->dir . '/trail/trail.jsonl' or die "trail: $!\n";
        $t->wait_for(sub { eval { $set->(F_WRLCK); 1 } }, 5);
    }, end => sub { close $lock });
}

# --- within the body: refused, as nothing was begun

for my $reset (0, 1) {
    my $how = $reset ? 'RST' : 'FIN';
    my $seen = () = $sandbox->revokes;
    my $intents = () = $t->records(type => qr/intent/);
    my $refusals = () = $t->records(type => qr/refusal/);
    my $bytes = request('user-2');
    hang_up(substr($bytes, 0, length($bytes) - 3), 0.2, $reset);
    $t->wait_records($refusals + 1, type => qr/refusal/);
    my @refusals = $t->records(type => qr/refusal/);
    is scalar @refusals, $refusals + 1, "body, $how: a refusal";
    is $refusals[-1]{reason}, 'client_closed', 'client_closed';
    is scalar(() = $t->records(type => qr/intent/)), $intents, 'no intent';
    is scalar(() = $sandbox->revokes), $seen, 'and nothing is forwarded';
}

# --- HTTP/2: the stream is reset while the endpoint thinks

my $outcomes = () = $t->records(type => qr/outcome/);
$sandbox->fault(kind => 'delay', path => 'revoke', ms => 1000);
$t->run(10, 'curl', '-s', '--http2-prior-knowledge', '-m', '0.4', '-H',
    'X-Caller: h2', '-H', 'Content-Type: application/json', '-d',
    '{"user_id":"user-3"}', 'http://127.0.0.1:' . $t->port(1)
    . '/v1/users/face/revoke');
$t->wait_records($outcomes + 1, type => qr/outcome/);
my @outcomes = $t->records(type => qr/outcome/);
is scalar @outcomes, $outcomes + 1, 'HTTP/2: the outcome is recorded';
is $outcomes[-1]{result}, 'success', 'as what it was';

# --- at any moment

my $bytes = request('user-4');
for my $n (1 .. 60) {
    my $whole = $n % 3;
    hang_up($whole ? $bytes : substr($bytes, 0, 5 * $n), $n % 7 / 1000, $n % 2);
}

# Each intent gets its outcome, each revoke had its intent.
my $done = $t->wait_for(sub {
    my %open;
    for my $r ($t->records) {
        next if !$r->{request_id};
        $open{"$r->{request_id}/$r->{attempt}"}++ if $r->{type} eq 'intent';
        delete $open{"$r->{request_id}/$r->{attempt}"} if $r->{type} eq 'outcome';
    }
    return !%open;
}, 10);
ok $done, 'each intent has its outcome';

my %intent = map { $_->{request_id} => 1 } $t->records(type => qr/intent/);
is scalar(grep { !$intent{$_->{headers}{'x-request-id'} || ''} }
    $sandbox->revokes), 0, 'no revoke without its intent';

is $t->revoke('user-1')->status, 204, 'the gateway goes on';
is_deeply [ $t->workers ], [ $worker ], 'in the same worker';

done_testing;
