#!/usr/bin/perl
# Receivers that are no good: that never read, read slowly, reset or close too
# early, answer, or die with what they have read.  Nothing is taken for sent
# that wasn't, and no revoke is the slower for it.

use lib 't/lib';
use TSFace::Test;

use IO::Socket::IP;
use Socket qw(SOL_SOCKET SO_LINGER SO_RCVBUF);

my $t = TSFace::Test->new(workers => 2, timeout => 240);
my $dir = $t->dir;
my $trail = "$dir/trail/trail.jsonl";
my $port = TSFace::Test::free_port();

sub conf {
    my ($parameters) = @_;
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%

    tsface_audit_trail trail {
        file   %%DIR%%/trail/trail.jsonl;
        key    file:%%DIR%%/secrets/audit.key;
        syslog server=127.0.0.1:$port $parameters;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
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

sub status {
    return http($t->port, 'GET', '/status')->json->{trails}[0]{syslog};
}

# What a connection brought, frame by frame.  A connection that was given up
# may end in the middle of one.
sub frames {
    my ($bytes) = @_;
    my @frames;
    while ($bytes =~ /\G(\d+) /gc) {
        last if length($bytes) - pos($bytes) < $1;
        push @frames, substr $bytes, pos $bytes, $1;
        pos($bytes) += $1;
    }
    return @frames;
}

# A receiver that keeps what each connection brought in a file of its own, and
# does code->($socket, $n) instead, if there is code.
my $receivers = 0;
sub receiver {
    my ($code) = @_;
    my $first = 1e6 * ++$receivers;
    $t->fake_server(sub {
        my ($socket, $n) = @_;
        $n += $first;
        return $code->($socket, $n) if $code;
        local $/;
        my $bytes = <$socket>;
        $t->write_file("tmp/got-$n.part", $bytes);
        rename "$dir/tmp/got-$n.part", "$dir/tmp/got-$n";
    }, port => $port);
    return;
}

sub records_got {
    my @records;
    for my $file (sort { ($a =~ /(\d+)$/)[0] <=> ($b =~ /(\d+)$/)[0] }
        grep { /\d$/ } glob "$dir/tmp/got-*")
    {
        push @records, map { /\] (\{.*\})\z/s } frames($t->read_file($file));
    }
    return @records;
}

sub revokes {
    my ($n, $what) = @_;
    my $begin = time;
    my @wrong = grep { $t->revoke("user-" . (1 + $_ % 5))->status != 204 } 1 .. $n;
    ok !@wrong && time - $begin < 6 + $n / 20, "$what: revokes go on"
        or diag scalar(@wrong) . " of $n failed, " . (time - $begin) . ' s';
    return;
}

$t->start(conf('timeout=1s'));
revokes(20, 'nobody there');

# name, error, code
my @bad = (
    [ 'closes at once', qr/^(?:send|closed|gone)$/, sub { } ],
    [ 'never reads', qr/^timeout$/, sub { sleep 100 } ],
    [ 'resets', qr/^(?:send|closed|gone|connect)$/, sub {
        my ($socket) = @_;
        sysread $socket, my $buffer, 100;
        setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    } ],
    [ 'reads half and closes', qr/^(?:send|closed|gone)$/, sub {
        my ($socket) = @_;
        read $socket, my $buffer, 2000;
    } ],
    [ 'reads all and resets', qr/^(?:send|closed|gone)$/, sub {
        my ($socket) = @_;
        1 while sysread $socket, my $buffer, 65536;
        setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    } ],
    [ 'reads all and never closes', qr/^timeout$/, sub {
        my ($socket) = @_;
        1 while sysread $socket, my $buffer, 65536;
        sleep 100;
    } ],
    [ 'answers', qr/^answer$/, sub {
        my ($socket) = @_;
        print $socket "220 hello\r\n";
        1 while sysread $socket, my $buffer, 65536;
    } ],
);

for my $bad (@bad) {
    my ($name, $error, $code) = @$bad;
    my $failures = status()->{failures};
    receiver($code);
    $t->reload;         # a new sender doesn't know of failures, and of pauses
    ok $t->wait_for(sub { my $s = status();
        $s->{failures} > $failures && $s->{last_error} =~ $error }, 40),
        "$name: " . status()->{last_error};
    revokes(20, $name);
    is status()->{sent}, 0, "$name: nothing was taken";
    $t->stop_server($port);
}

# What dies with what it has read but not yet dealt with looks as if it had
# read all: the kernel ends its connections as a program would.
{
    my $failures = status()->{failures};
    my $listener = IO::Socket::IP->new(LocalAddr => '127.0.0.1',
        LocalPort => $port, Listen => 16, ReuseAddr => 1) or die "$port: $!";
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        alarm 60;
        my $socket = $listener->accept;
        my $second;
        1 while sysread $socket, my $buffer, 65536;
        kill 'KILL', $$;
    }
    close $listener;
    $t->reload;
    $t->wait_pid($pid, 60);
    ok $t->wait_for(sub { status()->{last_error} eq 'gone' }, 5),
        'dies with all that it has read: ' . status()->{last_error};
    is status()->{sent}, 0, 'nothing was taken';
}

