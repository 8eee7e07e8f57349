#!/usr/bin/perl
# A store that is stopped, forgets, refuses, or answers what nobody asked: the
# worker lives on, requests are decided by on_failure, and the store is asked
# again when it is well.

use lib 't/lib';
use TSFace::Test;
use TSFace::Store;

my $t = TSFace::Test->new(workers => 1, timeout => 180);
my $store = TSFace::Store->new($t);
my $fake = TSFace::Store->fake($t);
my $locked = TSFace::Store->new($t, args => [ '--requirepass',
    'a password of the store' ], password => 'a password of the store');

$t->secret('store', "a password of the store\n");
$t->secret('wrong', "not the password of the store\n");

$t->{blocks} = {
    REAL => sub { 'unix:' . $store->socket },
    FAKE => sub { 'unix:' . $fake->socket },
    LOCKED => sub { '127.0.0.1:' . $locked->port },
};

my @stores = (
    [ real    => "server %%REAL%%; on_failure refuse; timeout 1s;" ],
    [ open    => "server %%REAL%%; on_failure allow; timeout 1s;\n"
        . "prefix open;" ],
    [ fake    => "server %%FAKE%%; nodes 2; timeout 1s;\n"
        . "connect_timeout 1s;" ],
    [ locked  => "server %%LOCKED%%; password file:%%DIR%%/secrets/store;\n"
        . "on_failure refuse; database 3; timeout 1s;" ],
    [ wrong   => "server %%LOCKED%%; password file:%%DIR%%/secrets/wrong;\n"
        . "on_failure refuse; user default;" ],
    [ alone   => "server unix:%%DIR%%/nowhere; nodes 2;" ],
    [ many    => "server unix:%%DIR%%/nowhere; nodes 100;" ],
    [ after   => "server %%LOCKED%%; password file:%%DIR%%/secrets/store;\n"
        . "nodes 2; prefix after; timeout 1s;" ],
    [ nowhere => "server unix:%%DIR%%/nowhere; server %%REAL%%;\n"
        . "on_failure refuse; prefix nowhere; timeout 1s;" ],
);

my $zones = join "\n", map {
    "tsface_limit_store $_->[0] {\n$_->[1]\n}\n"
    . "tsface_limit_zone \$http_x_key zone=$_->[0]:1m rate=6r/h burst=5\n"
    . "store=$_->[0];\n"
} @stores;
my $locations = join "\n", map {
    "location \@$_->[0] { tsface_pass sandbox; tsface_limit zone=$_->[0]; }"
} @stores;

my $CONF = <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%
    $zones

    tsface_caller \$http_x_key;
    tsface_audit  trail;

    server {
        listen 127.0.0.1:%%PORT_0%%;

        $locations

        location / {
            error_page 418 = \@\$http_x_store;
            return 418;
        }

        location = /status {
            tsface_status json;
        }
        location = /metrics {
            tsface_status prometheus;
        }
    }
}
END
$t->start($CONF);

sub status {
    my ($name) = @_;
    my ($found) = grep { $_->{name} eq $name }
        @{ http($t->port(0), 'GET', '/status')->json->{limit_stores} };
    return $found;
}

sub up {
    my ($name) = @_;
    return $t->wait_for(sub { (status($name)->{workers}{up} || 0) == 1 }, 20);
}

sub ask {
    my ($name, $key) = @_;
    return $t->revoke('user-1', headers => [ 'X-Store', $name, 'X-Key', $key ]);
}

sub statuses {
    my ($n, $name, $key) = @_;
    return join ' ', map { ask($name, $key)->status } 1 .. $n;
}

# --- passwords, databases, a list of servers

ok up($_), "$_: up" for qw(real open locked nowhere);
is statuses(7, 'locked', 'a'), '204 204 204 204 204 204 429', 'with a password';
is scalar(@{ $locked->command('KEYS', '*') }), 0, 'not in database 0';
is statuses(7, 'nowhere', 'a'), '204 204 204 204 204 204 429',
    'the second server, as the first is not there';

my $answer = ask('wrong', 'a');
is $answer->status . ' ' . $answer->problem, '503 limit_undecided',
    'a wrong password';
is $answer->header('Retry-After'), 1, 'Retry-After';
like $t->error_log, qr/"wrong" at 127.0.0.1:\d+ failed: error WRONGPASS; /,
    'is told';
cmp_ok status('wrong')->{failures}{error}, '>', 0, 'and counted';

