#!/usr/bin/perl
# Whatever a request waits for (its body, the trail, a token, an address, the
# first attempt, the second), the client may leave, and the worker may have to.
# Nothing is left behind: no descriptor, no waiter, no open intent.

use lib 't/lib';
use TSFace::Test;
use Fcntl qw(F_SETLK F_WRLCK F_UNLCK SEEK_SET);
use Socket qw(SOL_SOCKET SO_LINGER);

my $t = TSFace::Test->new(workers => 1);
$t->secret('client.secret', 'the-secret-of-lifetime.t');
$t->hide('token-of-lifetime');

# --- the others

my $token_port = $t->fake_server(sub {
    my ($socket, $n) = @_;
    my $request = read_request($socket, 10) or return;
    sleep 5 if $request->{line} =~ /silent/;
    my $body = qq({"access_token":"token-of-lifetime-$n","expires_in":3600});
    print $socket "HTTP/1.1 200 OK\r\nContent-Length: " . length($body)
        . "\r\n\r\n$body";
});

my $seen = $t->dir . '/tmp/seen';
my $endpoint = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 30)) {
        my ($user) = $request->{body} =~ /"user_id":"(\w+)/;
        my $id = $request->{headers}{'x-request-id'};
        my $first = $user =~ /again/ && $t->read_file('tmp/seen') !~ /$id/;
        open my $log, '>>', $seen;
        syswrite $log, "$user $id\n";
        close $log;
        sleep 0.8 if $user eq 'slow' || $user eq 'again' && !$first;
        print $socket $first ? "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
            : "HTTP/1.1 204 Done\r\n\r\n";
    }
});

# Holds the trail's lock, so that its records wait.
sub hold_trail {
    my ($code) = @_;
    open my $fh, '+<', $t->dir . '/trail/trail.jsonl' or die "trail: $!\n";
    my $lock = sub { fcntl $fh, F_SETLK,
        pack 's s x4 q q i x4', shift, SEEK_SET, 0, 1, 0 };
    $t->wait_for(sub { $lock->(F_WRLCK) }) or die "lock: $!\n";
    $code->();
    $lock->(F_UNLCK);
    close $fh;
    return;
}

my $dead_port = TSFace::Test::free_port();
my $common = "client_id x; client_secret file:%%DIR%%/secrets/client.secret;"
    . " token_wait 1s; exchange_timeout 2s; connect_timeout 1s; min_interval 10ms;";

