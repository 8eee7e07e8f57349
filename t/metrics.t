#!/usr/bin/perl
# tsface_status for Prometheus: by directive or Accept, well-formed in
# promtool's eyes, right in its figures, and without anything secret.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
$t->secret('wrong', 'not-the-secret-of-the-client');

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    tsface_zone "zone=a\"b\\c:1m";
    %%CREDENTIALS%%
    tsface_credentials bad.one {
        endpoint       http://127.0.0.1:%%PORT_1%%/cis;
        token_endpoint http://127.0.0.1:%%PORT_1%%/oidc/token;
        client_id      nobody;
        client_secret  file:%%DIR%%/secrets/wrong;
    }
    %%TRAIL%%

    gzip_types      text/plain;
    gzip_min_length 1;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /gzip/ { gzip on; tsface_status prometheus; }
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
        location = /status     { tsface_status; }
        location = /json       { tsface_status json; }
        location = /prometheus { tsface_status prometheus;
                                 if ($http_x_if) { set $x 1; } }
    }
}
END

$t->allow(qr/connect\(\) failed|exchange for credentials "bad.one" failed/);

my $sandbox = $t->sandbox;

sub page {
    my ($path, %headers) = @_;
    my $answer = http($t->port, 'GET', $path, headers => [ %headers ]);
    push @{ $t->{answers} }, $answer;
    is $answer->status, 200, "$path: 200";
    return $answer;
}

# All samples: name with labels => value.
sub samples {
    my $body = page('/prometheus')->body;
    return { $body =~ /^([a-z]\w+(?:\{.*\})?) (\S+)$/mg };
}

# --- formats

my $plain = 'text/plain; version=0.0.4; charset=utf-8';
my $openmetrics = 'application/openmetrics-text;version=1.0.0,'
    . 'text/plain;version=0.0.4;q=0.5,*/*;q=0.1';

for my $row (
    [ '/json', 'text/plain', 'application/json', undef ],
    [ '/prometheus', 'application/json', $plain, undef ],
    [ '/status', undef, 'application/json', 'Accept' ],
    [ '/status', '*/*', 'application/json', 'Accept' ],
    [ '/status', 'application/json', 'application/json', 'Accept' ],
    [ '/status', 'text/plain', $plain, 'Accept' ],
    [ '/status', $openmetrics, $plain, 'Accept' ],
) {
    my ($path, $accept, $type, $vary) = @$row;
    my $answer = page($path, defined $accept ? (Accept => $accept) : ());
    my $what = "$path, " . ($accept || 'no Accept');
    is $answer->header('Content-Type'), $type, "$what: type";
    is $answer->header('Vary'), $vary, "$what: Vary";
    is $answer->header('Cache-Control'), 'no-store', "$what: not stored";
    is length $answer->body, $answer->header('Content-Length'),
        "$what: whole";
}
is page('/prometheus', 'X-If' => 1)->header('Content-Type'), $plain,
    'in an "if", too';

is http($t->port, 'GET', '/gzip/', headers => [ 'Accept-Encoding', 'gzip' ])
    ->header('Content-Encoding'), 'gzip', 'gzip_types text/plain';

my $answer = http($t->port, 'HEAD', '/prometheus');
is $answer->status, 200, 'HEAD';
is $answer->body, '', 'without a body';
is http($t->port, 'POST', '/prometheus', body => 'x')->status, 405, 'POST';

# --- figures

is $t->revoke("user-$_")->status, 204, 'revoked' for 1 .. 3;
$t->revoke('nobody-at-all');
$t->revoke('');
is http($t->port, 'GET', '/nowhere', headers => [ 'X-Caller', 'x' ])->status,
    404, 'an unknown path';
$t->revoke_me($sandbox->user_token('user-2'));

$t->wait_for(sub { samples()->{'tsface_exchanges_total{credentials="bad.one",'
    . 'result="network"}'} }, 10);
my $m = samples();

