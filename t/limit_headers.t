#!/usr/bin/perl
# What limits tell the caller: Retry-After, and RateLimit-Policy and RateLimit
# as draft-ietf-httpapi-ratelimit-headers has them, on every answer after the
# limits were asked.  And what a limit's key can be.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 2);
$t->secret('client.secret', 'the-secret-of-limit_headers.t');

# The endpoint answers as the user's id says; the token endpoint as it should,
# but for the client that it doesn't know.

my %answer = (
    good => "204 No Content\r\n",
    denied => "403 Forbidden\r\nContent-Length: 2\r\n",
    broken => "500 Internal Server Error\r\nContent-Length: 2\r\n",
    draft => "200 OK\r\nContent-Length: 2\r\nRateLimit: \"default\";r=7;t=9\r\n"
        . "RateLimit-Policy: \"default\";q=10;w=60\r\n",
    old => "200 OK\r\nContent-Length: 2\r\nRateLimit: limit=10, remaining=7\r\n"
        . "RateLimit-Policy: 10;w=60\r\nRateLimit-Limit: 10\r\n",
);

my $endpoint = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 30)) {
        my $user = $request->{body} =~ /"user_id":"(\w+)/ ? $1 : 'good';
        last if $user eq 'gone';
        my $head = $answer{$user} || $answer{good};
        print $socket "HTTP/1.1 $head\r\n", $head =~ /Length/ ? '{}' : '';
    }
});

my $token = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 30)) {
        my ($status, $body) = $request->{body} =~ /stranger/
            ? ('401 Unauthorized', '{"error":"invalid_client"}')
            : ('200 OK', '{"access_token":"a-token-of-limit_headers.t",'
                . '"token_type":"Bearer","expires_in":3600}');
        print $socket "HTTP/1.1 $status\r\nContent-Type: application/json\r\n"
            . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
    }
});

sub conf {
    my (%o) = @_;

    my $credentials = join '', map { <<"END" } qw(known stranger);
    tsface_credentials $_ {
        endpoint       http://127.0.0.1:$endpoint/cis;
        token_endpoint http://127.0.0.1:$token/oidc/token;
        client_id      $_;
        client_secret  file:%%DIR%%/secrets/client.secret;
        token_wait     300ms;
    }
END
    my $rate = $o{rate} || '6r/m';
    my $size = $o{size} || '1m';

    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
$credentials
    large_client_header_buffers 4 16k;

    map \$tsface_caller \$limited {
        default  \$tsface_caller;
        trusted  "";
    }

    tsface_limit_zone \$limited zone=per_caller:1m rate=6r/m burst=3;
    tsface_limit_zone all zone=all:1m rate=1000r/h burst=999;
    tsface_limit_zone \$tsface_caller|\$tsface_credentials|\$tsface_operation
                      zone=mixed:1m rate=1r/d;
    tsface_limit_zone \$http_x_key "zone=other's {key}:$size" rate=$rate;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        tsface_caller \$http_x_caller;
        tsface_audit  trail;
        tsface_limit  zone=all;
        tsface_limit  zone=per_caller;

        location / {
            tsface_pass \$http_x_which;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        tsface_caller \$http_x_caller;
        tsface_audit  trail;
        tsface_limit  zone=all;
        tsface_limit_headers off;

        location / {
            tsface_pass known;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_2%%;
        tsface_caller \$http_x_caller;
        tsface_audit  trail;

        location / {
            tsface_limit zone=mixed;
            tsface_pass  \$http_x_which;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_3%%;
        tsface_caller \$http_x_caller;
        tsface_audit  trail;

        location / {
            tsface_limit "zone=other's {key}";
            tsface_pass  known;
        }
    }
}
END
}

sub ask {
    my ($caller, $user, %o) = @_;
    return $t->revoke($user, caller => $caller, %o,
        headers => [ 'X-Which', $o{which} || 'known', @{ $o{headers} || [] } ]);
}

# A list of strings with parameters that are integers (RFC 9651, 3.1):
# [ name, { parameter => value } ], ...; dies if it is anything else.

sub list {
    my ($answer, $name) = @_;

    my $value = join ', ', $answer->all_headers($name);
    my @items;

    while (length $value) {
        $value =~ s/^"((?:[ !#-\[\]-~]|\\["\\])*)"// or die "$name: $value\n";
        my ($string, %parameters) = ($1);

        $parameters{$1} = $2
            while $value =~ s/^; *([a-z*][a-z0-9_.*-]*)=(-?\d{1,15})(?![\d.])//;
        push @items, [ $string, \%parameters ];

        last if $value eq '';
        $value =~ s/^[ \t]*,[ \t]*(?=")// or die "$name: $value\n";
    }

    return @items;
}