# --- a node's share: half of six, and one request more every 20 minutes

is statuses(5, 'alone', 'a'), '204 204 204 429 429', 'the share of one of two';
$answer = ask('alone', 'a');
my $retry = $answer->header('Retry-After');
ok $retry > 1100 && $retry <= 1200, "Retry-After $retry";
is $answer->header('RateLimit') =~ /"alone";r=(\d+)/ && $1, 0, 'RateLimit';
is statuses(3, 'many', 'a'), '204 429 429', 'at least one';

ok up('after'), 'up';
is statuses(4, 'after', 'a'), '204 204 204 204', 'four of six by the store';
is ask('after', 'b')->status, 204, 'one of six';
$locked->kill('KILL');
ok $t->wait_for(sub { status('after')->{workers}{down} }, 10), 'it is gone';
is statuses(2, 'after', 'a'), '204 429', 'going on from what it had said';
is statuses(3, 'after', 'b'), '204 204 429', 'the same with more left';
is status('after')->{undecided}{local}, 5, 'counted';

# --- the script was flushed

is statuses(2, 'real', 'flush'), '204 204', 'two';
$store->command('SCRIPT', 'FLUSH');
is statuses(5, 'real', 'flush'), '204 204 204 204 429', 'and four after it';
is status('real')->{undecided}{refuse}, 0, 'nobody noticed';

# --- somebody else wrote to a key

my ($key) = grep { /\}:real:/ } @{ $store->command('KEYS', '*') };
$store->command('DEL', $key);
$store->command('LPUSH', $key, 'x');
is ask('real', 'flush')->status, 429, 'a list: remembered here';
$store->command('SET', $key, $_)
    and is(ask('real', 'flush')->status, 429, "$_: remembered here")
    for qw(nan -inf x 0x10 -1);
$store->command('SET', $key, 'inf');
is ask('real', 'flush')->status, 429, 'inf: cut down';

# --- stopped

$store->kill('STOP');
my $start = time();
$answer = ask('real', 'stop');
my $took = time() - $start;
is $answer->status . ' ' . $answer->problem, '503 limit_undecided', 'stopped';
cmp_ok $took, '>=', 0.99, 'after the timeout';
cmp_ok $took, '<', 8, "but not much: $took";

$start = time();
is statuses(20, 'real', 'stop'), join(' ', (503) x 20), 'refused';
is statuses(20, 'open', 'stop'), join(' ', (204) x 20), 'allowed';
$took = time() - $start;
cmp_ok $took, '<', 20 * 1, "without a wait for each: $took";
cmp_ok status('real')->{failures}{timeout}, '>=', 1, 'counted';

$store->kill('CONT');
ok up('real') && up('open'), 'up again';
is statuses(7, 'real', 'go'), '204 204 204 204 204 204 429', 'asked again';

# --- slow: the answer comes, but to nobody

my $connects = status('real')->{connects};
$store->kill('STOP');
is ask('real', 'late')->status, 503, 'slow';
$store->kill('CONT');
ok $t->wait_for(sub { status('real')->{late} }, 10), 'an answer was late';
ok up('real'), 'asked again';
is status('real')->{connects}, $connects, 'on the same connection';
is statuses(6, 'real', 'late'), '204 204 204 204 204 429',
    'what was late counted';

# --- a worker that exits does not wait for an idle connection, one that
# waits for the store sees its request through

$start = time();
$t->reload;
cmp_ok time() - $start, '<', 10, 'old worker gone';
ok up('real'), 'up';
$store->kill('STOP');
my $socket = $t->send_revoke('user-1',
    headers => [ 'X-Store', 'real', 'X-Key', 'exit' ]);
sleep 0.03;
$t->reload(undef, wait => 0);
like read_answer($socket, time() + 10, 'POST')->status, qr/^503$/,
    'answered by the old worker';
$store->kill('CONT');
ok up('real'), 'up';

# --- what no store answers