my $requests = sub { $m->{"tsface_requests_total{operation=\"$_[0]\","
    . "result=\"$_[1]\"}"} };
is $requests->('face.revoke', 'success'), 3, 'successes';
is $requests->('face.revoke', 'denied'), 1, 'a denied one';
is $requests->('face.revoke', 'refused'), 1, 'a refused one';
is $requests->('face.revoke', 'unknown'), 0, 'none unknown';
is $requests->('face.revoke_me', 'success'), 1, 'another operation';
is $requests->('none', 'refused'), 1, 'no operation';
is $m->{'tsface_refusals_total{reason="user_id_empty"}'}, 1, 'its reason';
is $m->{'tsface_refusals_total{reason="unknown_path"}'}, 1, 'and of the other';
is $m->{'tsface_refusals_total{reason="no_token"}'}, 0, 'a zero is there';

my $of = '{credentials="sandbox"}';
is $m->{"tsface_token_valid$of"}, 1, 'a token';
is $m->{"tsface_token_generation$of"}, 1, 'the first';
is $m->{"tsface_secret_in_use$of"}, 1, 'with the current secret';
like $m->{"tsface_token_expires_seconds$of"}, qr/^[1-9]\d*\.\d{3}$/, 'expires';
like $m->{"tsface_token_refresh_seconds$of"}, qr/^[1-9]\d*\.\d{3}$/, 'refresh';
cmp_ok $m->{"tsface_token_refresh_seconds$of"}, '<',
    $m->{"tsface_token_expires_seconds$of"}, 'before that';
like $m->{"tsface_token_age_seconds$of"}, qr/^\d\d?\.\d{3}$/, 'age';
is $m->{'tsface_credentials_state{credentials="sandbox",state="ready"}'}, 1,
    'ready';
is $m->{'tsface_credentials_state{credentials="bad.one",state="ready"}'}, 0,
    'the other is not';
is $m->{'tsface_credentials_state{credentials="bad.one",state="failing"}'}, 1,
    'but failing';
$of = '{credentials="bad.one"}';
is $m->{"tsface_token_valid$of"}, 0, 'no token';
is $m->{"tsface_token_expires_seconds$of"}, '0.000', 'serves for nothing';
ok !exists $m->{"tsface_token_age_seconds$of"}, 'and has no age';
cmp_ok $m->{"tsface_exchange_failures_in_a_row$of"}, '>=', 1, 'failures';
is $m->{'tsface_build_info{version="0.1.0"}'}, 1, 'version';
is $m->{'tsface_zone_size_bytes{zone="a\\"b\\\\c"}'}, 1048576,
    'size of the zone, its name escaped';
cmp_ok $m->{'tsface_zone_free_bytes{zone="a\\"b\\\\c"}'}, '<', 1048576,
    'not all is free';

# --- the trail: what is in its file is counted, in all workers

my @records = $t->records;
my %of_type;
$of_type{ $_->{type} }++ for @records;
$of = '{trail="trail"';
is $m->{"tsface_trail_records_total$of,type=\"$_\"}"}, $of_type{$_} || 0,
    "records: $_" for qw(intent outcome refusal open close);
is $m->{"tsface_trail_bytes_total$of}"}, -s $t->dir . '/trail/trail.jsonl',
    'bytes';
is $m->{"tsface_trail_$_$of}"}, 0, $_
    for qw(failing_workers queued_records orphans_total lost_records_total);
my @failures = grep { /^tsface_trail_failures_total/ } keys %$m;
is scalar @failures, 12, 'errors that are told apart';
is scalar(grep { $m->{$_} } @failures), 0, 'none of them';
cmp_ok $m->{"tsface_trail_commit_seconds_count$of}"}, '<=', @records,
    'batches';
cmp_ok $m->{"tsface_trail_commit_seconds_count$of}"}, '>=', 5,
    'not all in one';

# --- histograms: cumulative, +Inf is the count

