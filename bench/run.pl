#!/usr/bin/perl
# See run.sh.  Everything runs at once, one wrk at a time; the variants take
# turns, so that whatever the machine does meets all of them alike.

use lib 't/lib';
use TSFace::Test;
use TSFace::Bench;

my $rounds = $ENV{ROUNDS} || 3;
my $duration = $ENV{DURATION} || 3;
my @connections = split ' ', $ENV{CONNECTIONS} || '32';
my @variants = split ' ', $ENV{VARIANTS} || 'a b c cw d';
my @transports = split ' ', $ENV{TRANSPORTS} || 'plain tls';
my $callgrind = exists $ENV{CALLGRIND} ? $ENV{CALLGRIND} : 1;

my %title = (
    a  => '(a) proxy_pass, fixed bearer',
    b  => '(b) gateway, audit and limit off',
    c  => '(c) gateway, audit fdatasync, limit',
    cw => '(c) gateway, audit write, limit',
    d  => '(d) Lua, audit write, limit',
);
my $bench = "$TSFace::Test::ROOT/bench";
my $script = "$bench/lua/post.lua";

# As long as Transmit's JWTs are.
my $token = join '', map { ('A' .. 'Z', 'a' .. 'z', 0 .. 9)[rand 62] } 1 .. 800;

$| = 1;
my $tty = -t STDOUT;
my $limit = 120 + @variants * @transports
    * (@connections * $rounds * ($duration + 5) + 90);

my $upstream = instance('upstream');
$upstream->start(text('upstream'));

my %gateway;
for my $transport (@transports) {
    for my $variant (@variants) {
        my $t = instance($variant, $transport);
        $t->start(text($variant));
        $gateway{"$transport $variant"} = $t;
        check($t);
    }
}

my %got;
for my $round (1 .. $rounds) {
    for my $transport (@transports) {
        for my $variant (@variants) {
            print "\r\e[K" . "round $round/$rounds, $transport $variant" if $tty;
            push @{ $got{"$transport $variant $_"} },
                measure($gateway{"$transport $variant"}, $duration, $_, $script)
                for @connections;
        }
        push @variants, shift @variants;
    }
}
print "\r\e[K" if $tty;
@variants = sort @variants;

for my $transport (@transports) {
    table($transport, $_) for @connections;
}
instructions() if $callgrind;
exit 0;


sub instance {
    my ($variant, $transport) = @_;

    my $tls = ($transport || '') eq 'tls';
    my $t = TSFace::Test->new(workers => 1, log_level => 'error',
        timeout => $limit, blocks => {
            TOKEN      => sub { $token },
            BENCH      => sub { $bench },
            SCHEME     => sub { $tls ? 'https' : 'http' },
            UPSTREAM   => sub { $upstream->port($tls ? 1 : 0) },
            DURABILITY => sub { $variant eq 'cw' ? 'write' : 'fdatasync' },
        });
    $t->secret('client.secret', 'secret-of-the-bench');
    $t->{module} = 'static' if $variant =~ /^(?:upstream|a|d)$/;

    return $t;
}


sub text {
    my ($variant) = @_;
    $variant = 'c' if $variant eq 'cw';
    return $upstream->read_file("$bench/$variant.conf");
}


sub check {
    my ($t) = @_;

    my $answer;
    for (1 .. 20) {
        $answer = $t->revoke('user-1');
        return if $answer->status == 204;
        sleep 0.2;
    }
    die "$0: answers $answer->{status} $answer->{error} $answer->{body}\n"
        . $t->error_log_tail . "\n";
}


sub table {
    my ($transport, $connections) = @_;

    print "\nUpstream over " . ($transport eq 'tls' ? 'TLS' : 'plain HTTP')
        . ", $connections connection" . ($connections > 1 ? 's' : '')
        . ", one worker, medians of $rounds rounds of $duration s\n\n";
    printf "%-37s %8s %6s %8s %8s %9s %6s %6s\n", '', 'req/s', 'to (a)',
        'p50 ms', 'p99 ms', 'CPU us/r', 'to (a)', 'errors';

    my $base;
    for my $variant (@variants) {
        my $all = $got{"$transport $variant $connections"} or next;
        my %m = medians(@$all);
        $base = {%m} if $variant eq 'a';
        my @to = $base ? map({ sprintf '%.2f', $m{$_} / $base->{$_} }
            qw(rate cpu)) : ('', '');
        printf "%-37s %8.0f %6s %8.2f %8.2f %9.1f %6s %6d\n",
            $title{$variant}, $m{rate}, $to[0], $m{p50} / 1000,
            $m{p99} / 1000, $m{cpu}, $to[1], $m{errors};
    }
    return;
}


# Instructions of one request, counted: the difference between a run of many
# and a run of few, so that start and stop do not count.

sub instructions {
    print "\nInstructions a request (callgrind, plain HTTP, one process)\n\n";

    my $base;
    for my $variant (grep { $_ ne 'd' } @variants) {
        my ($few, $many) = (300, 1300);
        my $ir = (count($variant, $many) - count($variant, $few))
            / ($many - $few);
        $base = $ir if $variant eq 'a';
        printf "%-37s %8.0f %6s\n", $title{$variant}, $ir,
            $base ? sprintf('%.2f', $ir / $base) : '';
    }
    return;
}


sub count {
    my ($variant, $requests) = @_;

    print "\r\e[Kcounting $variant, $requests requests" if $tty;

    my $t = instance($variant, 'plain');
    my $conf = text($variant) =~ s/%%GLOBALS%%/%%GLOBALS%%\nmaster_process off;/r;
    $conf = $t->expand($conf);
    $conf =~ s/^user [^;]*;//m;
    $t->write_file('conf/nginx.conf', $conf);

    my $out = $t->dir . '/tmp/callgrind';
    my $pid = $t->spawn($t->dir . '/logs/output', 'valgrind',
        '--tool=callgrind', "--callgrind-out-file=$out", '-q', $t->command);
    $t->wait_for(sub { $t->read_file('nginx.pid') =~ /\d/ }, 60)
        or die "valgrind nginx did not start: " . $t->read_file('logs/output');

    my $socket;
    my $done = 0;
    while ($done < $requests) {
        $socket ||= connect_to($t->port(0)) or die "connect: $!\n";
        my $answer = $t->revoke('user-' . $done % 1000, socket => $socket,
            keep => 1, timeout => 30);
        die "answer $answer->{status} $answer->{error}\n"
            if $answer->status != 204;
        $done++;
    }
    close $socket;
    $t->{answers} = [];

    # A single process may miss a signal that comes just before epoll_wait().
    my $stopped;
    for (1 .. 60) {
        kill 'QUIT', $pid;
        last if $stopped = defined $t->wait_pid($pid, 1);
    }
    $stopped or die "valgrind nginx does not stop\n";
    my ($total) = $t->read_file($out) =~ /^(?:summary|totals): (\d+)/m
        or die "no total in $out\n";
    print "\r\e[K" if $tty;

    return $total;
}
