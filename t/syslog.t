#!/usr/bin/perl
# Records go to a real rsyslog as well, over TCP and a unix socket: all of
# them, in order, whole, whatever is killed, renamed or reloaded meanwhile.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;
use TSFace::Rsyslog 'have_rsyslog';

plan(skip_all => 'needs rsyslog') if !have_rsyslog();

my $t = TSFace::Test->new(workers => 4, timeout => 300);
my $dir = $t->dir;
my $trail = "$dir/trail/trail.jsonl";
my $audit = $t->audit_tool;
$t->allow(qr/exited on signal 9/);

my $tcp = TSFace::Rsyslog->new($t);
my $unix = TSFace::Rsyslog->new($t, unix => 1, meta => 1);

sub conf {
    my ($parameters) = @_;
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%

    tsface_audit_trail trail {
        file   %%DIR%%/trail/trail.jsonl;
        key    file:%%DIR%%/secrets/audit.key;
        timeout 20s;
        syslog $parameters;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
        location = /status  { tsface_status json; }
        location = /metrics { tsface_status prometheus; }
    }
}
END
}

sub status {
    return http($t->port, 'GET', '/status')->json->{trails}[0]{syslog};
}

# All lines of the trail, those in renamed files first.
sub trail {
    return map { split /\n/, $t->read_file($_) } map { $_->[0] }
        sort { $a->[1] <=> $b->[1] }
        map { [ $_, $t->read_file($_) =~ /"seq":(\d+)/ ? $1 : 0 ] }
        grep { !/\.(?:chain|sent|torn)\z/ } glob "$trail*";
}

# The receiver has each record, in order; one that is there twice is the same.
sub complete {
    my ($rsyslog, $what) = @_;

    my @want;
    my $ok = $t->wait_for(sub {
        @want = trail();
        my @have = $rsyslog->unique;
        return @want == @have && "@want" eq "@have";
    }, 40);

    my @have = $rsyslog->unique;
    ok $ok, $what or diag scalar(@have) . ' of ' . @want . " records\n"
        . explain(status()) . $t->error_log_tail;

    return scalar @want;
}

# --- it is down at first

$t->start(conf('server=' . $tcp->server));

is $t->revoke("user-$_")->status, 204, 'revoked without a receiver'
    for 1 .. 3;
ok $t->wait_for(sub { status()->{failing} }, 10), 'status: failing';
my $status = status();
is $status->{last_error}, 'connect', 'status: why';
is $status->{sent}, 0, 'status: nothing was sent';
my $count = trail();
cmp_ok $count, '>=', 7, 'an open record, and two of each revoke';
ok $t->wait_for(sub { status()->{backlog} == $count }, 5), 'status: backlog';
ok $t->wait_for(sub { status()->{backlog_bytes} == -s $trail }, 5),
    'status: bytes of it';
ok $t->wait_for(sub { status()->{stalled_ms} > 1000 }, 10), 'status: stalled';
like $t->error_log, qr/syslog server "\Q${\$tcp->server}\E" can't be connected/,
    'error log';
my @told = $t->error_log =~ /can't be connected to/g;
is scalar @told, 1, 'which says so once';

$tcp->start;
complete($tcp, 'it gets all when it is up');
ok $t->wait_for(sub { !status()->{backlog} }, 10), 'status: no backlog';
$status = status();
ok $status->{sender}, 'status: a worker sends';
ok !$status->{failing}, 'status: not failing';
is $status->{last_error}, '', 'status: no error';
is $status->{stalled_ms}, 0, 'status: not stalled';
is $status->{sent}, $count, 'status: sent';
like $t->error_log, qr/takes records again/, 'error log: taken again';

my $metrics = http($t->port, 'GET', '/metrics')->body;
like $metrics, qr/^tsface_audit_syslog_sent_total\{trail="trail"\} $count$/m,
    'metrics: sent';
like $metrics, qr/^tsface_audit_syslog_backlog_records\{trail="trail"\} 0$/m,
    'metrics: backlog';
like $metrics,
    qr/^tsface_audit_syslog_stalled_seconds\{trail="trail"\} 0\.000$/m,
    'metrics: stalled';

# --- what it stored is a trail