for my $row (
    [ 'tsface_upstream_duration_seconds', 'operation="face.revoke"', 4 ],
    [ 'tsface_upstream_duration_seconds', 'operation="face.revoke_me"', 1 ],
    [ 'tsface_exchange_duration_seconds', 'credentials="sandbox"', 1 ],
    [ 'tsface_trail_commit_seconds', 'trail="trail"',
        $m->{'tsface_trail_commit_seconds_count{trail="trail"}'} ],
) {
    my ($name, $label, $count) = @$row;
    my @le = qw(0.005 0.010 0.025 0.050 0.100 0.250 0.500 1.000 2.500 5.000
        10.000 +Inf);
    my @counts = map { $m->{"${name}_bucket{$label,le=\"$_\"}"} } @le;
    is scalar(grep { defined } @counts), @le, "$name: all buckets";
    is "@counts", join(' ', sort { $a <=> $b } @counts), 'cumulative';
    is $counts[-1], $count, "$label: the last";
    is $m->{"${name}_count{$label}"}, $count, 'is the count';
    like $m->{"${name}_sum{$label}"}, qr/^\d+\.\d{3}000$/, 'a sum';
}

# a slow answer is in no bucket below it

$sandbox->fault(kind => 'delay', path => 'revoke', ms => 300, count => 1);
is $t->revoke('user-9')->status, 204, 'a slow answer';
my $slow = samples();
my $bucket = sub { "tsface_upstream_duration_seconds_bucket"
    . "{operation=\"face.revoke\",le=\"$_[0]\"}" };
is $slow->{$bucket->('0.250')}, $m->{$bucket->('0.250')}, 'not below 250 ms';
is $slow->{$bucket->('5.000')}, $m->{$bucket->('5.000')} + 1, 'but below 5 s';

# --- JSON has the same

my $json = page('/json')->json;
my ($op) = grep { $_->{name} eq 'face.revoke' } @{ $json->{operations} };
is $op->{results}{success}, 4, 'JSON: successes';
is $op->{upstream_latency_ms}{count}, 5, 'JSON: attempts';
my ($trail) = @{ $json->{trails} };
is $trail->{records}, scalar(() = $t->records), 'JSON: records';
is $trail->{types}{outcome}, scalar(() = $t->records(type => qr/outcome/)),
    'JSON: outcomes';
is $trail->{bytes}, -s $t->dir . '/trail/trail.jsonl', 'JSON: bytes';
is $trail->{batches}, $trail->{commit_latency_ms}{count}, 'JSON: batches';
is_deeply [ @$trail{qw(state queued errno lost orphans failing_workers)} ],
    [ 'ok', 0, 0, 0, 0, 0 ], 'JSON: all is well';
is $json->{refusals}{user_id_empty}, 1, 'JSON: refusals';
is $json->{zone}{name}, 'a"b\\c', 'JSON: name of the zone, escaped';
is $json->{requests}{refused}, 2, 'JSON: as many as before';

# --- promtool, on this and on what the documentation prints

my ($promtool) = grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH};
SKIP: {
    skip 'no promtool: build/deps.sh test', 6 if !$promtool;
    my $file = $t->write_file('metrics.txt', page('/prometheus')->body);
    my ($code, $output) = $t->run(30, 'sh', '-c',
        "$promtool check metrics < $file 2>&1");
    is $code, 0, 'promtool check metrics';
    is $output, '', 'has nothing to say';

    my $doc = $t->read_file("$TSFace::Test::ROOT/docs/status.md");
    for my $what ([ 'scrape_configs', 'config' ], [ 'groups', 'rules' ]) {
        my ($yaml) = $doc =~ /^    (\Q$what->[0]\E:\n(?:     .*\n)+)/m;
        $yaml =~ s/^    //mg;
        $file = $t->write_file("$what->[1].yml", $yaml);
        ($code, $output) = $t->run(30, 'sh', '-c',
            "$promtool check $what->[1] $file 2>&1");
        is $code, 0, "promtool check $what->[1]" or diag $output;
        like $output, qr/SUCCESS/, 'a success';
    }
}

done_testing;
