#!/usr/bin/perl
# A trail that can't be written: refuse (the default) or forward.
#
# The file is on a tiny file system where root can mount one (writing fails
# with ENOSPC); else it is /dev/full.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
my $dir = $t->dir;

mkdir "$dir/small" or die;
my ($code) = $t->run(10, 'mount', '-t', 'tmpfs', '-o', 'size=64k,mode=0777',
    'none', "$dir/small");
my $mounted = $> == 0 && $code == 0;
plan(skip_all => 'needs root and a tmpfs') if !$mounted;
END { system 'umount', "$dir/small" if $mounted && -d "$dir/small" }

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
for (1 .. 3) {
    my $answer = $t->revoke('user-1');
    is $answer->status, 503, 'refuse: 503';
    is $answer->problem, 'audit_failed', 'problem';
    like $answer->header('Retry-After'), qr/^\d+$/, 'Retry-After';
}
is scalar $sandbox->revokes, $before, 'nothing was forwarded';
like $t->error_log, qr/No space left on device.*strict|strict.*No space left/,
    'the error log says why';

is $t->revoke('user-1', port => $t->port(1))->status, 204, 'forward: 204';
is scalar $sandbox->revokes, $before + 1, 'forwarded';
like $t->error_log, qr/lenient/, 'and the error log says so';

unlink "$dir/small/filler";
$t->wait_for(sub { $t->revoke('user-1')->status == 204 }, 10);
is $t->revoke('user-1')->status, 204, 'there is room again';

my @records = $t->records(file => "$dir/small/strict.jsonl");
ok @records >= 4, 'the trail goes on, and its chain holds';

$t->stop;

done_testing;