my ($code, $output) = $t->run(10, $audit, 'verify', '--from-start', '--key',
    "$dir/secrets/audit.key", "$tcp->{dir}/records");
is $code, 0, 'what it stored verifies';
like $output, qr/^whole: $count records/, 'as a trail';

# --- a name of 512 bytes, a record of nearly 8 KB, characters

$t->revoke("u\x{e4}\"]\\", caller => "\"]\\\xc3\xa4" . 'c' x 500);
$t->revoke('m' x 200, json => { user_id => 'u',
    map { ("]\"$_" . 'x' x 50 => 1) } 1 .. 16 });
complete($tcp, 'records of all sizes and characters');

# --- rsyslog is killed under load, again and again

my $load = $t->load(clients => 4, pause => 0.003);
for (1 .. 8) {
    sleep 0.2 + rand 0.8;
    $tcp->stop('KILL');
    sleep rand 1;
    $tcp->start;
}
sleep 1;
$load->stop;
my $n = complete($tcp, 'rsyslog killed under load: none is lost');
cmp_ok $n, '>', 300, "there was a load: $n records";
note scalar($tcp->lines) - $n, ' came twice';

# --- nginx is killed under load, workers and all

$load = $t->load(clients => 4, pause => 0.003);
for (1 .. 6) {
    sleep 0.2 + rand 0.8;
    my @workers = $t->workers;
    kill 'KILL', rand() < 0.5 ? @workers : $workers[rand @workers];
}
$t->kill_all;
$t->start;
sleep 1;
$load->stop;
complete($tcp, 'nginx killed under load: none is lost');

# --- rotation while it is down

$tcp->stop;
for my $i (1 .. 3) {
    is $t->revoke("user-$i")->status, 204, 'revoked';
    rename $trail, "$trail.$i" or die;
    kill 'USR1', $t->{master};
    is $t->revoke("user-$i")->status, 204, 'revoked, into a new file';
}
ok $t->wait_for(sub { my $s = status(); $s->{failing} && $s->{backlog} >= 12 },
    10), 'it waits in four files';
my $bytes = status()->{backlog_bytes};
kill 'KILL', $t->workers;
$tcp->start;
complete($tcp, 'rotated while it was down: none is lost, files in order');
cmp_ok $bytes, '>', -s "$trail.2", 'status: bytes of all files';

# --- rotation under load

$load = $t->load(clients => 4, pause => 0.003);
for my $i (4 .. 8) {
    sleep 0.3 + rand 0.5;
    rename $trail, "$trail.$i" or die;
    kill 'USR1', $t->{master};
}
sleep 0.5;
$load->stop;
complete($tcp, 'rotated under load');

# --- reload under load, to the other receiver, and back

is status()->{missing}, 0, 'status: nothing is missing';
my @before = trail();
$unix->start;
$load = $t->load(clients => 4, pause => 0.003);
$t->reload(conf('server=' . $unix->server
    . ' facility=local3 severity=notice app_name=face enterprise=64512'));
ok $t->wait_for(sub { $unix->lines > 50 }, 20), 'the other one gets them';
for (1 .. 3) {
    $t->reload;
    sleep 0.3;
}
$t->reload(conf('server=' . $tcp->server));
sleep 1;
$load->stop;

