#!/usr/bin/perl
# A request may see another worker's token before its own worker is woken for
# it.  Those that wait in that worker must hear of it all the same.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $rounds = $ENV{TSFACE_TEST_LONG} ? 200 : 12;
my $t = TSFace::Test->new(workers => 2, timeout => 60 + 5 * $rounds);
my $sandbox = $t->sandbox;

# Without a trail a request comes to its token in the turn of the event loop
# in which it is read.
$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%

    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        min_interval 50ms;
        token_wait   4s;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller anonymous;
            tsface_audit  off;
            add_header    X-Pid $pid always;
        }
    }
}
END

my $request = TSFace::HTTP::build_request('POST', '/v1/users/face/revoke',
    keep => 1, json => { user_id => 'user-1' });

# Two kept connections to each worker.
my %to;
for (1 .. 100) {
    my $socket = connect_to($t->port) or die "connect: $!\n";
    my $answer = raw_http($t->port, $request, socket => $socket);
    my $sockets = $to{ $answer->header('X-Pid') || 0 } ||= [];
    push @$sockets, $socket if @$sockets < 2;
    last if 2 == grep { @$_ == 2 } values %to;
}
my ($one, $two) = keys %to;
is scalar(grep { @$_ == 2 } values %to), 2, 'connections to both workers'
    or BAIL_OUT('no worker to freeze');

my ($wrong, $slow) = (0, 0);
for my $round (1 .. $rounds) {
    sleep 0.1;
    $sandbox->revoke_tokens;
    $sandbox->fault(kind => 'delay', path => 'token', ms => 400);

    # One worker fetches; in the other a request waits and, while it is
    # frozen, another comes, and then the wake-up.
    my $exchanges = () = $sandbox->exchanges;
    syswrite $to{$one}[0], $request;
    $t->wait_for(sub { $sandbox->exchanges > $exchanges }, 5);
    syswrite $to{$two}[0], $request;
    sleep 0.2 + rand 0.1;
    kill 'STOP', $two;
    syswrite $to{$two}[1], $request;
    my @answers = read_answer($to{$one}[0], time() + 10 * $t->{slow}, 'POST');
    my $start = time();
    kill 'CONT', $two;
    push @answers, map { read_answer($_, time() + 10 * $t->{slow}, 'POST') }
        reverse @{ $to{$two} };

    $wrong += grep { $_->status != 204 } @answers;
    $slow++ if time() - $start > 4 * $t->{slow};
    ($one, $two) = ($two, $one);
}

is $wrong, 0, "$rounds times: all are answered";
is $slow, 0, 'as soon as there is a token';

done_testing;
