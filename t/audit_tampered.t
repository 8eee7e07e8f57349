#!/usr/bin/perl
# A trail's files are removed, replaced, cut, moved with their folder, or closed
# to the workers, under nginx's hands: what the callers get, what the error log
# says, that each revoke has an intent in a file that is there, and what
# tsface-audit makes of the files.

use lib 't/lib';
use TSFace::Test;

plan(skip_all => 'root may do everything: needs another user for workers')
    if $> != 0;

my $t = TSFace::Test->new(workers => 2, timeout => 120);
my $sandbox = $t->sandbox;
my $dir = $t->dir;
my $file = "$dir/trail/trail.jsonl";
$t->allow(qr/trail/);

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%
    tsface_limit_zone $http_x_limit zone=few:1m rate=1r/h burst=0;
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            tsface_limit  zone=few;
        }
    }
}
END

my $tool = $t->audit_tool;

# (exit code, what it says) of verify.
sub verify {
    my @files = @_;
    return $t->run(20, $tool, 'verify', '--key', "$dir/secrets/audit.key",
        @files);
}

sub whole {
    my ($what, @files) = @_;
    my ($code, $said) = verify('--from-start', @files);
    is $code, 0, "$what: tsface-audit verify: whole" or diag $said;
    return;
}

my $from = 0;
sub said {
    my ($what, $pattern) = @_;
    like substr($t->error_log, $from), $pattern, "$what: the error log";
    return;
}

# A new trail, with six records.
my @all;
sub fresh {
    push @all, $t->revoke('user-1') for 1 .. 3;
    $from = length $t->error_log;
    return;
}

sub clean {
    unlink glob "$dir/trail/*";
    push @all, $t->revoke('user-1') for 1 .. 8;
    unlink glob "$dir/trail/*";
    return;
}

