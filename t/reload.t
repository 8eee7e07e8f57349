#!/usr/bin/perl
# HUP under load: every request gets its answer, tokens are kept as long as
# their credentials are the same, and what is broken changes nothing.
#
# TSFACE_TEST_LONG=1: 1,000 HUPs instead of 50.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $hups = $ENV{TSFACE_TEST_LONG} ? 1000 : 50;
my $t = TSFace::Test->new(workers => 2, timeout => 60 + 2 * $hups);
my $sandbox = $t->sandbox;

# conf(credentials => "...", http => "...")
sub conf {
    my (%o) = @_;

    my $lines = $o{credentials} || '';
    my $client = $o{client} || '%%CLIENT%%';
    my $http = $o{http} || '';

    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    $http

    tsface_credentials sandbox {
        %%ENDPOINT%%
        $client
        $lines
        min_interval 100ms;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
    }
}
END
}

sub exchanges { return scalar(() = $sandbox->exchanges) }

$t->start(conf());
is $t->revoke('user-1')->status, 204, 'revoked';
is exchanges(), 1, 'one exchange';

# --- the same configuration, under load

for my $keep (0, 1) {
    my $how = $keep ? 'kept connections' : 'new connections';
    my $start = time();
    my $result = $t->under_load(sub {
        $t->reload(undef, wait => 0) for 1 .. $hups / 2;
    }, keep => $keep, pause => $hups > 100 ? 0.03 : 0.01);
    is_deeply [ keys %{ $result->{count} } ], [ 204 ],
        $hups / 2 . " reloads, $how: only 204"
        or diag explain $result->{count};
    my $took = time() - $start;
    my @wrong = $t->write_ahead(@{ $result->{answers} });
    is scalar @wrong, 0, 'all of them recorded' or diag explain \@wrong;
    note sprintf '%d reloads in %.1f s, %d requests, the slowest %.2f s',
        $hups / 2, $took, scalar @{ $result->{answers} }, $result->{slowest};
}
is exchanges(), 1, 'still with the first token';

$t->wait_for(sub { $t->workers == 2 }, 20);
is scalar(() = $t->workers), 2, 'the old workers are gone';

# --- a broken configuration changes nothing

for my $broken (
    [ 'no-such-region', 'region no-such-region;', '' ],
    [ 'duplicate', '', 'tsface_credentials sandbox { region eu; %%CLIENT%% }' ],
    [ 'no-such-file', '', 'include /no-such-file;' ],
    # What names a new zone and other credentials, and fails after them.
    [ 'unknown directive', 'parameter changed yes;',
        'limit_req_zone $uri zone=z:1m rate=1r/s; unknown_directive x;' ],
) {
    my ($message, $credentials, $http) = @$broken;

    my @workers = sort $t->workers;
    my $mark = length $t->error_log;
    $t->allow(qr/\[emerg\].*\Q$message\E/);
    $t->configure(conf(credentials => $credentials, http => $http));
    kill 'HUP', $t->master;
    $t->wait_for(sub { substr($t->error_log, $mark) =~ /\[emerg\]/ }, 10);
    like substr($t->error_log, $mark), qr/\[emerg\].*\Q$message\E/,
        "$message: refused";
    is_deeply [ sort $t->workers ], \@workers, 'the workers go on';
    is $t->revoke('user-1')->status, 204, 'and revoke';
    is exchanges(), 1, 'with the token they had';
}

$t->reload(conf());
is $t->revoke('user-1')->status, 204, 'mended';
is exchanges(), 1, 'and still the first token';

# --- what makes other credentials, and what does not

$sandbox->set_client(client_id => 'second', secrets => [ 'second-secret' ],
    app_id => 'sandbox-app');
$t->secret('second.secret', 'second-secret');

my $second = 'client_id second; client_secret file:%%DIR%%/secrets/'
    . 'second.secret;';

for my $change (
    [ 0, 'keepalive and timeouts', credentials => 'keepalive 3;'
        . ' keepalive_timeout 3s; connect_timeout 1s; read_timeout 5s;'
        . ' token_wait 3s; exchange_timeout 4s;' ],
    [ 1, 'a parameter', credentials => 'parameter organization a;' ],
    [ 1, 'its value', credentials => 'parameter organization b;' ],
    [ 1, 'resource', credentials => 'resource https://api.example.com/;' ],
    [ 1, 'token_auth_method',
        credentials => 'token_auth_method client_secret_basic;' ],
    [ 1, 'client_id', client => $second ],
    # The old token is still there, for workers that leave and for a mistake
    # mended soon.
    [ 0, 'and all back' ],
) {
    my ($new, $what, %conf) = @$change;

    my $n = exchanges();
    $t->reload(conf(%conf));
    $t->wait_for(sub { exchanges() > $n }, 5) if $new;
    is $t->revoke('user-1')->status, 204, "$what changed";
    is exchanges(), $n + $new, $new ? 'another token' : 'the same token';
}

# The secret alone: the sandbox takes either, the path stays the same.
my $n = exchanges();
$t->secret('client.secret', 'sandbox-secret-2');
$t->reload(conf());
$t->wait_for(sub { exchanges() > $n }, 5);
is $t->revoke('user-1')->status, 204, 'the content of the secret file changed';
is exchanges(), $n + 1, 'another token';
my ($last) = reverse $sandbox->exchanges;
is $last->{secret}, 2, 'with the new secret';

# --- requests in flight end in the worker that began them

$sandbox->fault(kind => 'delay', path => 'revoke', ms => 1500,
    count => 'forever');
my @old = $t->workers;
my $outcomes = () = $t->records(type => qr/outcome/);
my @answers = $t->burst(8, connected => sub {
    $t->wait_records($outcomes + 8, type => qr/intent/);
    $t->reload(undef, wait => 0);
});
is_deeply [ map { $_->status } @answers ], [ (204) x 8 ],
    'a reload does not cut requests in flight';
is scalar(() = $t->records(type => qr/outcome/)), $outcomes + 8,
    'their outcomes are recorded';
my %pid = map { $_->{pid} => 1 }
    ($t->records(type => qr/outcome/))[$outcomes .. $outcomes + 7];
my %old = map { $_ => 1 } @old;
is_deeply [ grep { !$old{$_} } keys %pid ], [], 'by the old workers';
$t->wait_for(sub { !grep { $old{$_} } $t->workers }, 10);
is scalar(grep { $old{$_} } $t->workers), 0, 'which then are gone';

# --- QUIT ends nothing early either

my $socket = connect_to($t->port);
print $socket TSFace::HTTP::build_request('POST', '/v1/users/face/revoke',
    headers => [ 'X-Caller', 'a' ], json => { user_id => 'user-1' });
sleep 0.4;
kill 'QUIT', $t->master;
is read_answer($socket, time() + 10 * $t->{slow})->status, 204,
    'QUIT: a request in flight is finished before the worker ends';
$t->wait_for(sub { !TSFace::Test::alive($t->{master}) }, 15);

done_testing;
