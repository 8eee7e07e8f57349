#!/usr/bin/perl
# An endpoint that answers 429 (or 503 with Retry-After) is left alone for as
# long as it asks, by all workers, over a reload and with a new secret, and no
# longer.  Refusals say so, to the caller and in the trail.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;
use POSIX 'strftime';

my $t = TSFace::Test->new(workers => 4, timeout => 180);
my $sandbox = $t->sandbox;

sub conf {
    my ($more, %o) = @_;
    my $client = $o{client} || '%%CLIENT%%';
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    tsface_credentials sandbox {
        %%ENDPOINT%%
        $client
        min_interval 100ms;
        $more
    }
    tsface_credentials other {
        %%ENDPOINT%%
        client_id       sandbox-admin;
        client_secret   file:%%DIR%%/secrets/admin;
    }
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   \$http_x_which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
        location = /status { tsface_status json; }
        location = /metrics { tsface_status prometheus; }
    }
}
END
}

$t->secret('admin', 'sandbox-admin-secret');
my @which = (headers => [ 'X-Which', 'sandbox' ]);

sub revoke { my (@o) = @_; return $t->revoke('user-1', @which, @o) }
sub seen { return scalar(() = $sandbox->revokes) }

sub throttle {
    my (%o) = @_;
    $sandbox->no_faults;
    $sandbox->fault(kind => 'throttle', path => 'revoke', %o);
    return;
}

# For how long it is, as it was told when it began: the status has what is
# left by now.
sub told {
    my @ms = $t->error_log =~ /asked for a pause: nothing is sent to it for (\d+) ms/g;
    return $ms[-1];
}

# The pause is over: none is before that.
sub let_go {
    my $left = $t->gate->{paused_for_ms};
    sleep $left / 1000 + 0.01;
    return;
}

$t->start(conf('retry_after_max 20s;'));
is revoke()->status, 204, 'revoked';
is $t->gate->{paused_for_ms}, 0, 'no pause';
is $t->gate->{breaker}, 'off', 'no breaker';

# --- seconds

throttle(retry_after => 12);
my $begun = time;
my $answer = revoke();
is $answer->status, 429, 'who hears it first gets the answer as it is';
is $answer->header('Retry-After'), 12, 'with its Retry-After';

my $before = seen();
my @answers = $t->burst(60, @which);
is scalar(grep { $_->status == 503 } @answers), 60, 'all others are refused';
is scalar(grep { $_->problem eq 'endpoint_throttled' } @answers), 60,
    'and told why';
is seen(), $before, 'nothing is sent, by any worker';

my @after = map { $_->header('Retry-After') } @answers;
my %after = map { $_ => 1 } @after;
is scalar(grep { $_ >= 6 && $_ <= 16 } @after), 60, 'and when to come back';
cmp_ok scalar keys %after, '>', 1, 'not all at one moment';

my ($refusal) = grep { $_->{type} eq 'refusal' } $t->records;
is "$refusal->{reason} $refusal->{status}", 'endpoint_throttled 503', 'recorded';
is scalar(grep { $_->{type} eq 'refusal' } $t->records), 60, 'each of them';
my %pid = map { $_->{pid} => 1 } grep { $_->{type} eq 'refusal' } $t->records;
cmp_ok scalar keys %pid, '>', 2, 'by several workers';
my @own = grep { ($_->{request_id} || '') eq $refusal->{request_id} }
    $t->records;
is scalar @own, 1, 'without an intent';

is $t->revoke('user-1', headers => [ 'X-Which', 'other' ])->status, 204,
    'other credentials are not refused';
$answer = $t->revoke_me($sandbox->user_token('user-1'), @which);
is $answer->problem, 'endpoint_throttled', 'the user\'s own token is: it is '
    . 'one endpoint';

my $gate = $t->gate;
cmp_ok $gate->{paused_for_ms}, '>', 0, 'the status tells';
is $gate->{pauses}, 1, 'one pause';
is $gate->{gate_refusals}{endpoint_throttled}, 61, 'and how many it cost';
my $metrics = http($t->port(0), 'GET', '/metrics')->body;
like $metrics, qr/^tsface_gate_refusals_total\{credentials="sandbox",reason="endpoint_throttled"\} 61$/m,
    'so does a metric';
like $metrics, qr/^tsface_endpoint_paused_seconds\{credentials="sandbox"\} (?:\d|1[0-2])\.\d+$/m,
    'the pause too';