my @answers = (
    [ malformed => 'http'       => "HTTP/1.1 400 Bad Request\r\n\r\n" ],
    [ malformed => 'number'     => ":1\r\n" ],
    [ malformed => 'status'     => "+OK\r\n" ],
    [ malformed => 'nil'        => "\$-1\r\n" ],
    [ malformed => 'nil array'  => "*-1\r\n" ],
    [ malformed => 'no array'   => "*0\r\n" ],
    [ malformed => 'short'      => "*1\r\n\$1\r\n1\r\n" ],
    [ malformed => 'long'       => "*3\r\n\$1\r\n1\r\n\$1\r\n0\r\n\$1\r\n0\r\n" ],
    [ malformed => 'numbers'    => "*2\r\n:1\r\n:0\r\n" ],
    [ malformed => 'no number'  => "*2\r\n\$1\r\n1\r\n\$1\r\nx\r\n" ],
    [ malformed => 'empty'      => "*2\r\n\$1\r\n1\r\n\$0\r\n\r\n" ],
    [ malformed => 'negative'   => "*2\r\n\$1\r\n1\r\n\$2\r\n-1\r\n" ],
    [ malformed => 'large'      => "*2\r\n\$1\r\n1\r\n\$16\r\n9999999999999999\r\n" ],
    [ malformed => 'very large' => "*2\r\n\$1\r\n1\r\n\$40\r\n" . 9 x 40 . "\r\n" ],
    [ malformed => 'two'        => "*2\r\n\$1\r\n2\r\n\$1\r\n0\r\n" ],
    [ malformed => 'unjust'     => "*2\r\n\$1\r\n0\r\n\$1\r\n0\r\n" ],
    [ malformed => 'nested'     => "*1\r\n" x 9 ],
    [ malformed => 'array'      => "*2147483647\r\n" ],
    [ malformed => 'more array' => "*99999999999999\r\n" ],
    [ malformed => 'bulk'       => "\$536870912\r\n" . 'x' x 100_000 ],
    [ malformed => 'line'       => '+' . 'x' x 100_000 ],
    [ malformed => 'RESP3'      => "%1\r\n+a\r\n+b\r\n" ],
    [ malformed => 'two at once' => "*2\r\n\$1\r\n1\r\n\$1\r\n0\r\n" x 2 ],
    [ error     => 'an error'   => "-ERR a password of the store\r\n" ],
    [ error     => 'no code'    => "-\r\n" ],
    [ error     => 'loading'    => "-LOADING Redis is loading\r\n" ],
    [ error     => 'cluster'    => "-CLUSTERDOWN Hash slot not served\r\n" ],
    [ error     => 'moved to a name' => "-MOVED 1 example.com:6379\r\n" ],
    [ error     => 'moved nowhere'   => "-MOVED 1 :6379\r\n" ],
    [ error     => 'moved for ever'
        => "-MOVED 1 127.0.0.1:" . $fake->port . "\r\n" ],
    [ error     => 'noscript for ever' => "-NOSCRIPT No matching script\r\n" ],
    [ timeout   => 'half'       => "*2\r\n\$1\r\n1\r\n\$1" ],
    [ timeout   => 'nothing'    => '' ],
    [ closed    => 'the end'    => 'close' ],
);

my $n = 0;

for my $case (@answers) {
    my ($class, $name, $bytes) = @$case;

    # to a question when all was well; to the first thing that is asked

    for my $when ($name =~ /for ever/ ? 'EVALSHA|EVAL' : qw(EVALSHA EVAL)) {
        $fake->says('', '');
        $t->reload;
        ok up('fake'), 'up';
        is ask('fake', 'x' . ++$n)->status, 204, 'and decides';
        my $before = status('fake');

        $fake->says($when, $bytes);
        if ($when =~ /EVALSHA/) {
            is ask('fake', 'x' . ++$n)->status, 204, "$name: by the share";
        } else {
            $t->reload;
        }
        ok $t->wait_for(sub {
            status('fake')->{failures}{$class} > $before->{failures}{$class}
                || $name =~ /two at once/ && $when eq 'EVALSHA'
        }, 10), "$name to $when: $class"
            or diag explain $before, status('fake');
    }
}

cmp_ok status('fake')->{undecided}{local}, '>=', scalar(@answers) - 2,
    'decided by the share';

# --- it takes the probe, and sends all else to itself, which is not for ever

$fake->says('', '');
$t->reload;
ok up('fake'), 'up';
my $errors = status('fake')->{failures}{error};
$fake->says('EVALSHA', '-MOVED 1 127.0.0.1:' . $fake->port . "\r\n");
ok $t->wait_for(sub {
    ask('fake', 'moved');
    return status('fake')->{failures}{error} > $errors;
}, 10), 'moved from node to node: a failure at last';

unlike $t->error_log, qr/a password of the store/, 'no error is quoted';

done_testing;