# Slowly, but it reads: parts that can be taken in time are.
receiver(sub {
    my ($socket, $n) = @_;
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, pack 'i', 2048;
    my $bytes = '';
    while (sysread $socket, my $buffer, 512) {
        $bytes .= $buffer;
        sleep 0.05;
    }
    $t->write_file("tmp/got-$n", $bytes);
});
$t->reload;
ok $t->wait_for(sub { status()->{sent} > 20 }, 60),
    'reads slowly: it is sent in parts';
revokes(20, 'reads slowly');
$t->stop_server($port);

# And at last one that is as it should be.
receiver();
$t->reload;
my @want;
ok $t->wait_for(sub {
    my %seen;
    @want = split /\n/, $t->read_file($trail);
    my @have = grep { !$seen{$_}++ } records_got();
    return "@have" eq "@want";
}, 60), 'all of it came, in order, in whole frames' or diag scalar records_got();
ok $t->wait_for(sub { !status()->{backlog} }, 20), 'no backlog';

# A worker that is told to leave doesn't wait for a receiver that never reads.
$t->stop_server($port);
receiver(sub { sleep 100 });
revokes(5, 'never reads');
ok $t->wait_for(sub { my ($n) = status()->{failures}; $n }, 5);
my $begin = time;
$t->reload(conf('timeout=60s'));
cmp_ok time - $begin, '<', 12, 'reload: old workers leave';
revokes(5, 'after it');
sleep 2;
$begin = time;
$t->reload(conf('timeout=60s'));
cmp_ok time - $begin, '<', 12, 'reload during a delivery: old workers leave';
ok $t->wait_for(sub { status()->{sender} }, 10), 'and a new one sends';
$begin = time;
$t->stop;
cmp_ok time - $begin, '<', 8, 'stop during a delivery';

# --- configurations

my ($name) = 'syslog';
for my $case (
    [ '', qr/invalid number of arguments in "syslog"/ ],
    [ 'facility=user', qr/"syslog" directive needs "server=/ ],
    [ 'server=127.0.0.1', qr/must have a port/ ],
    [ 'server=127.0.0.1:0', qr/invalid port/ ],
    [ 'server=127.0.0.1:514/x', qr/invalid host/ ],
    [ 'server=', qr/no host|invalid host/ ],
    [ 'server=unix:', qr/no path/ ],
    [ 'server=no.such.host.invalid:514', qr/host not found/ ],
    [ 'server=127.0.0.1:514 facility=local8', qr/facility=local8.*no such name/ ],
    [ 'server=127.0.0.1:514 severity=', qr/severity=.*no such name/ ],
    [ 'server=127.0.0.1:514 app_name=', qr/app_name=.*1 to 48/ ],
    [ 'server=127.0.0.1:514 app_name=' . 'x' x 49, qr/1 to 48/ ],
    [ 'server=127.0.0.1:514 "app_name=a b"', qr/visible ASCII/ ],
    [ 'server=127.0.0.1:514 enterprise=0', qr/enterprise number/ ],
    [ 'server=127.0.0.1:514 enterprise=x', qr/enterprise number/ ],
    [ 'server=127.0.0.1:514 timeout=0', qr/between 1ms and 1h/ ],
    [ 'server=127.0.0.1:514 timeout=x', qr/a time is expected/ ],
    [ 'server=127.0.0.1:514 server=[::1]:514', qr/duplicate parameter/ ],
    [ 'server=127.0.0.1:514 port=1', qr/unknown parameter "port=1"/ ],
    [ 'server=127.0.0.1:514; syslog server=127.0.0.1:1', qr/is duplicate/ ],
) {
    my ($parameters, $message) = @$case;
    my $conf = conf('') =~ s/syslog server=\S+ ;/syslog $parameters;/r;
    my ($code, $output) = $t->nginx_t($conf);
    ok $code && $output =~ /\[emerg\].*$message/, "syslog $parameters"
        or diag $output;
}
for my $server ('[::1]:514', 'unix:/nowhere/socket', 'localhost:601') {
    my $conf = conf('') =~ s/syslog server=\S+ ;/syslog server=$server;/r;
    my ($code, $output) = $t->nginx_t($conf);
    is $code, 0, "syslog server=$server" or diag $output;
}
$t->write_file("trail/trail.jsonl.sent", "not mine\n");
my ($code, $output) = $t->nginx_t(conf(''));
ok $code && $output =~ /trail.jsonl.sent".*is not a trail's file/,
    'a PATH.sent that is something else';

done_testing;
