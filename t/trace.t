#!/usr/bin/perl
# W3C Trace Context: a valid traceparent is in every record and is sent on, with
# its tracestate; an invalid one is as if it were not there.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
my $sandbox = $t->sandbox;

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    log_format trace 'trace=$tsface_trace_id id=$tsface_request_id';

    server {
        listen 127.0.0.1:%%PORT_0%%;
        access_log %%DIR%%/logs/trace.log trace;
        tsface_caller $http_x_caller;
        tsface_audit  trail;
        location / { tsface_pass sandbox; }
    }
}
END

my $id = '4bf92f3577b34da6a3ce929d0e0e4736';
my $span = '00f067aa0ba902b7';
my $parent = "00-$id-$span-01";

# ([ [traceparent, tracestate] sent on ], records, answer)
sub revoke {
    my ($user, @headers) = @_;

    my $n = () = $sandbox->revokes;
    my $answer = $t->revoke($user, headers => \@headers);
    my $request_id = $answer->header('X-TSFace-Request-ID');
    my @log = $sandbox->revokes;
    splice @log, 0, $n;
    return ([ map { [ @{ $_->{headers} }{qw(traceparent tracestate)} ] } @log ],
        [ $t->records(request_id => $request_id) ], $answer);
}

sub traces { return [ map { [ @{$_}{qw(trace_id parent_id)} ] } @{ $_[0] } ] }

# --- carried

my ($sent, $records, $answer) = revoke('user-1', traceparent => $parent,
    tracestate => 'rojo=1,congo=t61');
is $answer->status, 204, 'revoked';
is_deeply $sent, [ [ $parent, 'rojo=1,congo=t61' ] ], 'sent on, unchanged';
is_deeply traces($records), [ [ $id, $span ], [ $id, $span ] ],
    'in intent and outcome';
like $records->[0]{_line}, qr/"request_id":"\w+","trace_id":"$id",
    "parent_id":"$span","attempt"/x, 'in their place';
ok $t->wait_for(sub { $t->read_file('logs/trace.log') =~
    /^trace=$id id=$records->[0]{request_id}$/m }), '$tsface_trace_id';

($sent, $records) = revoke('user-1', Traceparent => $parent, tracestate =>
    'a=1', TraceState => 'b=2');
is_deeply $sent, [ [ $parent, 'a=1,b=2' ] ], 'two tracestates: joined';

($sent, $records) = revoke('user-1', traceparent => "cc-$id-$span-ff-later");
is_deeply $sent, [ [ "00-$id-$span-01", undef ] ],
    'a version to come: what version 00 has of it';
is_deeply traces($records), [ [ $id, $span ], [ $id, $span ] ], 'recorded';

# --- a second attempt

$sandbox->revoke_tokens;
($sent, $records, $answer) = revoke('user-1', traceparent => $parent,
    tracestate => 'a=1');
is $answer->status, 204, 'revoked with another token';
is_deeply $sent, [ ([ $parent, 'a=1' ]) x 2 ], 'sent on in both attempts';
is_deeply traces($records), [ ([ $id, $span ]) x 4 ], 'in all four records';

# --- refusals

($sent, $records, $answer) = revoke('', traceparent => $parent);
is $answer->status, 400, 'refused';
is_deeply traces($records), [ [ $id, $span ] ], 'in a refusal';

# --- not carried

my @not = (
    'none' => [],
    'only a tracestate' => [ tracestate => 'a=1' ],
    'upper case' => [ traceparent => uc $parent, tracestate => 'a=1' ],
    'zeros' => [ traceparent => '00-' . '0' x 32 . "-$span-01" ],
    'version ff' => [ traceparent => "ff-$id-$span-01" ],
    'two' => [ traceparent => $parent, traceparent => $parent ],
    'too long' => [ traceparent => "$parent-x", tracestate => 'a=1' ],
    'a list' => [ traceparent => "$parent, $parent" ],
);
while (my ($name, $headers) = splice @not, 0, 2) {
    ($sent, $records, $answer) = revoke('user-1', @$headers);
    is $answer->status, 204, "$name: revoked";
    is_deeply $sent, [ [ undef, undef ] ], "$name: nothing is sent on";
    is_deeply traces($records), [ ([ undef, undef ]) x 2 ],
        "$name: not in the records";
}
ok $t->wait_for(sub { $t->read_file('logs/trace.log') =~ /^trace=- id=/m }),
    '$tsface_trace_id is not set';

for my $state ('A=1', 'a=1=2', "a=\xc3\xa4", 'a=' . 'x' x 600,
    join ',', map { "k$_=1" } 1 .. 33)
{
    ($sent, $records) = revoke('user-1', traceparent => $parent,
        tracestate => $state);
    is_deeply $sent, [ [ $parent, undef ] ],
        'tracestate ' . substr($state, 0, 10) . ': left out';
}

done_testing;
