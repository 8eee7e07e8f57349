#!/usr/bin/perl
# A breaker opens after failures in a row, lets one request at a time try
# again, in all workers together, and closes when that is answered: whatever
# dies meanwhile.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $t = TSFace::Test->new(workers => 4, timeout => 240);
my $sandbox = $t->sandbox;
$t->allow(qr/exited on signal 9/);

# An endpoint that can be gone, may hang, and writes down what it sees.  Its
# state is in a file, as each connection is a process of its own: a status,
# "hang", or "slow" (204 after three seconds).
my $endpoint = TSFace::Test::free_port();

sub endpoint {
    my ($state) = @_;
    rename $t->write_file('tmp/state.new', $state), $t->dir . '/tmp/state';
    return;
}

sub serve {
    $t->fake_server(sub {
        my ($socket) = @_;
        while (read_request($socket, 30)) {
            my $state = $t->read_file('tmp/state');
            open my $fh, '>>', $t->dir . '/tmp/seen' or die;
            syswrite $fh, time . "\n";
            sleep 60 if $state eq 'hang';
            sleep 3 if $state eq 'slow';
            my $status = $state =~ /^(\d+)/ ? $1 : 204;
            print $socket "HTTP/1.1 $status X\r\n",
                $status == 204 ? "\r\n" : "Content-Length: 0\r\n\r\n";
        }
    }, port => $endpoint);
    return;
}

sub seen { return scalar(() = $t->read_file('tmp/seen') =~ /\n/g) }

my $token = 'https://127.0.0.1:' . $sandbox->https_port . '/oidc/token';

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
        connect_timeout     1s;
        read_timeout        20s;
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
        location = /metrics { tsface_status prometheus; }
        location = /ready { tsface_ready; }
    }
}
END
}

sub logged { my ($what) = @_; return scalar(() = $t->error_log =~ /$what/g) }

# Until the breaker may be tried.
sub wait_half_open {
    return $t->wait_for(sub { $t->gate->{breaker} eq 'half_open' }, 10);
}

# --- nobody listens

endpoint('204');
$t->start(conf('breaker failures=5 open=2s open_max=3s;'));

my @answers = map { $t->revoke('user-1') } 1 .. 5;
is_deeply count_answers(@answers), { '502 upstream_unreachable' => 5 },
    'the first five find out';
is $t->gate->{breaker}, 'open', 'then it is open';
@answers = $t->burst(50);
is_deeply count_answers(@answers), { '503 endpoint_unavailable' => 50 },
    'and none is sent';
is scalar(grep { ($_->header('Retry-After') || 0) =~ /^[1-4]$/ } @answers), 50,
    'they are told when';
my @refusals = grep { $_->{type} eq 'refusal' } $t->records;
is scalar(grep { $_->{reason} eq 'endpoint_unavailable' } @refusals), 50,
    'recorded';
is scalar(grep { $_->{type} eq 'intent' } $t->records), 5, 'without intents';

my $gate = $t->gate;
cmp_ok $gate->{open_for_ms}, '<=', 2000, 'the status tells for how long';
is "$gate->{opened} $gate->{endpoint_failures_in_a_row}", '1 5', 'and why';
is $gate->{gate_refusals}{endpoint_unavailable}, 50, 'and what it cost';
like http($t->port(0), 'GET', '/metrics')->body,
    qr/^tsface_breaker_state\{credentials="sandbox",state="open"\} 1$/m,
    'so does a metric';
my $ready = http($t->port(0), 'GET', '/ready');
is $ready->status, 200, 'it is ready all the same: others can do no better';
is_deeply $ready->json->{unavailable}, [ 'sandbox' ], 'but says so';
is logged(qr/\[error\].*breaker of credentials "sandbox" is open for \d+ ms: its endpoint failed 5 times in a row/),
    1, 'logged once';

# --- half open: one probe among all, which fails

ok wait_half_open(), 'half open';
@answers = $t->burst(50);
my $count = count_answers(@answers);
is $count->{'502 upstream_unreachable'}, 1, 'one of fifty tries';
is $count->{'503 endpoint_unavailable'}, 49, 'the others do not';
is $t->gate->{breaker}, 'open', 'and it is open again';
is logged(qr/\[warn\].*is open for another \d+ ms: its probe failed/), 1,
    'logged';

# --- one that takes its time, and is answered

endpoint('slow');
serve();
ok wait_half_open(), 'half open';
@answers = $t->burst(50);
$count = count_answers(@answers);
is $count->{204}, 1, 'one of fifty tries, for three seconds';
is $count->{'503 endpoint_unavailable'}, 49, 'the others do not';
is seen(), 1, 'the endpoint saw one';
is $t->gate->{breaker}, 'closed', 'and it is closed';
is logged(qr/\[notice\].*breaker of credentials "sandbox" is closed/), 1,
    'logged';
