#!/usr/bin/perl
# The trail is rotated as logrotate does it: renamed, with USR1 after it or
# without; under load, by all workers at once.  The chain goes on in the new
# file, and old and new together verify as one.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $t = TSFace::Test->new(workers => 4);
my $sandbox = $t->sandbox;
my $trail = $t->dir . '/trail/trail.jsonl';

# A rotated file by itself begins in the middle of the chain.
$t->allow(qr/^trail: line 1: the mac does not follow/,
    qr/^trail: outcome without intent/);

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

my @old;        # the files renamed so far

sub rotate {
    my ($signal) = @_;
    push @old, "$trail." . (@old + 1);
    rename $trail, $old[-1] or die "$trail: $!\n";
    kill $signal, $t->master if $signal;
    return;
}

# All files as one: its records, and the complaints.
sub whole {
    my $all = $t->write_file('tmp/all.jsonl',
        join '', map { $t->read_file($_) } @old, $trail);
    return TSFace::Trail::read_trail($all, $t->read_file('secrets/audit.key'));
}

# The members of one file that matter here.
sub seqs {
    my ($file) = @_;
    return $t->read_file($file) =~ /^\{"v":1,"seq":(\d+)/mg;
}

is $t->revoke('user-1')->status, 204, 'revoked';

for my $signal ('USR1', undef) {
    my $how = $signal ? "rename and $signal" : 'rename alone';
    my @before = seqs($trail);
    rotate($signal);
    $t->wait_for(sub { -e $trail }, 5) if $signal;
    is $t->revoke('user-2')->status, 204, "$how: revoked";

    ok -s $trail, 'into a new file';
    my @new = seqs($trail);
    my @gone = seqs($old[-1]);
    is $new[0], $gone[-1] + 1, 'its numbers go on';
    cmp_ok $gone[-1], '>=', $before[-1], 'from the old';
    my ($records, $wrong) = whole();
    is_deeply $wrong, [], 'together they are one chain' or diag explain $wrong;
    is scalar @$records, $new[-1], 'and whole';
    my $mode = sprintf '%04o', (stat $trail)[2] & 07777;
    is $mode, '0640', 'the mode is as it was';
}

# Not by nginx's leave: a new file that others may read is closed to them.

rotate();
$t->write_file('trail/trail.jsonl', '');
chmod 0644, $trail or die;
chown((stat $old[-1])[4], -1, $trail) or die if $> == 0;
is $t->revoke('user-2')->status, 204, 'a new file of mode 0644: revoked';
is sprintf('%04o', (stat $trail)[2] & 07777), '0640', 'and closed to others';

# --- under load

for my $signal ('USR1', undef) {
    my $how = $signal ? "rename and $signal" : 'rename alone';
    my $result = $t->under_load(sub {
        for (1 .. 6) {
            rotate($signal);
            sleep 0.3;
        }
    }, clients => 6, pause => 0.002);
    is_deeply [ keys %{ $result->{count} } ], [ 204 ],
        "$how, six times under load: only 204" or diag explain $result->{count};

    my ($records, $wrong) = whole();
    is_deeply $wrong, [], 'all files are one chain'
        or diag explain [ @$wrong[0 .. ($#$wrong > 9 ? 9 : $#$wrong)] ];
    my %outcome = map { $_->{request_id} => 1 }
        grep { $_->{type} eq 'outcome' } @$records;
    is scalar(grep { !$outcome{ $_->{id} } } @{ $result->{answers} }), 0,
        'with all that was answered';
    is scalar(grep { !-s } @old), 0, 'no file is empty';
}

# --- a restart after a rotation finds the end of the chain, too

rotate();
$t->stop;
push @old, "$trail." . (@old + 1) and rename $trail, $old[-1] if -e $trail;
$t->start;
is $t->revoke('user-3')->status, 204, 'renamed, stopped, started: revoked';
my ($records, $wrong) = whole();
is_deeply $wrong, [], 'and still one chain' or diag explain $wrong;
is $records->[-1]{seq}, scalar @$records, 'without a gap, from 1';

done_testing;