sub names { return join ' ', map { $_->[0] } list(@_) }

$t->start(conf());
$t->wait_for(sub { ask('trusted', 'good')->status == 204 }, 10);

# --- an allowed answer

my $answer = ask('a', 'good');
is $answer->status, 204, 'allowed';
is names($answer, 'RateLimit-Policy'), 'per_caller all', 'strictest first';
is names($answer, 'RateLimit'), 'per_caller all', 'the same in both';

my ($policy, $all) = list($answer, 'RateLimit-Policy');
is_deeply $policy->[1], { q => 6, w => 60, 'tsface-burst' => 3 }, 'a policy';
is_deeply $all->[1], { q => 1000, w => 3600, 'tsface-burst' => 999 },
    'and another';
my ($state) = list($answer, 'RateLimit');
is_deeply $state->[1], { r => 3, t => 10 }, 'what is left';
is $answer->header('Retry-After'), undef, 'no Retry-After';

# --- it goes down; a refused one

is + (list(ask('a', 'good'), 'RateLimit'))[0][1]{r}, 3 - $_, "$_ more"
    for 1 .. 3;
my (undef, $before) = list(ask('b', 'good'), 'RateLimit');
$answer = ask('a', 'good');
is $answer->status, 429, 'refused';
is $answer->header('Content-Type'), 'application/problem+json', 'a problem';
($state, $all) = list($answer, 'RateLimit');
is "$state->[0] $state->[1]{r}", 'per_caller 0', 'nothing left';
my $retry = $answer->header('Retry-After');
ok $retry >= 8 && $retry <= 10, "Retry-After $retry";
ok $state->[1]{t} > 30 && $state->[1]{t} <= 40, "all is back: $state->[1]{t}";
is $all->[1]{r}, $before->[1]{r}, 'the other limit: as it was';

# --- answers that say no after the limits were asked, and before

$answer = ask('c', 'denied');
is $answer->status . ' ' . names($answer, 'RateLimit'), '403 per_caller all',
    'denied by the endpoint';
$answer = ask('c', 'broken');
is $answer->status . ' ' . names($answer, 'RateLimit'), '500 per_caller all',
    'an error of the endpoint';
$answer = ask('c', 'gone');
is $answer->problem . ' ' . names($answer, 'RateLimit'),
    'upstream_unreachable per_caller all', 'no answer of the endpoint';
$answer = ask('c', 'good', which => 'stranger');
is $answer->problem . ' ' . names($answer, 'RateLimit'),
    'no_token per_caller all', 'no token';
$answer = ask('d', '');
is $answer->problem, 'user_id_empty', 'a bad request';
is $answer->header($_), undef, "$_: no limit was asked"
    for qw(RateLimit RateLimit-Policy);

# --- limits of the endpoint's own

$answer = ask('e', 'draft');
is names($answer, 'RateLimit'), 'per_caller all default', 'ours, then its';
is names($answer, 'RateLimit-Policy'), 'per_caller all default', 'twice';

$answer = ask('e', 'old');
is names($answer, 'RateLimit'), 'per_caller all',
    'what would spoil the list is left out';
is $answer->header('RateLimit-Limit'), 10, 'what would not is relayed';

# --- switched off

$answer = ask('f', 'good', port => $t->port(1));
is $answer->header($_), undef, "$_: off" for qw(RateLimit RateLimit-Policy);
$answer = ask('f', 'old', port => $t->port(1));
is $answer->header('RateLimit'), 'limit=10, remaining=7', 'relayed as it is';

# --- exempt by a map