like $metrics, qr/^tsface_endpoint_pauses_total\{credentials="sandbox"\} 1$/m,
    'and how many';

# --- over a reload, and with another secret

$sandbox->no_faults;
$t->secret('second', 'sandbox-secret-2');
$t->reload(conf('retry_after_max 20s;', client => "client_id sandbox-client;\n"
    . "client_secret file:%%DIR%%/secrets/second;"), wait => 0);
is revoke()->problem, 'endpoint_throttled', 'over a reload';
cmp_ok time - $begun, '<', 11.5, 'in time';

# --- to the end, and no longer

my ($last, $first);
while (time - $begun < 20) {
    my $now = time;
    if (revoke()->status == 204) { $first = $now - $begun; last }
    $last = $now - $begun;
    sleep 0.01;
}
cmp_ok $last, '>', 10, sprintf 'refused until %.2f s', $last;
cmp_ok $first, '>', 11.8, sprintf 'let through at %.2f s', $first;
cmp_ok $first, '<', 15, 'and not much later';
like $t->error_log, qr/\[warn\].*endpoint of credentials "sandbox" asked for a pause: nothing is sent to it for 12000 ms/,
    'logged';
is scalar(() = $t->error_log =~ /asked for a pause/g), 1, 'once';
is scalar(() = $t->error_log =~ /\[notice\].*pause for the endpoint of credentials "sandbox" is over/g), 1,
    'and its end';

# --- a date

throttle(retry_after => strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 3)));
is revoke()->status, 429, 'a date';
my $ms = told();
cmp_ok $ms, '>', 1000, "for $ms ms";
cmp_ok $ms, '<=', 3000, 'that is: until then';
let_go();

# --- what says nothing, or too much

for my $case (
    [ 'none', {}, 700, 1000 ],
    [ 'garbage', { retry_after => 'soon' }, 700, 1000 ],
    [ 'negative', { retry_after => '-5' }, 700, 1000 ],
    [ '0', { retry_after => 0 }, 700, 1000 ],
    [ 'a date that is over', { retry_after => 'Thu, 01 Jan 1970 00:00:00 GMT' },
        700, 1000 ],
    [ 'html from the edge', { style => 'edge', retry_after => 1 }, 500, 1000 ],
) {
    my ($what, $fault, $least, $most) = @$case;
    is revoke()->status, 204, 'an answer between';
    throttle(%$fault);
    is revoke()->status, 429, "Retry-After: $what";
    my $for = told();
    cmp_ok $for, '>=', $least, "for $for ms";
    cmp_ok $for, '<=', $most, 'and no more';
    let_go();
}

for my $case ([ 'absurd', 999_999_999 ],
    [ 'digits without end', '9' x 30 ], [ 'leading zeros', '0' x 20 . '9' ],
    [ 'in 8000 years', 'Fri, 31 Dec 9999 23:59:59 GMT' ])
{
    $t->reload(conf('retry_after_max 2500ms;'));
    is revoke()->status, 204, 'an answer between';
    throttle(retry_after => $case->[1]);
    is revoke()->status, 429, "Retry-After: $case->[0]";
    is told(), 2500, 'for the bound';
    let_go();
}

# --- one after the other without Retry-After

$t->reload(conf('retry_after_max 20s;'));
is revoke()->status, 204, 'an answer between';
throttle(count => 3);
for my $least (700, 1400, 2900) {
    is revoke()->status, 429, '429 again';
    my $for = told();
    cmp_ok $for, '>=', $least, "for $for ms: doubled";
    let_go();
}

# --- 503

$sandbox->no_faults;
$sandbox->fault(kind => 'status', path => 'revoke', status => 503);
is revoke()->status, 503, '503 without Retry-After';
is revoke()->status, 204, 'is no pause';
$sandbox->fault(kind => 'status', path => 'revoke', status => 503,
    retry_after => 1);
is revoke()->status, 503, '503 with it';
is revoke()->problem, 'endpoint_throttled', 'is one';
let_go();
$sandbox->fault(kind => 'status', path => 'revoke', status => 500,
    retry_after => 9);
is revoke()->status, 500, '500 with it';
is revoke()->status, 204, 'is none';

# --- off

$t->reload(conf('retry_after_max off;'));
throttle(retry_after => 9);
is revoke()->status, 429, 'too many';
is revoke()->status, 204, 'switched off';

done_testing;
