#!/usr/bin/perl
# nginx's $request_id and the gateway's are one, whoever needs it first, and no
# request gets one that another had.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 2);

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    log_format ids '$request_id $tsface_request_id';

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        access_log %%DIR%%/logs/ids.log ids;

        set $early "";

        if ($http_x_early) {
            set $early $request_id;
        }

        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            add_header    X-Early $early always;
        }
    }
}
END

# The answers to n requests, each in a connection of its own.
sub answers {
    my ($n, %o) = @_;
    return map { $t->revoke("user-$_", %o) } 1 .. $n;
}

# More than is drawn at once, in each worker.
my @answers = answers(1200);
my @ids = map { $_->header('X-TSFace-Request-ID') } @answers;
is scalar(grep { /^[0-9a-f]{32}\z/ } @ids), 1200, 'each is 32 hex digits';
my %once = map { $_ => 1 } @ids;
is scalar(keys %once), 1200, 'and no two are the same';

my ($early) = answers(1, headers => [ 'X-Early', 1 ]);
my $id = $early->header('X-TSFace-Request-ID');
is $early->header('X-Early'), $id, 'nginx needed it first: the same';
ok !$once{$id}, 'a new one';

my @lines;
$t->wait_for(sub {
    @lines = split /\n/, $t->read_file('logs/ids.log');
    @lines == 1201;
}, 20);
is scalar(grep { /^(\S+) \1\z/ } @lines), 1201, 'one value in the access log';

my %recorded = map { $_->{request_id} => 1 }
    $t->records(type => qr/^intent$/);
is scalar(grep { $recorded{$_} } @ids, $id), 1201, 'and in the records';

# What workers have drawn is not drawn again by those after them.
$t->reload;
my %after = map { $_->header('X-TSFace-Request-ID') => 1 } answers(50);
is scalar(keys %after), 50, 'after a reload: other workers';
is scalar(grep { $once{$_} } keys %after), 0, 'none was there before';

done_testing;
