#!/usr/bin/perl
# Each kind of record as OCSF, ECS, CEF and CSV: it has what the format
# requires, and no string gets out of its place, whatever is in it.

use strict;
use warnings;
use utf8;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use TSFace::Tool;

use JSON::PP ();

my $tool = TSFace::Tool->new;
my @key = ('--key', $tool->key);
my $json = JSON::PP->new->utf8;

# --- a record of each kind, with all that it may have

my %request = (
    trail => 'revokes', host => 'gw1', pid => 3302,
    request_id => 'a2c6eba24b7306161c421e84c80e24ba', attempt => 1,
    trace_id => '4b' x 16, parent_id => '7c' x 8,
    caller => 'CN=billing,O=Example', operation => 'face.revoke',
    credentials => 'acme_eu', region => 'eu',
    endpoint => 'api.eu.transmitsecurity.io:443', client_addr => '10.1.2.3',
    server => 'tsface.internal.example', method => 'POST',
    uri => '/v1/users/face/revoke?a=b', user => { hmac => 'd1' x 32 },
    members => [ 'reason', 'ticket' ],
);
my @request = map { $_ => $request{$_} } sort keys %request;
my @token = (token => { kind => 'credentials', generation => 1,
    fingerprint => 'aa41d5aece3e6c24' });
my @trail = (trail => 'revokes', host => 'gw1', pid => 3302);

# name, what the events have to say: severity, status, classes
my @kinds = (
    [ 'open.new', 0, 1, 1, type => 'open', @trail, reason => 'new' ],
    [ 'intent', 6003, 1, 0, type => 'intent', @request,
        token => { kind => 'credentials' } ],
    [ 'outcome.success', 6003, 1, 1, type => 'outcome', @request, @token,
        result => 'success', status => 204, upstream_status => 204,
        upstream_addr => '192.0.2.7:443', sent => $JSON::PP::true,
        duration_ms => 19 ],
    [ 'outcome.denied', 6003, 2, 2, type => 'outcome', @request, @token,
        result => 'denied', status => 404, upstream_status => 404 ],
    [ 'outcome.error', 6003, 3, 2, type => 'outcome', @request, @token,
        result => 'error', status => 500, upstream_status => 500 ],
    [ 'outcome.unknown', 6003, 3, 0, type => 'outcome', @request, @token,
        result => 'unknown', status => 504, reason => 'upstream_timeout' ],
    [ 'refusal.refused', 6003, 2, 2, type => 'refusal', @trail,
        result => 'refused', reason => 'unauthorized', status => 401,
        client_addr => 'unix:', caller => '', sent => $JSON::PP::false ],
    [ 'refusals', 6003, 2, 2, type => 'refusals', @trail,
        count => 12, reasons => { limited => 12 },
        first => '2026-11-24T20:00:01.250000Z',
        last => '2026-11-24T20:00:02.500000Z', callers => [],
        client_addrs => [ '10.1.2.3' ] ],
    [ 'open.torn_tail', 0, 3, 1, type => 'open', @trail,
        reason => 'torn_tail' ],
    [ 'open.truncated', 0, 4, 2, type => 'open', @trail,
        reason => 'truncated' ],
    [ 'key', 0, 2, 1, type => 'key', @trail, key_id => $tool->key_id,
        previous_key_id => $tool->key_id ],
    [ 'checkpoint', 0, 1, 1, type => 'checkpoint', @trail,
        key_id => $tool->key_id, mark => 'MARK', signer => '5e' x 8,
        signature => '0f' x 64 ],
    [ 'rotate', 0, 1, 1, type => 'rotate', @trail ],
    [ 'close', 0, 1, 1, type => 'close', @trail ],
    [ 'later', 0, 0, 0, type => 'later', @trail, request_id => 'r-9',
        more => { deep => [ 1, { er => 'x' } ] }, 'odd.name' => 1.5 ],
);

