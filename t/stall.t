#!/usr/bin/perl
# A token endpoint that hangs at any byte of its answer: header, body, chunks,
# and anywhere in TLS.  Each exchange ends at its deadline, callers hear 503,
# nobody else waits, a token that is still good goes on working, and an
# endpoint that comes to itself is asked again.

use lib 't/lib';
use TSFace::Test;
use IO::Select;
use Socket qw(IPPROTO_TCP TCP_NODELAY);

use constant { DEADLINE => 2.5, PARTS => 12, TCP_INFO => 11 };

my $t = TSFace::Test->new(workers => 1);
my $sandbox = $t->sandbox;
$t->hide('token-of-the-stall-test');
$t->allow(qr/SSL_/);

my $body = '{"access_token":"token-of-the-stall-test","expires_in":3600}';
my %answer = (
    length => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        . 'Content-Length: ' . length($body) . "\r\n\r\n$body",
    chunks => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        . join('', map { sprintf "%x\r\n%s\r\n", length, $_ }
            $body =~ /(.{1,20})/g) . "0\r\n\r\n",
);
$answer{short} = $answer{length} =~ s/3600/20  /r;

# --- the server: one process, a byte of each answer at a time up to where it
# hangs, or all of one that does not.  /length/17 hangs after 17 bytes;
# /short/60 only from the second exchange on.  It is cured when a file is there.

my $cured = $t->dir . '/tmp/cured';
my $log = $t->dir . '/tmp/ended';

sub listener {
    my $port = TSFace::Test::free_port();
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $port, Listen => 1024, ReuseAddr => 1) or die "$port: $!\n";
    return ($port, $socket);
}

sub respond {
    my ($c, $times) = @_;

    $c->{in} =~ m{^POST /(\w+)/(\d+) .*\r\n\r\n}s or return;
    my ($kind, $at) = ($1, $2);
    $c->{name} = "$kind $at";
    $c->{out} = $answer{$kind};
    $c->{out} = substr $c->{out}, 0, $at
        if !-e $cured && ($kind ne 'short' || $times->{short}++);
    $c->{step} = length $c->{out} == length $answer{$kind}
        ? length $c->{out} : 1;

    return;
}

# Ports of relays to the sandbox: [ port, listener, bytes from the sandbox ].
sub serve {
    my ($plain, @relays) = @_;

    my %listener = ($plain => undef, map { $_->[1] => $_->[2] } @relays);
    my $select = IO::Select->new($plain, map { $_->[1] } @relays);
    my (%c, %times);
    open my $ended, '>>', $log or die "$log: $!\n";
    $ended->autoflush(1);
    $_->blocking(0) for $plain, map { $_->[1] } @relays;

    # A connection was made after the last look at the listeners, however late
    # this process gets its turn.
    my ($last, $now) = (time()) x 2;

    for ( ;; ) {
        my $busy = grep { length $_->{out} } values %c;
        my @ready = $select->can_read($busy ? 0.001 : 0.1);
        ($last, $now) = ($now, time());
        for my $fh (@ready) {
            if (exists $listener{$fh}) {
                while (my $socket = $fh->accept) {
                    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
                    $select->add($socket);
                    my $c = $c{$socket} = { fh => $socket, in => '', out => '',
                        name => 'none', born => $last };
                    next if $fh == $plain;

                    my $other = connect_to($sandbox->https_port) or next;
                    $select->add($other);
                    my $left = -e $cured ? 1e9 : $listener{$fh};
                    $c->{name} = "tls $left";
                    $c->{to} = $other;
                    $c{$other} = { fh => $other, in => '', out => '',
                        to => $socket, left => $left };
                }
                next;
            }

            my $c = $c{$fh} or next;
            my $n = sysread $fh, my $bytes, 16384;
            if (!$n) {
                printf $ended "%s %.2f\n", $c->{name}, time() - $c->{born}
                    if $c->{name};
                # What hangs does not tell that the sandbox is done.
                my $hangs = !$c->{name} && !$c->{left};
                for my $end ($fh, $c->{to} && !$hangs ? $c->{to} : ()) {
                    $select->remove($end);
                    delete $c{$end};
                    close $end;
                }
                next;
            }

            if (!$c->{to}) {
                $c->{in} .= $bytes;
                respond($c, \%times) if !length $c->{out} && $c->{name} eq 'none';
                next;
            }
            if (exists $c->{left}) {
                $bytes = substr $bytes, 0, $c->{left};
                $c->{left} -= length $bytes;
            }
            syswrite $c->{to}, $bytes if length $bytes && $c{ $c->{to} };
        }

        for my $c (grep { length $_->{out} } values %c) {
            syswrite $c->{fh}, substr $c->{out}, 0, $c->{step}, '';
        }
    }
}