sub revoked {
    my ($what, $n) = @_;
    my $before = () = $sandbox->revokes;
    my @answers = map { $t->revoke('user-2') } 1 .. $n || 1;
    is_deeply [ map { $_->status } @answers ], [ (204) x @answers ],
        "$what: 204";
    my %intent = map { $_->{request_id} => 1 }
        grep { $_->{type} eq 'intent' } map { @{
            (TSFace::Trail::read_trail($_, ''))[0] } } glob "$dir/trail*/*.jsonl*";
    my @seen = map { $_->{headers}{'x-request-id'} } $sandbox->revokes;
    my @lacking = grep { !$intent{$_} } @seen[$before .. $#seen];
    is scalar @lacking, 0, "$what: each has an intent in a file";
    return;
}

sub refused {
    my ($what) = @_;
    my $before = () = $sandbox->revokes;
    my @answers = map { $t->revoke('user-3') } 1 .. 4;
    is_deeply [ map { $_->status . ' ' . $_->problem } @answers ],
        [ ('503 audit_failed') x 4 ], "$what: 503 audit_failed";
    is scalar(() = $sandbox->revokes), $before, "$what: nothing is forwarded";
    return;
}

sub recovers {
    my ($what) = @_;
    ok $t->wait_for(sub { $t->revoke('user-4')->status == 204 }, 10),
        "$what: goes on by itself";
    return;
}

# --- unlinked: Vault goes on writing to a file that nobody will ever read

fresh();
unlink $file or die;
revoked('the file was deleted', 2);
said('the file was deleted', qr/\[crit\].*"trail": the file that was ".*" was deleted/);
recovers('the file was deleted');
ok -s $file, 'the file was deleted: it is there again';
my ($first) = $t->records;
is $first->{type}, 'open', 'with an "open"';
cmp_ok $first->{seq}, '>', 1, 'and not as if nothing had been';
my ($code, $said) = verify('--from-start', $file);
is $code, 1, 'verify --from-start: not whole';
like $said, qr/missing/, 'records are missing';
($code, $said) = verify($file);
is $code, 0, 'what is there is whole';
like $said, qr/begins in the middle/, 'but it begins in the middle';

# --- cut and emptied

clean();
fresh();
truncate $file, (-s $file) / 2 or die;
revoked('the file was cut', 2);
said('the file was cut', qr/\[crit\].*"trail": .*records are missing at the end|"trail": a writer had died/);
($code, $said) = verify('--from-start', $file);
is $code, 1, 'the file was cut: verify: not whole';
like $said, qr/missing: seq \d+.*, as nginx noticed/, 'and where' or diag $said;
is scalar(grep { ($_->{reason} || '') eq 'truncated' } $t->records), 1,
    '"open", truncated';

clean();
fresh();
truncate $file, 0 or die;
revoked('the file was emptied', 2);
said('the file was emptied', qr/\[crit\].*"trail": records are missing at the end/);
($code, $said) = verify('--from-start', $file);
is $code, 1, 'the file was emptied: verify: not whole';

# --- replaced: by a copy of itself, by an older one, by something else

clean();
fresh();
system('cp', '-p', $file, "$dir/copy") == 0 or die;
rename "$dir/copy", $file or die;
revoked('replaced by a copy', 2);
whole('replaced by a copy', $file);

clean();
fresh();
system('cp', '-p', $file, "$dir/older") == 0 or die;
revoked('more');
rename "$dir/older", $file or die;
revoked('replaced by an older one', 2);
said('replaced by an older one', qr/\[crit\].*"trail": records are missing/);
($code, $said) = verify('--from-start', $file);
is $code, 1, 'replaced by an older one: verify: not whole';

clean();
fresh();
rename $file, "$file.1" or die;
$t->write_file($file, "something else\n");
chmod 0666, $file;
refused('replaced by something else');
said('replaced by something else', qr/\[crit\].*"trail": ".*" does not end in one of its records/);
is $t->read_file($file), "something else\n", 'it is left alone';
unlink $file or die;
recovers('replaced by something else');
whole('replaced by something else', "$file.1", $file);

clean();
fresh();
rename $file, "$file.1" or die;
mkdir $file or die;
refused('replaced by a folder');
rmdir $file or die;
recovers('replaced by a folder');
whole('replaced by a folder', "$file.1", $file);

clean();
fresh();
rename $file, "$file.1" or die;
symlink "$dir/elsewhere", $file or die;
refused('replaced by a link');
ok !-e "$dir/elsewhere", 'which is not followed';
unlink $file or die;
recovers('replaced by a link');
whole('replaced by a link', "$file.1", $file);

# --- the folder is gone

clean();
fresh();
rename "$dir/trail", "$dir/trail-away" or die;
refused('the folder is gone');
said('the folder is gone', qr/\[crit\].*"trail": open\(\) ".*" failed; nothing is forwarded/);
rename "$dir/trail-away", "$dir/trail" or die;
recovers('the folder is back');
whole('the folder is back', $file);

# --- nobody may write any more

clean();
fresh();
# a worker follows the name with a batch: until all have the file
$t->wait_for(sub {
    $t->revoke('user-1');
    return !grep { my $pid = $_;
        !grep { (readlink($_) || '') eq $file } glob "/proc/$pid/fd/*"
    } $t->workers;
}, 10) or die "a worker does not follow\n";
chmod 0, $file or die;
chown 0, 0, $file;
revoked('the file was closed to workers, which have it open', 4);
whole('the file was closed', $file);
$t->reload;
refused('and after a reload');
said('and after a reload', qr/\[crit\].*"trail": open\(\) ".*" failed.*\(13: /);
chown +(getpwnam 'www-data')[2, 3], $file;
chmod 0640, $file or die;
recovers('it was opened again');
whole('it was opened again', $file);

my @folder = (stat "$dir/trail")[2, 4, 5];
chmod 0, "$dir/trail" or die;
chown 0, 0, "$dir/trail";
revoked('the folder was closed', 2);
# a worker says so when it meets that twice, a second apart
my $closed = qr/\[crit\].*"trail": ".*" was moved and workers can't open/;
$t->wait_for(sub {
    $t->revoke('user-2');
    return substr($t->error_log, $from) =~ $closed;
}, 20);
revoked('still', 4);
said('the folder was closed', $closed);
chown @folder[1, 2], "$dir/trail";
chmod $folder[0] & 07777, "$dir/trail" or die;
recovers('the folder was opened again');
whole('the folder was opened again', $file);

# --- limited: Vault does not audit what its rate limits refuse

is $t->revoke('user-5', headers => [ 'X-Limit', 'a' ])->status, 204, 'one';
my $limited = $t->revoke('user-5', headers => [ 'X-Limit', 'a' ]);
is $limited->problem, 'limited', 'limited requests are refused';
my @records = $t->wait_records(1, type => qr/refusal/,
    request_id => $limited->json->{request_id});
is_deeply [ map { "$_->{type} $_->{reason}" } @records ],
    [ 'refusal limited' ], 'and audited';

done_testing;
