#!/usr/bin/perl
# Four workers under load never let through more than a limit allows, and not
# fewer either: in whatever time, burst + 1 and what the rate makes of it.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $t = TSFace::Test->new(workers => 4, timeout => 120);

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    tsface_audit_trail trail {
        file       %%DIR%%/trail/trail.jsonl;
        key        file:%%DIR%%/secrets/audit.key;
        durability write;
        timeout    20s;
    }

    tsface_limit_zone all zone=plain:1m   rate=50r/s burst=20;
    tsface_limit_zone all zone=delayed:1m rate=50r/s burst=4;
    tsface_limit_zone all zone=dry:1m     rate=1r/s;

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        tsface_caller $http_x_caller;
        tsface_audit  trail;

        location / {
            tsface_pass  sandbox;
            tsface_limit zone=plain;
            tsface_limit zone=dry dry_run;
            add_header   X-Pid $pid always;
        }
        location = /status { tsface_status json; }
    }

    server {
        listen 127.0.0.1:%%PORT_1%% reuseport;
        tsface_caller $http_x_caller;
        tsface_audit  trail;

        location / {
            tsface_pass  sandbox;
            tsface_limit zone=delayed delay=30;
            add_header   X-Pid $pid always;
        }
    }
}
END

my $sandbox = $t->sandbox;

# Asks without a pause from eight clients for a while: how many answers had
# which status, by how many workers, and how long it took altogether.

sub storm {
    my ($port, $seconds) = @_;

    my @pipes;
    my $start = time;

    for my $client (1 .. 8) {
        my $pid = open my $pipe, '-|';
        die "fork: $!\n" if !defined $pid;
        if (!$pid) {
            while (time < $start + $seconds) {
                my $answer = $t->revoke('user-1', port => $port);
                print join(' ', $answer->status || $answer->error,
                    $answer->header('X-Pid') || 0), "\n";
            }
            close STDOUT;
            POSIX::_exit(0);
        }
        push @pipes, $pipe;
    }

    my (%count, %worker);
    for my $pipe (@pipes) {
        while (<$pipe>) {
            my ($status, $worker) = /^(.*) (\d+)$/;
            $count{$status}++;
            $worker{$worker}++ if $status eq '204';
        }
        close $pipe;
    }

    return (\%count, scalar keys %worker, time - $start);
}

for my $row ([ plain => 0, 20, 4 ], [ delayed => 1, 4, 6 ]) {
    my ($name, $port, $burst, $seconds) = @$row;

    my $before = $sandbox->revokes;
    my ($count, $workers, $took) = storm($t->port($port), $seconds);
    my $passed = $sandbox->revokes - $before;
    my $most = $burst + 1 + 50 * $took;

    is $count->{204}, $passed, "$name: $passed of "
        . eval { join '+', map { $count->{$_} } sort keys %$count }
        . ' went through';
    cmp_ok $passed, '<=', $most, "never more than $most";
    cmp_ok $passed, '>=', 0.8 * ($burst + 1 + 50 * $seconds),
        'and not many fewer';
    cmp_ok $workers, '>=', 2, "in $workers workers";

    my $stat = $t->limit_stat($name);
    is $stat->{allowed} + $stat->{delayed}, $passed, 'each is counted';
    is $stat->{refused}, $count->{429} || 0, 'and each refused one';
    is join(' ', sort keys %$count), $name eq 'plain' ? '204 429' : '204',
        'no other answer';
}

cmp_ok $t->limit_stat('dry')->{dry_run}, '>', 100, 'a dry run counts beside it';

done_testing;