# How many bytes the sandbox says over TLS in one exchange.
sub tls_bytes {
    my $socket = connect_to($sandbox->https_port, tls => 1);
    my $request = TSFace::HTTP::build_request('POST', '/oidc/token',
        headers => [ 'Content-Type', 'application/x-www-form-urlencoded' ],
        body => 'grant_type=client_credentials&client_id=sandbox-client'
            . '&client_secret=sandbox-secret');
    raw_http(0, $request, socket => $socket);
    # tcpi_bytes_received
    return unpack 'x128 Q', getsockopt $socket, IPPROTO_TCP, TCP_INFO;
}

my $total = tls_bytes();
cmp_ok $total, '>', 1500, "an exchange is $total bytes over TLS";

my ($port, $plain) = listener();
my @relays = map { [ listener(), int($total * $_ / PARTS) ] } 0 .. PARTS - 1;
my $server = fork;
die "fork: $!\n" if !defined $server;
if (!$server) {
    $SIG{ALRM} = 'DEFAULT';
    $SIG{PIPE} = 'IGNORE';
    alarm 120;
    serve($plain, @relays);
}
$t->{children}{$server} = 1;
close $_ for $plain, map { $_->[1] } @relays;

# --- a tsface_credentials for each byte

my %at = map { my $kind = $_;
    map { $kind . $_ => "http://127.0.0.1:$port/$kind/$_" }
        0 .. length($answer{$kind}) - 1 } qw(length chunks);
$at{"tls$_->[2]"} = "https://127.0.0.1:$_->[0]/oidc/token" for @relays;
my @hang = sort keys %at;
$at{whole} = "http://127.0.0.1:$port/length/" . length $answer{length};
$at{short} = "http://127.0.0.1:$port/short/60";

my $blocks = join '', map { <<"END" } sort keys %at;
    tsface_credentials $_ {
        endpoint         http://127.0.0.1:%%PORT_1%%/cis;
        token_endpoint   $at{$_};
        %%CLIENT%%
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        exchange_timeout 2500ms;
        token_wait       1s;
        min_interval     100ms;
        keepalive        0;
    }
END

$t->{blocks}{ZONE} = sub { 'tsface_zone zone=tsface:8m exchange_rate=1000r/s;' };
$t->{connections} = 2048;
$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
$blocks
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   \$http_x_which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
        location = /status { tsface_status; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        return 204;
    }
}
END

my ($worker) = $t->workers;
my $born = time();

sub ask {
    my ($which) = @_;
    my $start = time();
    my $answer = $t->revoke('u', headers => [ 'X-Which', $which ]);
    return ($answer->status, time() - $start);
}

# All at once: which => answer.
sub ask_all {
    my (@which) = @_;
    my %socket = map { $_ => connect_to($t->port) } @which;
    syswrite $socket{$_}, TSFace::HTTP::build_request('POST',
        '/v1/users/face/revoke', json => { user_id => 'u' },
        headers => [ 'X-Caller', 'all', 'X-Which', $_ ]) for @which;
    return map { $_ => read_answer($socket{$_}, time() + 10 * $t->{slow},
        'POST') } @which;
}

