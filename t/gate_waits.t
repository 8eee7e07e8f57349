#!/usr/bin/perl
# What the gate has let through may wait for its token, or for the disk, while
# the endpoint's state changes.  However long that takes, the endpoint sees no
# more than its rate when it is over, and nothing while it wants to be left
# alone.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $t = TSFace::Test->new(workers => 4, timeout => 180);
my $sandbox = $t->sandbox;

# The endpoint: says what came when.  A user of its own is answered 429, or 500.

my $endpoint = $t->fake_server(sub {
    my ($socket) = @_;
    open my $fh, '>>', $t->dir . '/tmp/seen' or die;
    while (my $request = read_request($socket, 60)) {
        syswrite $fh, sprintf "%.6f %s\n", time, $request->{target} || '';
        my ($status) = ($request->{headers}{authorization} || '')
            =~ /Bearer status-(\d+)/;
        $status = 401 if !$status && $request->{body} =~ /"user_id":"401/;
        print $socket !$status ? "HTTP/1.1 204 X\r\n\r\n"
            : "HTTP/1.1 $status X\r\nContent-Length: 0\r\n"
                . ($status == 429 ? "Retry-After: 10\r\n\r\n" : "\r\n");
    }
});
my $token = 'https://127.0.0.1:' . $sandbox->https_port . '/oidc/token';

my $read = 0;
sub seen {
    my $text = -e $t->dir . '/tmp/seen'
        ? substr $t->read_file('tmp/seen'), $read : '';
    $read += length $text;
    return sort { $a <=> $b } map { (split)[0] } split /\n/, $text;
}

sub conf {
    my ($more) = @_;
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    tsface_credentials sandbox {
        endpoint            http://127.0.0.1:$endpoint/cis;
        token_endpoint      $token;
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        %%CLIENT%%
        min_interval        10ms;
        token_wait          20s;
        exchange_timeout    3s;
        $more
    }
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
        location = /status { tsface_status json; }
    }
}
END
}

# A new fingerprint each time, so that there is no token.
my $secrets = 0;
sub without_token {
    my ($more) = @_;
    $sandbox->fault(kind => 'hang', path => 'token', count => 'forever');
    $t->reload(conf($more . ' resource https://r' . ++$secrets . '.example.com;'));
    seen();
    return;
}

# Requests that wait, one each 0.02 s for some time: their sockets.
sub send_off {
    my ($seconds) = @_;
    my ($end, @sockets) = time + $seconds;
    while (time < $end) {
        push @sockets, $t->send_revoke('user-1', caller => 'sent-off');
        sleep 0.02;
    }
    return @sockets;
}

sub answers { return map { read_answer($_, time + 40, 'POST') } @_ }

# The most that came within one second.
sub most {
    my (@at) = @_;
    my $most = 0;
    for my $start (@at) {
        my $n = grep { $_ >= $start && $_ < $start + 1 } @at;
        $most = $n if $n > $most;
    }
    return $most;
}

# --- the rate

$t->start(conf(''));
is $t->revoke('user-1')->status, 204, 'revoked';

without_token('rate 10r/s burst=4;');
my @sockets = send_off(4);
is scalar(() = seen()), 0, 'none is sent without a token';
$sandbox->no_faults;
my @answers = answers(@sockets);
my $count = count_answers(@answers);
my @at = seen();
cmp_ok $count->{204}, '>=', 35, "$count->{204} were let through";
is scalar @at, $count->{204}, 'and are sent';
my $most = most(@at);
cmp_ok $most, '<=', 10 + 5 + 5, "at most $most in a second";

# --- a pause

without_token('');
@sockets = send_off(1);
is $t->revoke_me('status-429')->status, 429, 'the endpoint wants a pause';
seen();
$sandbox->no_faults;
@answers = answers(@sockets);
is_deeply count_answers(@answers), { '503 endpoint_throttled' => scalar @sockets },
    'those that waited are refused';
is scalar(() = seen()), 0, 'none is sent';
$t->wait_for(sub { !$t->gate->{paused_for_ms} }, 15);

# --- an open breaker

without_token('breaker failures=3 open=30s;');
@sockets = send_off(1);
is $t->revoke_me('status-500')->status, 500, 'it fails' for 1 .. 3;
is $t->gate->{breaker}, 'open', 'the breaker is open';
seen();
$sandbox->no_faults;
@answers = answers(@sockets);
is_deeply count_answers(@answers), { '503 endpoint_unavailable' => scalar @sockets },
    'those that waited are refused';
is scalar(() = seen()), 0, 'none is sent';

# --- a second attempt

$t->reload(conf("resource https://r" . ++$secrets . '.example.com;'));
$t->wait_for(sub { $t->revoke('user-1')->status == 204 }, 10);
$sandbox->fault(kind => 'hang', path => 'token', count => 'forever');
seen();
my $socket = $t->send_revoke('401 x', caller => 'twice');
ok $t->wait_for(sub { () = seen() }, 10), 'the first is sent';
is $t->revoke_me('status-429')->status, 429, 'the endpoint wants a pause';
seen();
$sandbox->no_faults;
my ($answer) = answers($socket);
is $answer->status . ' ' . $answer->problem, '503 endpoint_throttled',
    'the second is refused';
is scalar(() = seen()), 0, 'and not sent';
my @own = grep { ($_->{request_id} || '')
    eq $answer->header('X-TSFace-Request-ID') } $t->records;
is join(', ', map { join ' ', grep { defined } @$_{qw(type attempt upstream_status
    reason)} } @own), 'intent 1, outcome 1 401, intent 2, '
    . 'refusal 2 endpoint_throttled', 'and so it is recorded';

# --- each intent has its end, and the gate has all it let through

my %open;
for my $record ($t->records) {
    $open{$record->{request_id}}++ if $record->{type} eq 'intent';
    $open{$record->{request_id}}-- if $record->{type} eq 'outcome'
        || $record->{type} eq 'refusal' && $record->{attempt};
}
is scalar(grep { $_ } values %open), 0, 'each intent is closed once';
is $t->gate->{in_flight}, 0, 'none is in flight';

done_testing;
