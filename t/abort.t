#!/usr/bin/perl
# Clients that hang up, at every moment: what was begun is finished and
# recorded, what was not begun is not.

use lib 't/lib';
use TSFace::Test;
use Socket qw(SOL_SOCKET SO_LINGER);

my $t = TSFace::Test->new(workers => 1);
my $sandbox = $t->sandbox;

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_1%% http2;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

my ($worker) = $t->workers;

sub request {
    my ($user) = @_;
    return TSFace::HTTP::build_request('POST', '/v1/users/face/revoke',
        headers => [ 'X-Caller', 'a' ], json => { user_id => $user });
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

is $t->revoke('user-1')->status, 204, 'a good one, for the token';

# --- while the endpoint thinks

for my $reset (0, 1) {
    my $how = $reset ? 'RST' : 'FIN';
    my $outcomes = () = $t->records(type => qr/outcome/);
    $sandbox->fault(kind => 'delay', path => 'revoke', ms => 500);
    hang_up(request('user-2'), 0.2, $reset);
    $t->wait_records($outcomes + 1, type => qr/outcome/);
    my @outcomes = $t->records(type => qr/outcome/);
    is scalar @outcomes, $outcomes + 1, "$how: the outcome is recorded";
    is $outcomes[-1]{result}, 'success', 'as what it was';
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
my $seen = () = $sandbox->revokes;
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
