#!/usr/bin/perl
# The detectors: each thing that must fail a test is provoked, and does.

use strict;
use warnings;

use Test::More;

use lib 't/lib';

my $start = <<'END';
use TSFace::Test;
my $t = TSFace::Test->new(timeout => 20);
$t->{module} = 'static';
$t->start('%%GLOBALS%% http { %%HTTP%% server {
    listen 127.0.0.1:%%PORT_0%%; location / { return 200 ok; } } }');
END

my $append = sub {
    return "open my \$f, '>>', \$t->dir . '/$_[0]'; print \$f qq($_[1]\\n);"
        . " close \$f;";
};
my $line = q[{"v":1,"seq":1,"time":"2026-01-01T00:00:00.000000Z",]
    . q["type":"open","mac":"] . '0' x 64 . q["}];

my @rows = (
    [ 'a quiet test', '', undef ],
    [ 'an alert', $append->('logs/error.log', '[alert] x'), 'no alerts' ],
    [ 'an emerg', $append->('logs/error.log', '[emerg] x'), 'no alerts' ],
    [ 'a reference count', $append->('logs/error.log',
        'http request count is zero'), 'no alerts' ],
    [ 'an allowed alert', '$t->allow(qr/expected/);'
        . $append->('logs/error.log', '[alert] expected'), undef ],
    [ 'a killed worker', 'kill KILL => ($t->workers)[0]; sleep 0.3;',
        'no alerts' ],
    [ 'a sanitizer report', $append->('san/asan.1', 'ERROR: leak'),
        'no sanitizer reports' ],
    [ 'a secret in a log', '$t->hide("s3cret-s3cret");'
        . $append->('logs/error.log', 's3cret-s3cret'), 'no secrets' ],
    [ 'a secret of a file', '$t->secret("x", "s3cret-s3cret");'
        . $append->('trail/other.jsonl', '"s3cret-s3cret"'), 'no secrets' ],
    [ 'a JWT in a log', $append->('logs/access.log',
        'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4eHh4In0.x'), 'no secrets' ],
    [ 'a broken chain', "open my \$f, '>', \$t->dir . '/trail/trail.jsonl';"
        . " print \$f '$line', qq(\\n); close \$f;", 'no complaints' ],
    [ 'a failed test', 'ok 0, "wrong";', 'wrong' ],
    [ 'a test that dies', 'die "of this";', undef, 1 ],
    [ 'a test that hangs', 'alarm 1; sleep 20;', undef, 1 ],
);

for my $row (@rows) {
    my ($name, $code, $wanted, $dies) = @$row;

    my $pid = open my $out, '-|';
    die "fork: $!\n" if !defined $pid;
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec $^X, '-It/lib', '-e', "$start $code done_testing;";
    }
    my @lines = <$out>;
    close $out;
    my $failed = $? != 0;

    my @not = grep { /^not ok/ } @lines;
    if ($dies) {
        ok $failed, "$name fails";
    } elsif (defined $wanted) {
        ok $failed, "$name fails";
        is scalar @not, 1, 'in one way' or diag @lines;
        like $not[0] || '', qr/$wanted/, 'for its reason';
    } else {
        ok !$failed, "$name passes" or diag @lines;
    }
}

done_testing();