my $trail = $tool->trail;
for my $kind (@kinds) {
    my $mark = "$trail->{seq}:$trail->{mac}";
    $trail->record(map { $_ eq 'MARK' ? $mark : $_ } @$kind[4 .. $#$kind]);
}
my $file = $tool->write('trail.jsonl', $trail->lines);
my @records = map { $json->decode($_) } $trail->lines;

my %name = map { $_->[0] => 1 } @kinds;
is scalar(keys %name), scalar @kinds, 'kinds: ' . join ' ', sort keys %name;

# What export prints, in lines.
sub export {
    my ($format, @rest) = @_;
    my ($code, $out, $err) = $tool->run('export', '--format', $format, @key,
        @rest);
    is $code, 0, "$format: exported" or diag $err;
    is $err, '', 'and nothing said';
    return $out =~ /.*\n/g;
}

# The value at a path, undef if there is none.
sub at {
    my ($event, $path) = @_;
    for my $name (split /\./, $path) {
        $event = $event->[0] if ref $event eq 'ARRAY';
        return undef if ref $event ne 'HASH';
        $event = $event->{$name};
    }
    return $event;
}

# A small schema: path => what its value has to look like.  Returns what is
# wrong.
sub wrong {
    my ($event, %schema) = @_;
    return grep {
        my $value = at($event, $_);
        !defined $value || (ref $value eq 'ARRAY' ? "@$value" : $value)
            !~ /\A(?:$schema{$_})\z/;
    } sort keys %schema;
}

# JSON::PP takes a name that is there twice.
sub doubled {
    my ($line) = @_;
    my @open = ({});
    my @twice;
    while ($line =~ /"((?:[^"\\]|\\.)*)"(:?)|([{}])/g) {
        if (defined $3) { $3 eq '{' ? push @open, {} : pop @open }
        elsif ($2) { push @twice, $1 if $open[-1]{$1}++ }
    }
    return @twice;
}

# --- OCSF

my %ocsf_base = (
    activity_id => '4|99', category_uid => '0|6', class_uid => '0|6003',
    type_uid => '99|600304', time => '1[0-9]{12}', severity_id => '[0-4]',
    status_id => '[012]', 'metadata.version' => '1\.3\.0',
    'metadata.product.vendor_name' => '.+', 'metadata.product.name' => '.+',
    'metadata.uid' => '[0-9a-f]{64}', 'metadata.sequence' => '[0-9]+',
    message => '.+',
);
my %ocsf_api = (%ocsf_base, category_uid => 6, activity_id => 4,
    'actor.user.name' => '.+', 'api.operation' => '.+');

my @events = export('ocsf', $file);
is scalar @events, scalar @kinds, 'ocsf: an event a record';

for my $n (0 .. $#kinds) {
    my ($name, $class, $severity, $status) = @{ $kinds[$n] };
    my $event = eval { $json->decode($events[$n]) } || {};
    my $api = $class == 6003;

    is_deeply [ wrong($event, $api ? %ocsf_api : %ocsf_base) ], [],
        "ocsf: $name has what is required";
    is_deeply [ doubled($events[$n]) ], [], 'once';
    is $event->{type_uid}, $event->{class_uid} * 100 + $event->{activity_id},
        'type_uid';
    is_deeply [ @$event{qw(class_uid severity_id status_id)} ],
        [ $class, $severity, $status ], 'class, severity, status';
    ok !$api || defined at($event, 'src_endpoint.ip')
        || defined at($event, 'src_endpoint.name'), 'src_endpoint';
    is $event->{metadata}{correlation_uid}, $records[$n]{request_id},
        'request_id';
    is $event->{metadata}{uid}, $records[$n]{mac}, 'mac';
    is $event->{unmapped}{trace_id}, $records[$n]{trace_id}, 'trace_id';
}

my $event = $json->decode($events[2]);
is_deeply { map { $_ => at($event, $_) } qw(time duration status_code
    api.response.code http_response.code src_endpoint.ip dst_endpoint.hostname
    dst_endpoint.port dst_endpoint.ip http_request.url.path
    http_request.url.query_string resources.uid actor.user.name
    unmapped.attempt unmapped.token.fingerprint) },
    { time => 1_795_550_403_000, duration => 19,
    status_code => '204', 'api.response.code' => 204,
    'http_response.code' => 204, 'src_endpoint.ip' => '10.1.2.3',
    'dst_endpoint.hostname' => 'api.eu.transmitsecurity.io',
    'dst_endpoint.port' => 443, 'dst_endpoint.ip' => '192.0.2.7',
    'http_request.url.path' => '/v1/users/face/revoke',
    'http_request.url.query_string' => 'a=b', 'resources.uid' => 'd1' x 32,
    'actor.user.name' => 'CN=billing,O=Example', 'unmapped.attempt' => 1,
    'unmapped.token.fingerprint' => 'aa41d5aece3e6c24' },
    'ocsf: an outcome\'s values';

$event = $json->decode($events[6]);
is_deeply [ map { at($event, $_) } qw(actor.user.name api.operation
    src_endpoint.name) ], [ 'unknown', 'unknown', 'unix:' ],
    'ocsf: what a refusal does not know';
