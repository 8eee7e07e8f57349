#!/usr/bin/perl
# What other gateways got wrong about tokens (docs/peers.md), where no other
# test shows it: an answer that isn't a token stops nothing for good, an
# outage's old token is never sent, short lives make no loop, and parameters
# are in each exchange.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $t = TSFace::Test->new(workers => 2);
my $sandbox = $t->sandbox;
$sandbox->switch(log_values => 'on', token_ttl => 8);

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%

    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        resource     https://api.example.com/;
        parameter    organization org-1;
        token_wait   1s;
        min_interval 700ms;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
        location = /status {
            tsface_status;
        }
    }
}
END

sub exchanges { return scalar(() = $sandbox->exchanges) }
sub state { return http($t->port, 'GET', '/status')->json->{credentials}[0] }

# --- answers with 200 and no token in them, one after the other; the token is
# good meanwhile (envoy#42009: never asked again)

is $t->revoke('user-1')->status, 204, 'a token of eight seconds';
my $born = time();
$sandbox->fault(path => 'token', count => 1, %$_) for
    { kind => 'status', status => 200, body => '' },
    { kind => 'status', status => 200, body => '{}' },
    { kind => 'malformed_json' };
my $bad = 0;
$t->wait_for(sub {
    $bad++ if $t->revoke('user-1')->status != 204;
    sleep 0.1;
    return exchanges() >= 4;
}, 7);
is exchanges(), 4, 'three refreshes that bring no token';
is $bad, 0, 'the old one goes on meanwhile';
my $last;
$t->wait_for(sub {
    $bad++ if $t->revoke('user-1')->status != 204;
    $last = state()->{last_failure} if state()->{failures_in_a_row};
    sleep 0.1;
    return state()->{exchanges}{ok} >= 2;
}, 12);
is state()->{exchanges}{malformed}, 3, 'told as what they are';
is state()->{exchanges}{ok}, 2, 'asked again until there is a token';
is $t->revoke('user-1')->status, 204, 'and it works';

# --- none is left out of them (apache/iceberg#16022)

$sandbox->revoke_tokens;
sleep 0.8;
is $t->revoke('user-1')->status, 204, 'refused, replaced';
my @all = $sandbox->exchanges;
cmp_ok scalar @all, '>=', 6, scalar(@all) . ' exchanges: at start, refreshes, '
    . 'after a 401';
is_deeply [ grep { $_->{resource} ne 'https://api.example.com/'
    || $_->{values}{organization} ne 'org-1' } @all ], [],
    'resource and parameters are in each';

# --- the token endpoint is down until after the token's end (envoy#44674)

$sandbox->fault(kind => 'status', path => 'token', status => 500,
    count => 'forever');
my ($first, $status, @revokes) = (time());
my $refused = () = grep { $_->{status} != 204 } $sandbox->revokes;
$t->wait_for(sub {
    $status = $t->revoke('user-1')->status;
    sleep 0.1;
    return $status != 204;
}, 12);
is $status, 503, sprintf 'an outage: 503 after %.1f s', time() - $first;
my $seen = () = $sandbox->revokes;
my @answers = $t->burst(10);
is_deeply [ map { $_->problem } @answers ], [ ('no_token') x 10 ], 'no_token';
@revokes = $sandbox->revokes;
is scalar @revokes, $seen, 'nothing is sent without a token';
# The sandbox counts in whole seconds, so that a token may end for it up to a
# second before expires_in has passed.
cmp_ok scalar(grep { $_->{status} != 204 } @revokes), '<=', $refused + 1,
    'nor with an old one, but for one request in its last second';

# --- lives as short as the least interval, under load: no loop
# (wso2/api-manager#773)

$sandbox->switch(token_ttl => 1);
$sandbox->no_faults;
ok $t->wait_for(sub { state()->{state} eq 'ready' }, 60), 'up again';
my $n = exchanges();
my $start = time();
$t->under_load(sub { sleep 4 }, clients => 4, pause => 0.01);
my $took = time() - $start;
my $made = exchanges() - $n;
cmp_ok $made, '>=', 2, "tokens of one second: $made exchanges in "
    . sprintf '%.1f s', $took;
cmp_ok $made, '<=', $took / 0.7 + 1, 'and no more than min_interval allows';

# --- the same token, again and again

$sandbox->switch(token_ttl => 2);
$sandbox->fault(kind => 'same_token', path => 'token', count => 'forever');
sleep 1;
$n = exchanges();
$start = time();
$t->under_load(sub { sleep 4 }, clients => 4, pause => 0.01);
$took = time() - $start;
$made = exchanges() - $n;
cmp_ok $made, '<=', $took / 0.7 + 1,
    "the same token each time: $made exchanges";
$sandbox->no_faults;
$sandbox->switch(token_ttl => 3600);
ok $t->wait_for(sub { $t->revoke('user-1')->status == 204 }, 10),
    'a new one: all is well';

done_testing;