is join(' ', map { ask('trusted', 'good')->status } 1 .. 8),
    join(' ', (204) x 8), 'an empty key is exempt';
is names(ask('trusted', 'good'), 'RateLimit'), 'all', 'from this limit';

# --- keys that are made of several values

my @port = (port => $t->port(2));
is ask('g', 'good', @port)->status, 204, 'caller, credentials and operation';
is ask('g', 'good', @port)->status, 429, 'the same';
is ask('h', 'good', @port)->status, 204, 'another caller';
isnt ask('g', 'good', @port, which => 'stranger')->status, 429,
    'other credentials';
isnt $t->revoke_me('a-users-token', caller => 'g', @port,
    headers => [ 'X-Which', 'known' ])->status, 429, 'another operation';

# --- a key of any size, in a zone of any name

@port = (port => $t->port(3));
my $long = 'x' x 12000;
$answer = ask('i', 'good', @port, headers => [ 'X-Key', "${long}a" ]);
is $answer->status, 204, 'a long key';
is names($answer, 'RateLimit'), q(other's {key}), 'a name of any characters';
is ask('i', 'good', @port, headers => [ 'X-Key', "${long}a" ])->status, 429,
    'is limited';
is ask('i', 'good', @port, headers => [ 'X-Key', "${long}b" ])->status, 204,
    'and told from another';

# --- a reload: another rate, the same times; another size, other times

my @key = (headers => [ 'X-Key', 'k' ], @port);
is ask('j', 'good', @key)->status, 204, 'at 6r/m';
$t->reload(conf(rate => '1r/d'));
$answer = ask('j', 'good', @key);
is $answer->status, 429, 'the time stays';
$retry = $answer->header('Retry-After');
ok $retry <= 10, "Retry-After $retry";
is + (list($answer, 'RateLimit-Policy'))[0][1]{w}, 86400, 'at 1r/d';
is ask('j', 'good', @port, headers => [ 'X-Key', 'l' ])->status, 204, 'new';
$retry = ask('j', 'good', @port, headers => [ 'X-Key', 'l' ])
    ->header('Retry-After');
cmp_ok $retry, '>', 80000, "Retry-After $retry: the new rate";

# --- a higher one: nobody waits by the old one

$t->reload(conf(rate => '2r/s'));
$retry = ask('j', 'good', @port, headers => [ 'X-Key', 'l' ])
    ->header('Retry-After');
ok !defined $retry || $retry <= 1, 'at most one interval more';
ok $t->wait_for(sub {
    ask('j', 'good', @port, headers => [ 'X-Key', 'l' ])->status == 204
}, 10), 'then it is let in';

# --- a lower one: old workers, which finish what they have, free no key

my @old = $t->workers;
my @slow = map {
    my $request = TSFace::Test::revoke_request('good', caller => 'j',
        headers => [ 'X-Key', 'm' ]);
    my $socket = connect_to($port[1]) or die "connect: $!\n";
    print $socket substr $request, 0, -1;
    $socket->flush;
    [ $socket, substr $request, -1 ];
} 1 .. 3;
sleep 0.5;

$t->reload(conf(rate => '1r/d'), wait => 0);
ok $t->wait_for(sub {
    !grep { $t->read_file("/proc/$_/cmdline") !~ /shutting down/ }
        grep { TSFace::Test::alive($_) } @old
}, 10), 'old workers only finish what they have';
is ask('j', 'good', @port, headers => [ 'X-Key', 'm' ])->status, 204,
    'in a new worker';

for (@slow) {
    my ($socket, $rest) = @$_;
    print $socket $rest;
    $socket->flush;
    is read_answer($socket, time + 10)->status, 429, 'in an old one';
    sleep 1;
    is ask('j', 'good', @port, headers => [ 'X-Key', 'm' ])->status, 429,
        'and then in a new one';
}

$t->reload(conf(rate => '1r/d', size => '2m'));
is ask('j', 'good', @port, headers => [ 'X-Key', 'l' ])->status, 204,
    'a zone of another size begins anew';
ok + (grep { /\[warn\].*"other's \{key\}" has 2097152 bytes now instead of 1048576/ }
    split /\n/, $t->error_log), 'as nginx says';

done_testing;