$event = $json->decode($events[7]);
is $event->{count}, 12, 'ocsf: many refusals';
is_deeply [ @{ $event->{unmapped} }{qw(reasons callers client_addrs)} ],
    [ { limited => 12 }, [], [ '10.1.2.3' ] ], 'their reasons';
is_deeply [ @$event{qw(start_time end_time)} ],
    [ 1_795_550_401_250, 1_795_550_402_500 ], 'from when to when';
$event = $json->decode($events[-1]);
is_deeply [ @{ $event->{unmapped} }{qw(more odd.name)} ],
    [ { deep => [ 1, { er => 'x' } ] }, 1.5 ],
    'ocsf: members of a later version';

# --- ECS

my %ecs = (
    '@timestamp' => '2026-11-24T20:[0-9:.]+Z', 'ecs.version' => '8\.11\.0',
    'event.kind' => 'event', 'event.category' => 'api|configuration',
    'event.type' => '(?:start|end|deletion|denied|error|change|info)'
        . '(?: (?:deletion|denied|error))?', 'event.action' => '.+',
    'event.outcome' => 'success|failure|unknown',
    'event.id' => '[0-9a-f]{64}', 'event.sequence' => '[0-9]+',
);

@events = export('ecs', $file);
is scalar @events, scalar @kinds, 'ecs: an event a record';

for my $n (0 .. $#kinds) {
    my ($name, $class, undef, $status) = @{ $kinds[$n] };
    $event = eval { $json->decode($events[$n]) } || {};

    is_deeply [ wrong($event, %ecs) ], [], "ecs: $name has what is required";
    is_deeply [ doubled($events[$n]) ], [], 'once';
    is $event->{event}{outcome}, (qw(unknown success failure))[$status],
        'outcome';
    is at($event, 'http.request.id'), $records[$n]{request_id}, 'request_id';
    is at($event, 'trace.id'), $records[$n]{trace_id}, 'trace_id';
}

$event = $json->decode($events[2]);
is_deeply { map { $_ => at($event, $_) } qw(user.name user.target.hash
    source.ip http.request.method http.response.status_code url.original
    url.path url.query url.domain destination.ip destination.port
    event.action event.duration tsface.attempt host.hostname process.pid) },
    { 'user.name' => 'CN=billing,O=Example', 'user.target.hash' => 'd1' x 32,
    'source.ip' => '10.1.2.3', 'http.request.method' => 'POST',
    'http.response.status_code' => 204,
    'url.original' => '/v1/users/face/revoke?a=b',
    'url.path' => '/v1/users/face/revoke', 'url.query' => 'a=b',
    'url.domain' => 'tsface.internal.example',
    'destination.ip' => '192.0.2.7', 'destination.port' => 443,
    'event.action' => 'face.revoke', 'event.duration' => 19_000_000,
    'tsface.attempt' => 1, 'host.hostname' => 'gw1', 'process.pid' => 3302 },
    'ecs: an outcome\'s values';
$event = $json->decode($events[6]);
is at($event, 'source.ip'), undef, 'ecs: source.ip is an address only';
is at($event, 'source.address'), 'unix:', 'source.address is anything';

# --- CEF, read back

# By the rules of the format: header fields, and a hash of the extension.
sub cef {
    my ($line) = @_;

    $line =~ s/\n\z// or return;
    my @header;
    for (1 .. 7) {
        $line =~ s/\A((?:[^|\\]|\\[|\\])*)\|// or return;
        my $field = $1;
        push @header, $field =~ s/\\(.)/$1/gr;
    }

    # a key begins where a blank, its name and an equal sign are
    my %pair;
    my @parts = split /(?:\A|[ ])(\w+)=/, $line;
    shift @parts;
    while (my ($key, $value) = splice @parts, 0, 2) {
        return if exists $pair{$key};
        return if $value !~ /\A(?:[^\\=\n\r]|\\[\\=nr])*\z/;
        my %end = (n => "\n", r => "\r");
        $pair{$key} = $value =~ s/\\(.)/$end{$1} || $1/ger;
    }

    return (\@header, \%pair);
}

@events = export('cef', $file);
is scalar @events, scalar @kinds, 'cef: an event a record';

my @levels = (0, 1, 3, 5, 8);
for my $n (0 .. $#kinds) {
    my ($name, undef, $severity) = @{ $kinds[$n] };
    my ($header, $pair) = cef($events[$n]);

    ok $header, "cef: $name is one" or next;
    is $header->[0], 'CEF:0', 'version';
    is_deeply [ @$header[4, 6] ], [ $name, $levels[$severity] ],
        'signature id and severity';
    is $pair->{cs1}, $records[$n]{request_id}, 'request_id';
    is $pair->{cs6}, $records[$n]{mac}, 'mac';
    like $pair->{rt}, qr/^1795\d{9}$/, 'time';
}

