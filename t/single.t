#!/usr/bin/perl
# "master_process off; daemon off": one process does it all, with threads for
# its trail; it reopens by itself, and leaves nothing unwritten.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(blocks => { GLOBALS => \&globals });
my $sandbox = $t->sandbox;
my $dir = $t->dir;

sub globals {
    my $user = $> == 0 ? 'user www-data;' : '';
    return join "\n", $t->module_line, $user, 'daemon off;',
        'master_process off;', "pid $dir/nginx.pid;",
        "error_log $dir/logs/error.log info;",
        'events { worker_connections 256; }';
}

sub conf {
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%
    tsface_limit_zone \$tsface_caller zone=callers:1m rate=10r/m burst=2;

    tsface_audit_trail second {
        file       %%DIR%%/trail/second.jsonl;
        key        file:%%DIR%%/secrets/audit.key;
        durability write;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        tsface_caller \$http_x_caller;
        tsface_audit  trail;
        tsface_limit  zone=callers;
        location / { tsface_pass sandbox; }
        location = /status { tsface_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        tsface_caller \$http_x_caller;
        tsface_audit  second;
        location / { tsface_pass sandbox; }
    }
}
END
}

# Not start(): there are no workers to wait for.

my $pid;

sub run {
    $t->configure(conf());
    $pid = $t->spawn("$dir/logs/output", $t->command);
    ok $t->wait_for(sub { connect_to($t->port) }, 10), 'it listens'
        or diag $t->error_log_tail;
    return;
}

sub ends {
    my ($signal) = @_;
    kill $signal, $pid;
    is $t->wait_pid($pid, 10 * $t->{slow}), 0, "$signal ends it";
    return;
}

my $caller = 0;
sub revoke {
    my (%o) = @_;
    return $t->revoke('user-1', caller => 'c' . ++$caller, %o);
}

run();
# The socket takes connections before the threads are made.
ok $t->wait_for(sub { (() = glob "/proc/$pid/task/*") > 1 }, 10),
    'threads in the one process';
is revoke()->status, 204, 'revoked';
is $t->revoke_me($sandbox->user_token('user-2'), caller => 'me')->status, 204,
    'a user too';
is join(' ', map { $t->revoke('user-1', caller => 'one')->status } 1 .. 4),
    '204 204 204 429', 'limited';
is revoke(port => $t->port(1))->status, 204,
    'a trail that is not synced';
$sandbox->revoke_tokens;
is revoke()->status, 204, 'a new token';

my $status = http($t->port, 'GET', '/status')->json;
is ref $status, 'HASH', 'status';

# --- renamed, and USR1: a new file

rename "$dir/trail/trail.jsonl", "$dir/trail/old.jsonl" or die;
kill 'USR1', $pid;
ok $t->wait_for(sub { -e "$dir/trail/trail.jsonl" }, 5), 'USR1 makes the file';
is revoke()->status, 204, 'revoked into it';
like $t->read_file('trail/trail.jsonl'), qr/"type":"open".*"reason":"rotated"/,
    'it says why';
rename "$dir/trail/old.jsonl", "$dir/trail/before";
$t->write_file('trail/trail.jsonl', $t->read_file('trail/before')
    . $t->read_file('trail/trail.jsonl'));

ends('QUIT');

my @records = $t->records;
my %type;
$type{ $_->{type} }++ for @records;
is $type{intent}, $type{outcome}, 'every intent has its outcome';
is scalar(grep { ($_->{reason} || '') eq 'limited' } @records), 1,
    'the refusal is there';
is scalar(grep { ($_->{reason} || '') eq 'started' } @records), 1,
    'that it started';
is $records[-1]{type}, 'close', 'and, at the end, that it stopped';
is $records[-1]{pid}, $pid, 'one process';

# --- TERM in the middle of requests

run();
my @sockets = map { my $s = connect_to($t->port); print $s
    TSFace::HTTP::build_request('POST', '/v1/users/face/revoke', headers =>
    [ 'X-Caller', "t$_" ], json => { user_id => 'user-1' }); $s } 1 .. 20;
sleep 0.05;
ends('TERM');
undef @sockets;
ok scalar($t->records), 'the trail verifies';

# HUP is not for such a process: nginx 1.22 to 1.30 gives the new configuration
# no init_process and no threads, and ends by a signal with any thread pool.

done_testing;
