#!/usr/bin/perl
# Zones that are too small for what they hold: told once, refused with a
# reason, and well again as soon as there is room.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 2);
$t->secret('s', 'the-secret-of-zone_full.t');

# A token endpoint whose tokens are as long as a file says.

sub token_size {
    my ($size) = @_;
    rename $t->write_file('tmp/size.new', $size), $t->dir . '/tmp/size';
    return;
}

token_size(8000);
my $token_port = $t->fake_server(sub {
    my ($socket) = @_;
    while (read_request($socket, 30)) {
        my $body = '{"access_token":"' . 't' x $t->read_file('tmp/size')
            . '","token_type":"Bearer","expires_in":3600}';
        print $socket "HTTP/1.1 200 OK\r\nContent-Length: "
            . length($body) . "\r\n\r\n$body";
    }
});

my $port = $t->fake_server(sub {
    my ($socket) = @_;
    while (my $request = read_request($socket, 30)) {
        my $length = length $request->{headers}{authorization};
        print $socket "HTTP/1.1 200 OK\r\nContent-Length: "
            . length($length) . "\r\n\r\n$length";
    }
});

# Hardly more than the smallest zone that ten credentials may have: room for ten
# tokens of 2 KiB each and their successors, but not for ten of 8. Those take two
# pages each, and one page is left over: for short tokens.

my @names = map { "c$_" } 0 .. 9;

sub conf {
    my ($client, $key) = @_;

    my $blocks = join "\n", map { <<"END" } @names;
    tsface_credentials $_ {
        endpoint       http://127.0.0.1:$port/cis;
        token_endpoint http://127.0.0.1:$token_port/oidc/token;
        client_id      $client-$_;
        client_secret  file:%%DIR%%/secrets/s;
        token_wait     500ms;
        min_interval   1s;
    }
END

    $key ||= '$http_x_key';

    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%TRAIL%%
    tsface_zone zone=tsface:96k;
$blocks
    tsface_limit_zone \$http_x_day zone=day:32k rate=1r/d;
    tsface_limit_zone $key         zone=fast:32k rate=20r/s;
    tsface_limit_zone \$http_x_two zone=two:32k rate=2r/d burst=1;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        tsface_caller anonymous;
        tsface_audit  off;

        location / {
            tsface_pass  \$http_x_which;
            tsface_limit zone=day;
            tsface_limit zone=fast;
            tsface_limit zone=two;
        }
    }
}
END
}

sub ask {
    my ($which, %headers) = @_;
    return $t->revoke('u', caller => undef,
        headers => [ 'X-Which', $which, %headers ]);
}

sub logged {
    my ($words) = @_;
    return scalar grep { /$words/ } split /\n/, $t->error_log;
}

my $full = qr/\[crit\].*tsface_zone "tsface" is full/;
$t->start(conf('first'));

# --- tokens

my %name;
ok $t->wait_for(sub {
    %name = map { $_ => ask($_)->status } @names;
    return (grep { $_ == 200 } values %name) >= 5
        && logged($full) >= grep { $_ != 200 } values %name;
}, 10), 'some tokens can be kept';

my @poor = sort grep { $name{$_} != 200 } @names;
ok @poor, 'and some cannot: ' . scalar @poor;

my $answer = ask($poor[0]);
is $answer->status . ' ' . $answer->problem, '503 no_token', 'no token';
like $answer->header('Retry-After'), qr/^\d+$/, 'Retry-After';

sleep 3;
for my $name (@poor) {
    is logged(qr/$full.*"$name"/), 1, "$name: told once, not with each try";
}

token_size(100);
ok $t->wait_for(sub { !grep { ask($_)->status != 200 } @poor }, 40),
    'shorter tokens: all have one';
is ask($poor[0])->body, 107, 'a short one';
my ($rich) = grep { $name{$_} == 200 } @names;
is ask($rich)->body, 8007, 'the others still have theirs';

# --- slots: each change of the client's name takes new ones, and the old are
# kept for those who may come back

my $no_slot = qr/$full: credentials "c\d" can't be used/;
my $turn = 0;
until (logged($no_slot) || ++$turn > 6) {
    $t->reload(conf("turn$turn"));
}
ok logged($no_slot), "no room for another slot after $turn reloads";
my ($name) = $t->error_log =~ /$full: credentials "(c\d)" can't be used/;
$answer = ask($name);
is $answer->status . ' ' . $answer->problem, '503 no_token', "$name: 503";
is $answer->header('Retry-After'), 60, 'not soon';

$t->reload(conf('first'));
is ask($_)->status, 200, "$_: as before" for $rich, $poor[0], $name;

# --- a limit zone: 1r/d, so that each key limits somebody

my $n = 0;
my $status = 200;
while ($status == 200 && $n < 2000) {
    $n++;
    $status = ask($rich, 'X-Day', "key $n")->status;
}
cmp_ok $n, '>', 100, "$n keys: the zone is full";

$answer = ask($rich, 'X-Day', 'another');
is $answer->status, $status, 'refused';
is $answer->problem, 'limited', 'limited';
is $answer->header('Retry-After'), 1, 'for a moment';
like $answer->header('RateLimit-Policy') || 'day', qr/day/, 'by this limit';
ask($rich, 'X-Day', "more $_") for 1 .. 20;
is logged(qr/\[crit\].*tsface_limit_zone "day" is full: each of its \d+ keys/),
    1, 'told once';
is ask($rich, 'X-Day', 'key 1')->problem, 'limited', 'nothing was forgotten';
is ask($rich)->status, 200, 'no key, no limit';

# --- all or nothing: what the full zone refuses costs no other limit anything

for (1 .. 5) {
    is ask($rich, 'X-Day', "new $_", 'X-Two', 'b')->problem, 'limited',
        'refused by one';
}
is join(' ', map { ask($rich, 'X-Two', 'b')->status } 1 .. 3), '200 200 429',
    'not counted by the other';

# A rate that says no is told rather than the want of memory.
$answer = ask($rich, 'X-Day', 'new', 'X-Two', 'b');
is $answer->status, 429, 'both refuse: the rate';
like $answer->header('RateLimit'), qr/two/, 'is what the caller is told of';

# --- keys that limit nobody any more make room, many times over

my @bad = grep { $_->status != 200 }
    map { ask($rich, 'X-Key', "key $_") } 1 .. 2 * $n;
if (grep { $_->problem ne 'limited' } @bad) {
    fail 'limited, or not at all';
}
# On a machine that answers more than n in 1/20 s there may be no room.
cmp_ok scalar @bad, '<', $n, 'evicted';
sleep 0.2;
is ask($rich, 'X-Key', 'key ' . 2 * $n)->status, 200, 'the last';
is ask($rich, 'X-Key', 'key ' . 2 * $n)->status, 429, 'is limited';

# --- a reload keeps the times, and takes no other key for the same zone

$t->reload(conf('first'));
is ask($rich, 'X-Day', 'key 1')->status, 429, 'a reload keeps them';

$t->allow(qr/uses the "\$http_x_other" key/);
$t->configure(conf('first', '$http_x_other'));
kill 'HUP', $t->master;
ok $t->wait_for(sub { logged(qr/\[emerg\].*tsface_limit_zone "fast" uses the/
    . qr/ "\$http_x_other" key while previously it used the "\$http_x_key"/) },
    10), 'another key: refused';
is ask($rich)->status, 200, 'and all goes on';

done_testing;