# --- CSV, read back

sub csv {
    my ($text) = @_;

    my @rows = ([]);
    while ($text =~ /\G(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gc) {
        my ($quoted, $plain, $end) = ($1, $2, $3);
        push @{ $rows[-1] }, defined $quoted ? $quoted =~ s/""/"/gr : $plain;
        push @rows, [] if $end ne ',';
    }
    die 'not CSV: ' . substr $text, pos $text || 0
        if (pos($text) || 0) != length $text;
    pop @rows;

    return @rows;
}

my ($head, @rows) = csv(join '', export('csv', $file));
is scalar @rows, scalar @kinds, 'csv: a row a record';
is scalar(grep { @$_ != @$head } @rows), 0, 'all with as many cells';
my @cells = map { my %row; @row{@$head} = @$_; \%row } @rows;
is_deeply [ map { $_->{mac} } @cells ], [ map { $_->{mac} } @records ],
    'in their order';
is_deeply [ @{ $cells[2] }{qw(caller user_hmac token_generation sent status
    members uri)} ], [ 'CN=billing,O=Example', 'd1' x 32, 1, 'true', 204,
    '["reason","ticket"]', '/v1/users/face/revoke?a=b' ], 'csv: values';

# --- hostile strings, everywhere

my @hostile = ('a|b', 'a=b src=6.6.6.6', 'back\\slash\\', '\\n', "line\nend",
    "cr\r\nlf", 'quo"te', '"', '=cmd()', '+1', '-1', '@SUM(A1)', "\tx",
    "\rx", "'=x", "'", "\x{202e}turned", "\x{200f}", "nul\x{1}\x{1b}[31m",
    '=HYPERLINK("http://x","y")', 'x,y', ',', '{"a":1}', '</script>',
    "\x{2028}", "\x{1f600}", 'CEF:0|x|', ' ', 'x' x 200, "\x{feff}=1",
    '\\|', '\\\\=', "\x{7f}\x{85}", '%s%n', "\\\n", '');
my @where = qw(type host trail request_id caller operation credentials region
    endpoint client_addr server method uri result reason status upstream_addr
    sent duration_ms count first trace_id attempt pid later "l|=at.er);

$trail = $tool->trail;
my @said;
for my $string (@hostile) {
    push @said, $string;
    $trail->record((map { $_ => $string } @where),
        user => { plain => $string }, members => [ $string ],
        token => { kind => $string, generation => $string,
            fingerprint => $string });
}
my $hostile = $tool->write('hostile.jsonl', $trail->lines);

# As CEF and CSV show it.
sub shown {
    my ($string, $ends) = @_;
    my $kept = $ends ? qr/[\n\r]/ : qr/(?!)/;
    my $hidden = qr/[\x{0}-\x{1f}\x{7f}-\x{9f}\x{61c}\x{200b}-\x{200f}]
        | [\x{2028}-\x{202e}\x{2060}-\x{206f}\x{feff}]/x;
    $string =~ s/(?!$kept)$hidden/?/g;
    utf8::encode($string);
    return $string;
}

for my $format (qw(ocsf ecs)) {
    @events = export($format, $hostile);
    is scalar @events, scalar @said, "$format: an event a line";
    for my $n (0 .. $#said) {
        my $one = eval { $json->decode($events[$n]) } || {};
        my $what = sprintf '%vx', substr $said[$n], 0, 12;
        my $path = $format eq 'ocsf' ? 'unmapped' : 'tsface';
        is $one->{$path}{later}, $said[$n], "$format: $what";
        is $one->{$path}{credentials}, $said[$n], 'the same';
        is_deeply $one->{$path}{members}, [ $said[$n] ], 'within an array';
        is $one->{$path}{token}{kind}, $said[$n], 'within an object';
        is_deeply [ doubled($events[$n]) ], [], 'no name is there twice';
        unlike $events[$n], qr/[\x00-\x09\x0b-\x1f\x7f]|\xe2\x80[\xa8-\xae]/,
            'nothing that a terminal could be misled by';
    }
}

@events = export('cef', $hostile);
is scalar @events, scalar @said, 'cef: an event a line';
for my $n (0 .. $#said) {
    my ($header, $pair) = cef($events[$n]);
    my $what = sprintf '%vx', substr $said[$n], 0, 12;
    my $id = shown($said[$n], 0);
    is $header && $header->[4], length $id ? "$id.$id" : '', "cef: $what";
    is $pair->{suser}, length $said[$n] ? shown($said[$n], 1) : undef,
        'in a value';
    is $pair->{src}, undef, 'is no other one';
    like $pair->{cs6}, qr/^[0-9a-f]{64}$/, 'and the last is whole';
}

($head, @rows) = csv(join '', export('csv', $hostile));
is scalar @rows, scalar @said, 'csv: a row a record';
for my $n (0 .. $#said) {
    my %row;
    @row{@$head} = @{ $rows[$n] };
    my $what = sprintf '%vx', substr $said[$n], 0, 12;
    is scalar(grep { /^[=+\-@\t\r]/ } @{ $rows[$n] }), 0,
        "csv: $what: no cell is a formula";
    is $row{caller} =~ s/^'//r, shown($said[$n], 0), 'its text';
}
like join('', export('csv', '--caller', '=cmd()', $hostile)),
    qr/,"'=cmd\(\)",/, 'csv: an apostrophe keeps a formula from being one';

# --- filters, limit, usage

is scalar(() = export('ecs', '--type', 'outcome', $file)), 4,
    'filters are those of show';
for my $filter ([ '--region', 'eu', 5 ], [ '--credentials', 'acme_eu', 5 ],
    [ '--client-addr', 'unix:', 1 ], [ '--reason', 'truncated', 1 ],
    [ '--status', '404', 1 ], [ '--region', 'us', 0 ])
{
    my ($option, $value, $n) = @$filter;
    is scalar(() = export('ecs', $option, $value, $file)), $n,
        "$option $value: $n";
}

my ($code, $out, $err) = $tool->run('export', @key, '--format', 'csv',
    '--limit', 2, $file);
is $code, 0, '--limit';
is scalar(() = $out =~ /\n/g), 3, 'two rows and the heading';
like $err, qr/^--limit: what is behind was not read$/m, 'which is said';
($code, $out) = $tool->run('show', @key, '--json', '--limit', 3, $file);
is $out, join('', ($trail = $tool->read($file)) =~ /\A(?:.*\n){3}/g),
    'show --limit';

for my $bad ([ 'export', $file ], [ 'export', '--format', 'xml', $file ],
    [ 'show', '--format', 'csv', $file ], [ 'export', '--format', 'csv',
    '--limit', 'x', $file ], [ 'orphans', '--status', 200, $file ])
{
    ($code, $out, $err) = $tool->run(@$bad);
    is $code, 2, join ' ', map { s{.*/}{}r } @$bad;
    ok length $err && !length $out, 'and a reason';
}

$tool->write('broken.jsonl', $tool->read($file) =~ s/acme_eu/acme_us/r);
($code, $out, $err) = $tool->run('export', @key, '--format', 'ecs',
    $tool->dir . '/broken.jsonl');
is $code, 1, 'a trail that is not whole is exported';
is scalar(() = $out =~ /\n/g), scalar @kinds, 'all of it';
like $err, qr/: seq 2: changed: .*\nNOT WHOLE: /, 'and told of';

# --- a NUL hides nobody, and what is no record is not shown as one

my $nul = $tool->trail;
$nul->raw('"type":"intent","request_id":"r","attempt":1,"caller":"a\u0000b"'
    . ',"members":["\\\\u0000","\u0000"]');
my $nul_file = $tool->write('nul.jsonl', $nul->lines);
($code, $out, $err) = $tool->run('show', @key, $nul_file);
is $code, 0, 'show: a caller with a NUL' or diag $err;
like $out, qr/^1 .* intent .* a\x{ef}\x{bf}\x{bd}b$/m, 'is shown';
($code, $out) = $tool->run('show', @key, '--json', $nul_file);
is $out, join('', $nul->lines), 'as it is with --json';
($code, $out) = $tool->run('orphans', @key, $nul_file);
like $out, qr/^1 .* a\x{ef}\x{bf}\x{bd}b$/m, 'orphans: as well';
for my $format (qw(ocsf ecs cef csv)) {
    ($code, $out, $err) = $tool->run('export', @key, '--format', $format,
        $nul_file);
    is $code, 0, "export: $format" or diag $err;
    like $out, qr/a\x{ef}\x{bf}\x{bd}b/, 'with the name';
}

my ($first) = $nul->lines;
$tool->write('twice.jsonl', $first, $first =~ s/"caller":"[^"]*"/"caller":/r);
($code, $out, $err) = $tool->run('export', @key, '--format', 'ecs',
    $tool->dir . '/twice.jsonl');
is $code, 1, 'half a record that is out of order';
is scalar(() = $out =~ /\n/g), 1, 'is no event';

done_testing();