sub states {
    my $all = http($t->port, 'GET', '/status')->json->{credentials};
    return map { $_->{name} => $_ } @$all;
}

ok $t->wait_for(sub { $born = time(); (ask('short'))[0] == 204 }, 10),
    'a token of twenty seconds';

# --- they hang: 503 after token_wait, and no other waits

my $start = time();
my %got = ask_all(@hang, 'whole');
my $took = time() - $start;
is delete($got{whole})->status, 204, 'an endpoint that does not hang: 204';
is_deeply [ grep { $got{$_}->status != 503 || $got{$_}->problem ne 'no_token' }
    @hang ], [], scalar(@hang) . ' that hang at each byte: 503 no_token';
cmp_ok $took, '<', 5 * $t->{slow}, sprintf 'after %.1f s', $took;

my $slowest = 0;
for (1 .. 20) {
    my ($got, $seconds) = ask('whole');
    $slowest = 9 if $got != 204;
    $slowest = $seconds if $seconds > $slowest;
    sleep 0.05;
}
cmp_ok $slowest, '<', 4 * $t->{slow}, sprintf
    'a good one meanwhile: the slowest after %.3f s', $slowest;

# --- a token in use, whose refresh hangs: it goes on to its last second

my ($n, $bad) = (0, 0);
$slowest = 0;
while (time() < $born + 17) {
    my ($got, $seconds) = ask('short');
    $n++;
    $bad++ if $got != 204;
    $slowest = $seconds if $seconds > $slowest;
    sleep 0.05;
}
my %state = states();
is $state{short}{state}, 'refresh_failing', 'the refresh of a token hangs';
is $bad, 0, "$n revokes with it: all 204";
cmp_ok $slowest, '<', 4 * $t->{slow}, sprintf 'the slowest after %.3f s',
    $slowest;
$t->wait_for(sub { (ask('short'))[0] == 503 }, 15);
is((ask('short'))[0], 503, 'until it has run out');

# --- each was given up at its deadline and tried again

is_deeply [ map { "$_ $state{$_}{last_failure}" }
    grep { $state{$_}{last_failure} ne 'timeout' } @hang ], [],
    'all are time-outs';
my (%ended, @early);
for (split /\n/, $t->read_file('tmp/ended')) {
    my ($kind, $at, $seconds) = split ' ';
    next if "$kind$at" !~ /^(?:length|chunks|tls)\d+$/ || !$seconds
        || !$got{"$kind$at"};
    $ended{"$kind$at"}++;
    # a worker that is late counts from when its turn began; token_wait is less
    push @early, $_ if $seconds < DEADLINE - 1.2
        || $seconds > DEADLINE + 3 * $t->{slow};
}
is_deeply \@early, [], 'each connection was closed at the deadline';
is_deeply [ grep { ($ended{$_} || 0) < 2 } @hang ], [],
    'and each endpoint was asked again';
cmp_ok scalar(grep { $ended{$_} > 8 } keys %ended), '==', 0, 'but not hammered';

# --- cured

$t->write_file('tmp/cured', '');
ok $t->wait_for(sub {
    %state = states();
    return !grep { $_->{state} ne 'ready' } values %state;
}, 60), 'cured: all get their token'
    or diag map { "$_ $state{$_}{state}\n" } grep {
        $state{$_}{state} ne 'ready' } sort keys %state;
%got = ask_all(grep { !/^tls/ } @hang);
is_deeply [ grep { $got{$_}->status != 204 } keys %got ], [], 'and work';
is_deeply [ $t->workers ], [ $worker ], 'the worker lives';

my $descriptors;
$t->wait_for(sub {
    return 100 > ($descriptors = () = glob "/proc/$worker/fd/*");
}, 15);
cmp_ok $descriptors, '<', 100, "no connection is left behind: $descriptors";

done_testing;