endpoint('204');
is_deeply count_answers($t->burst(50)), { 204 => 50 }, 'all pass';
is http($t->port(0), "GET", "/ready")->body, qq({"ready":true}\n),
    'ready without a but';

# --- what is a failure: five in a row of these, and not of those

sub opens {
    my ($state, $n) = @_;
    endpoint('204');
    $t->wait_for(sub { $t->revoke('user-1')->status == 204 }, 10);
    my $before = $t->gate->{opened};
    endpoint($state);
    $t->revoke('user-1') for 1 .. $n || 5;
    return $t->gate->{opened} > $before ? 'open' : 'closed';
}

$t->reload(conf('breaker failures=5 open=300ms open_max=300ms;'));
is opens($_), 'open', "$_ is a failure" for 500, 502, 503, 504, 599;
is opens($_), 'closed', "$_ is none" for 400, 401, 403, 404, 409, 422, 200, 302;
is opens('500', 4), 'closed', 'four are not five';

# --- time-outs

$t->reload(conf('breaker failures=3 open=2s open_max=2s; read_timeout 500ms;')
    =~ s/read_timeout +20s;//r);
endpoint('204');
is $t->revoke('user-1')->status, 204, 'answered';
endpoint('hang');
@answers = $t->burst(3);
is_deeply count_answers(@answers), { '504 upstream_timeout' => 3 }, 'three time out';
is $t->gate->{breaker}, 'open', 'it is open';

# --- kill -9 of the worker that has the probe

$t->reload(conf('breaker failures=3 open=2s open_max=2s;'));
is $t->gate->{breaker} =~ /open$/, 1, 'as it is after a reload';
endpoint('hang');
ok wait_half_open(), 'half open';
my $before = seen();
my $probe = $t->send_revoke('user-1', caller => 'probe');
ok $t->wait_for(sub { seen() == $before + 1 }, 5), 'a probe hangs';
is_deeply count_answers($t->burst(20)), { '503 endpoint_unavailable' => 20 },
    'nobody else may';
my ($record) = grep { $_->{type} eq 'intent' && $_->{caller} eq 'probe' }
    $t->records;
kill 'KILL', $record->{pid};
$t->wait_for(sub { !TSFace::Test::alive($record->{pid}) }, 5);
endpoint('204');
my $killed = time;
ok $t->wait_for(sub { $t->revoke('user-1')->status == 204 }, 10),
    'its place is free';
cmp_ok time - $killed, '<', 9, sprintf 'soon: after %.2f s', time - $killed;
is $t->gate->{breaker}, 'closed', 'closed';

# --- a reload while it is open, and while a probe is on its way

endpoint('500');
$t->revoke('user-1') for 1 .. 3;
is $t->gate->{breaker}, 'open', 'open';
$before = seen();
$t->reload(conf('breaker failures=3 open=2s open_max=2s; keepalive 0;'),
    wait => 0);
endpoint('slow');
ok wait_half_open(), 'half open after the reload';
my $slow = $t->send_revoke('user-1', caller => 'probe');
ok $t->wait_for(sub { seen() == $before + 1 }, 5), 'a probe';
$t->reload(conf('breaker failures=3 open=2s open_max=2s; keepalive 1;'),
    wait => 0);
is_deeply count_answers($t->burst(20)), { '503 endpoint_unavailable' => 20 },
    'the new workers know of it';
is read_answer($slow, time + 10, 'POST')->status, 204, 'the old one sees it through';
endpoint('204');
is_deeply count_answers($t->burst(20)), { 204 => 20 }, 'and the new ones know that too';

# --- off

$t->reload(conf('breaker off;'));
endpoint('500');
$t->revoke('user-1') for 1 .. 20;
is $t->gate->{breaker}, 'off', 'without a breaker';
$before = seen();
is $t->revoke('user-1')->status, 500, 'all are sent';
is seen(), $before + 1, 'to the endpoint';

# --- an endpoint whose name can't be found is one that fails

$t->reload((conf('breaker failures=2 open=5s; connect_timeout 300ms;')
    =~ s/connect_timeout +1s;//r)
    =~ s{http://127.0.0.1:$endpoint}{https://nothing.invalid}r);
is_deeply count_answers(map { $t->revoke('user-1') } 1 .. 2),
    { '502 upstream_unreachable' => 2 }, 'no address';
is $t->revoke('user-1')->problem, 'endpoint_unavailable', 'is a failure';

done_testing;
