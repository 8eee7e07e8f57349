#!/usr/bin/perl
# A store that closes idle connections (its "timeout"): a worker that nobody
# asks is soon there again each time, however often that happens.

use lib 't/lib';
use TSFace::Test;
use TSFace::Store;

my $t = TSFace::Test->new(workers => 1, timeout => 120);
my $store = TSFace::Store->new($t, args => [ '--timeout', 1 ]);

$t->{blocks} = { STORE => sub { 'unix:' . $store->socket } };

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    tsface_limit_store shared { server %%STORE%%; on_failure refuse; }
    tsface_limit_zone $http_x_caller zone=a:1m rate=6r/h burst=5 store=shared;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            tsface_limit  zone=a;
        }
    }
}
END

# The wait after a failure doubles: the fifth one would be 800 ms at least.

my @away;
ok $t->wait_for(sub {
    @away = $t->error_log =~ /answers again after (\d+) ms/g;
    return @away >= 5;
}, 60), 'closed five times';
is scalar(grep { $_ > 700 } @away), 0, 'never away for long' or diag "@away";

done_testing;
