#!/usr/bin/perl
# A trail that can't be written: refuse (the default) or forward.
#
# The files are on a tiny file system, which fills up.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
my $dir = $t->dir;

mkdir "$dir/small" or die;
my ($code) = $t->run(10, 'mount', '-t', 'tmpfs', '-o', 'size=64k,mode=0777',
    'none', "$dir/small");
my $mounted = $> == 0 && $code == 0;
plan(skip_all => 'needs root and a tmpfs') if !$mounted;
END {
    system "umount '$dir/small' 2>/dev/null" if $mounted && -d "$dir/small";
}

sub full {
    open my $fh, '>', "$dir/small/filler" or die "filler: $!\n";
    1 while syswrite $fh, 'x' x 512;
    close $fh;
    return;
}

$t->allow(qr/No space left on device/);

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%

    tsface_audit_trail strict {
        file %%DIR%%/small/strict.jsonl;
        key  file:%%DIR%%/secrets/audit.key;
    }

    tsface_audit_trail lenient {
        file       %%DIR%%/small/lenient.jsonl;
        key        file:%%DIR%%/secrets/audit.key;
        on_failure forward;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  strict;
        }
        location = /status  { tsface_status json; }
        location = /metrics { tsface_status prometheus; }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  lenient;
        }
    }
}
END

my $sandbox = $t->sandbox;

is $t->revoke('user-1')->status, 204, 'there is room';
is $t->revoke('user-1', port => $t->port(1))->status, 204, 'there is room';
my $before = $sandbox->revokes;

full();
# What is left of a page still takes records, or an intent without its outcome.
my $halves = 0;
for (1 .. 30) {
    my $answer = $t->revoke('user-1');
    my $half = $answer->status == 503
        && $answer->problem eq 'outcome_unrecorded';
    last if $answer->status != 204 && !$half;
    $halves += $half;
    $before++;
}
for (1 .. 3) {
    my $answer = $t->revoke('user-1');
    is $answer->status, 503, 'refuse: 503';
    is $answer->problem, 'audit_failed', 'problem';
    like $answer->header('Retry-After'), qr/^\d+$/, 'Retry-After';
}
is scalar $sandbox->revokes, $before, 'nothing was forwarded';
like $t->error_log, qr/No space left on device.*strict|strict.*No space left/,
    'the error log says why';

my $forwarded = $sandbox->revokes;
for (1 .. 30) {
    is $t->revoke('user-1', port => $t->port(1))->status, 204, 'forward: 204';
    last if $t->error_log =~ /lenient.*No space|No space.*lenient/;
}
ok $sandbox->revokes > $forwarded, 'forwarded';
like $t->error_log, qr/lenient/, 'and the error log says so';

# What can be read in the error log is counted.
my $status = http($t->port, 'GET', '/status')->json;
my $refused = (() = $t->access_log =~ / 503 /g) - $halves;
is $status->{refusals}{audit_failed}, $refused, 'status: refusals'
    if ok $refused >= 3, 'some were refused';
ok $t->wait_for(sub { http($t->port, 'GET', '/metrics')->body
    =~ /^tsface_trail_failing_workers\{trail="strict"\} [1-9]$/m }, 5),
    'the metrics say that a trail fails';
my ($strict) = grep { $_->{name} eq 'strict' } @{ $status->{trails} };
cmp_ok $strict->{failures}{ENOSPC}, '>=', 3, 'failures by error';
cmp_ok $strict->{lost}, '>=', $strict->{failures}{ENOSPC}, 'and records lost';
is $strict->{errno}, 28, 'errno';
my $unrecorded = () = $t->error_log =~ /could not record the outcome/g;
is $status->{requests}{unrecorded}, $unrecorded, 'status: outcomes unrecorded'
    if ok $unrecorded, 'some outcomes were not recorded';

unlink "$dir/small/filler";
$t->wait_for(sub { $t->revoke('user-1')->status == 204 }, 10);
is $t->revoke('user-1')->status, 204, 'there is room again';

my @records = $t->records(file => "$dir/small/strict.jsonl");
ok @records >= 4, 'the trail goes on, and its chain holds';
my ($exit, $said) = $t->run(20, $t->audit_tool, 'verify', '--from-start',
    '--key', "$dir/secrets/audit.key", "$dir/small/strict.jsonl");
is $exit, 0, 'tsface-audit verify: whole' or diag $said;

$t->stop;
system 'umount', "$dir/small";

done_testing;
