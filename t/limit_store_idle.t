#!/usr/bin/perl
# A store that closes idle connections (its "timeout"): the worker makes a new
# one at once, and no request, no log and no count of failures knows of it.

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
        location = /status { tsface_status json; }
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            tsface_limit  zone=a;
        }
    }
}
END

sub store {
    return http($t->port, 'GET', '/status')->json->{limit_stores}[0];
}

ok $t->wait_for(sub { store()->{workers}{up} }, 20), 'the store is up';

my $failed = 0;
ok $t->wait_for(sub {
    $failed++ if $t->revoke('user-1', caller => 'c' . rand)->status != 204;
    select undef, undef, undef, 1.2 + rand 1;
    return store()->{connects} >= 6;
}, 60), 'closed five times';
is $failed, 0, 'no request met that';

my $status = store();
is_deeply [ values %{ $status->{failures} } ], [ (0) x 5 ], 'nor is it a failure';
unlike $t->error_log, qr/tsface_limit_store/, 'nor is it told';

# one that is gone is both

$store->kill('KILL');
ok $t->wait_for(sub { !store()->{workers}{up} }, 20), 'the store is gone';
ok $t->wait_for(sub { store()->{failures}{connect} }, 20), 'that is a failure';
like $t->error_log, qr/tsface_limit_store "shared" at \S+ failed: /,
    'and is told';
is $t->revoke('user-1', caller => 'd')->status, 503, 'nobody decides';
$store->start;
ok $t->wait_for(sub { store()->{workers}{up} }, 20), 'it is back';
is $t->revoke('user-1', caller => 'd')->status, 204, 'and decides';

done_testing;