my $conf = <<"END";
%%GLOBALS%%
worker_shutdown_timeout 500ms;
http {
    %%HTTP%%
    %%ZONE%%
    tsface_audit_trail trail {
        file %%DIR%%/trail/trail.jsonl;
        key file:%%DIR%%/secrets/audit.key;
        timeout 5s;
    }
    resolver 127.0.0.1:$dead_port;
    keepalive_timeout 0;
    tsface_credentials ok {
        endpoint http://127.0.0.1:$endpoint;
        token_endpoint http://127.0.0.1:$token_port/ok;
        keepalive 0;
        $common
    }
    tsface_credentials no_token {
        endpoint http://127.0.0.1:$endpoint;
        token_endpoint http://127.0.0.1:$token_port/silent;
        $common
    }
    tsface_credentials no_address {
        endpoint https://name.test:$endpoint;
        token_endpoint http://127.0.0.1:$token_port/ok;
        $common
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_1%% http2;
        location / {
            tsface_pass   \$http_x_which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
        location = /status { tsface_status; }
    }
}
END
$t->start($conf);

sub request {
    my ($which, $user) = @_;
    return TSFace::HTTP::build_request('POST', '/v1/users/face/revoke',
        headers => [ 'X-Caller', 'a', 'X-Which', $which ],
        json => { user_id => $user });
}

sub ok_again {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is $t->revoke('good', headers => [ 'X-Which', 'ok' ])->status, 204,
        $name;
}

# state => [ credentials, user, cut the request? , hold the trail? , seconds ]
my @states = (
    [ body => 'ok', 'good', 40 ],
    [ audit => 'ok', 'good', 0, 1 ],
    [ token => 'no_token', 'good' ],
    [ address => 'no_address', 'good' ],
    [ 'attempt 1' => 'ok', 'slow' ],
    [ 'attempt 2' => 'ok', 'again' ],
);

my @ways = (
    [ FIN => sub { close $_ for @_ } ],
    [ RST => sub {
        for (@_) {
            setsockopt $_, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
            close $_;
        }
    } ],
    [ 'half close' => sub { shutdown $_, 1 for @_; sleep 0.3 } ],
    [ 'pipelined' => sub { print $_ request('ok', 'good') x 3 for @_; sleep 0.3;
        close $_ for @_ } ],
    [ 'shutdown timeout' => sub { $t->reload } ],
);

sub fds { my ($pid) = $t->workers; return scalar(() = glob "/proc/$pid/fd/*") }

# Every intent has an outcome or a refusal, once nothing is under way.
sub closed {
    return $t->wait_for(sub {
        my %open;
        my ($records) = TSFace::Trail::read_trail(
            $t->dir . '/trail/trail.jsonl', '');
        for my $r (@$records) {
            next if !$r->{request_id};
            my $id = "$r->{request_id}/" . ($r->{attempt} || '');
            $r->{type} eq 'intent' ? $open{$id}++ : delete $open{$id};
        }
        return !%open;
    }, 15);
}

ok_again('a good one');
my $fds = fds();
my $asked = 0;

for my $way (@ways) {
    my ($how, $leave) = @$way;
    for my $state (@states) {
        my ($name, $which, $user, $cut, $hold) = @$state;
        my $refusals = () = $t->records(type => qr/refusal|outcome/);

        my $do = sub {
            my @sockets = map { connect_to($t->port) } 1 .. 3;
            my $bytes = request($which, $user);
            substr $bytes, -$cut / 4, $cut, '' if $cut;
            print $_ $bytes for @sockets;
            sleep 0.2;
            $leave->(@sockets);
            close $_ for grep { $_->opened } @sockets;
            sleep 0.1;
        };
        $hold ? hold_trail($do) : $do->();
        ok closed(), "$how, $name: no intent is left open";
    }
    ok_again("$how: a good one after all");
}

# HTTP/2 streams that are reset
for my $state (grep { !$_->[3] } @states) {
    my ($name, $which, $user) = @$state;
    $t->run(10, 'curl', '-s', '--http2-prior-knowledge', '-m', '0.3', '-H',
        'X-Caller: a', '-H', "X-Which: $which", '-H',
        'Content-Type: application/json', '-d', qq({"user_id":"$user"}),
        'http://127.0.0.1:' . $t->port(1) . '/v1/users/face/revoke');
    ok closed(), "HTTP/2, $name: no intent is left open";
}

ok_again('a good one at the end');
ok $t->wait_for(sub { fds() <= $fds }, 15), 'no descriptor is left'
    or diag "$fds before, " . fds();
my $status = http($t->port, 'GET', '/status')->json;
is_deeply [ map { $_->{waiting} } @{ $status->{credentials} } ], [ 0, 0, 0 ],
    'no waiter is left';

# Asked twice is only who was answered with 401 first.
my %times;
$times{$_}++ for split /\n/, $t->read_file('tmp/seen');
is_deeply [ grep { $times{$_} > 1 && !/^again/ } keys %times ], [],
    'nothing was sent twice';

# --- events that come level by level: a client's early bytes must not keep the
# worker busy while the endpoint thinks

SKIP: {
    local $ENV{TSFACE_TEST_EVENT} = 'poll';
    (my $conf = $conf) =~ s/(tsface_audit \s+)trail;/$1off;/;
    $conf =~ s/tsface_audit_trail.*?\}//s;    # its threads need epoll
    my ($code, $text) = $t->nginx_t($conf);
    skip 'this nginx has no "poll"', 3 if $text =~ /invalid event type/;
    $t->stop;
    $t->start($conf);
    my ($worker) = $t->workers;
    my $ticks = sub { my @f = split ' ', $t->read_file("/proc/$worker/stat");
        return $f[13] + $f[14] };
    ok_again('poll');
    my $before = $ticks->();
    my $socket = connect_to($t->port);
    print $socket request('ok', 'slow'); sleep 0.2; print $socket request('ok', 'good');
    is read_answer($socket, time() + 5)->status, 204, 'poll: a slow one';
    my $used = $ticks->() - $before;
    ok $used < 12 * $t->{slow}, "the worker slept meanwhile ($used ticks)";
}

# --- it exits while requests wait for each of these

my @sockets;
for my $state (grep { !$_->[4] } @states) {
    my $socket = connect_to($t->port);
    my $bytes = request($state->[1], $state->[2]);
    substr $bytes, -10, 10, '' if $state->[3];
    print $socket $bytes;
    push @sockets, $socket;
}
sleep 0.2;
$t->stop;
ok closed(), 'QUIT: no intent is left open';

done_testing;