my ($wrong, @messages) = (0);
for my $line ($unix->lines) {
    if ($line =~ /^(\d+)[ ](\S+)[ ](\S+)[ ]face[ ](\d+)[ ](\w+)[ ]
        (\[tsface\@64512[ ].*?"\])[ ](\{.*\})$/x)
    {
        push @messages, { pri => $1, time => $2, host => $3, pid => $4,
            type => $5, data => $6, record => $7 };
    } else {
        $wrong++;
    }
}
is $wrong, 0, 'unix socket: all messages have the form';
my @all = $t->wait_for(sub {
    my %have = map { $_ => 1 } $tcp->lines, map { $_->{record} } @messages;
    return !grep { !$have{$_} } trail();
}, 30);
ok $all[0], 'reloaded under load: each record is at one of them';

for my $m (grep { $_->{type} eq 'outcome' } @messages[0 .. 40]) {
    my $r = JSON::PP->new->utf8->decode($m->{record});
    is $m->{pri}, 19 * 8 + 5, 'priority';
    is $m->{host}, $r->{host}, 'host';
    is $m->{pid}, $r->{pid}, 'process id';
    is $m->{time} =~ s/\+00:00\z/Z/r, $r->{time}, 'time';
    my $data = sprintf '[tsface@64512 trail="trail" seq="%s" type="outcome"'
        . ' request_id="%s" attempt="1" operation="face.revoke"'
        . ' credentials="sandbox" region="custom" result="success"'
        . ' status="204" mac="%s"]', @$r{qw(seq request_id mac)};
    is $m->{data}, $data, 'structured data';
    last;
}

# --- files that are gone: reported, and it goes on

complete_later();
$tcp->stop;
is $t->revoke('user-1')->status, 204, 'revoked';
rename $trail, "$trail.9" or die;
kill 'USR1', $t->{master};
is $t->revoke('user-1')->status, 204, 'revoked';
rename $trail, "$trail.10" or die;
kill 'USR1', $t->{master};
is $t->revoke('user-1')->status, 204, 'revoked';
my @gone = $t->read_file("$trail.10") =~ /\n/g;
unlink "$trail.10" or die;
kill 'KILL', $t->workers;
sleep 0.5;
$tcp->start;
my @rest = trail();
ok $t->wait_for(sub { my @l = $tcp->lines; $l[-1] eq $rest[-1] }, 20),
    'it goes on behind what is gone';
ok $t->wait_for(sub { status()->{missing} == @gone }, 10),
    'status: what is missing' or diag explain status();
like $t->error_log, qr/\b${\scalar @gone} records in front of seq \d+ are in none/,
    'error log: what is missing';

# --- the trail is begun anew, with another key

$t->stop;
rename $trail, "$trail.old" or die;
rename "$trail.chain", "$dir/old.chain" or die;
$t->start;
is $t->revoke('user-1')->status, 204, 'revoked';
my @new = split /\n/, $t->read_file($trail);
like $new[0], qr/"seq":1,/, 'a trail begins anew';
ok $t->wait_for(sub { my @l = $tcp->lines; $l[-1] eq $new[-1] }, 20),
    'and is sent from its beginning';
is_deeply [ ($tcp->lines)[-@new .. -1] ], \@new, 'all of it';
like $t->error_log, qr/was begun anew/, 'as the error log says';

# --- PATH.sent is gone, or broken: twice is better than never

for my $content (undef, "tsface-sent 1 rubbish\n") {
    $t->stop;
    unlink "$trail.sent";
    unlink glob "$trail.[0-9]*";
    unlink "$trail.old";
    $t->write_file("$trail.sent", $content) if defined $content;
    my @lines = $tcp->lines;
    $t->start;
    ok $t->wait_for(sub {
        my @want = trail();
        my @have = $tcp->lines;
        return @have == @lines + @want && "@have[-@want .. -1]" eq "@want";
    }, 20), 'without a position all that is there is sent' or diag
        scalar($tcp->lines) - @lines;
}
like $t->error_log, qr/sent" doesn't say what was sent/, 'error log';

# --- PATH.sent in a folder that workers can't write to: the master makes it

SKIP: {
    skip 'needs root', 6 if $>;

    $t->stop;
    unlink "$trail.sent";
    chown 0, scalar getgrnam('www-data'), "$dir/trail";
    chmod 0750, "$dir/trail";
    $t->start;
    is $t->revoke('user-1')->status, 204, 'revoked';
    complete_later();
    is +(stat "$trail.sent")[4], scalar getpwnam('www-data'), 'its owner';
    is +(stat _)[2] & 0777, 0640, 'and mode';

    unlink "$trail.sent";
    my $lines = $tcp->lines;
    is $t->revoke('user-1')->status, 204, 'revoked, after it was deleted';
    complete_later();
    is $tcp->lines, $lines + 2, 'nothing is sent twice by who sends';
}

done_testing;

sub complete_later {
    my $last = (trail())[-1];
    ok $t->wait_for(sub { my @l = $tcp->lines; $l[-1] eq $last }, 20),
        'up to date' or diag explain status();
    return;
}
