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
        print $socket !$status ? "HTTP/1.1 204 X\r\n\r\n"
            : "HTTP/1.1 $status X\r\nContent-Length: 0\r\n"
                . ($status == 429 ? "Retry-After: 4\r\n\r\n" : "\r\n");
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

sub gate { return http($t->port(0), 'GET', '/status')->json->{credentials}[0]{gate} }

# How often each answer came.
sub count {
    my %count;
    $count{ join ' ', grep { defined && length } $_->status, $_->problem }++
        for @_;
    return \%count;
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
        my $socket = connect_to($t->port(0)) || die;
        print $socket TSFace::HTTP::build_request('POST',
            '/v1/users/face/revoke', json => { user_id => 'user-1' },
            headers => [ 'X-Caller', 'sent-off' ]);
        $socket->flush;
        push @sockets, $socket;
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
my $count = count(@answers);
my @at = seen();
diag explain $count;
cmp_ok $count->{204}, '>=', 35, "$count->{204} were let through";
is scalar @at, $count->{204}, 'and are sent';
my $most = most(@at);
cmp_ok $most, '<=', 10 + 5 + 2, "at most $most in a second";

# --- a pause

without_token('');
@sockets = send_off(1);
is $t->revoke_me('status-429')->status, 429, 'the endpoint wants a pause';
seen();
$sandbox->no_faults;
@answers = answers(@sockets);
is_deeply count(@answers), { '503 endpoint_throttled' => scalar @sockets },
    'those that waited are refused';
is scalar(() = seen()), 0, 'none is sent';

done_testing;
