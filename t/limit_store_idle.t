#!/usr/bin/perl
# A store that closes idle connections (its "timeout"): the worker makes a new
# one at once, and no request, no log and no count of failures knows of it.

use lib 't/lib';
use TSFace::Test;
use TSFace::Store;

my $t = TSFace::Test->new(workers => 1, timeout => 120);
my $store = TSFace::Store->new($t, args => [ '--timeout', 1 ]);
my $fake = TSFace::Store->fake($t);

$t->{blocks} = {
    STORE => sub { 'unix:' . $store->socket },
    FAKE => sub { 'unix:' . $fake->socket },
};

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    tsface_limit_store shared { server %%STORE%%; on_failure refuse; }
    tsface_limit_store fake { server %%FAKE%%; on_failure refuse; timeout 5s; }
    tsface_limit_zone $http_x_caller zone=a:1m rate=6r/h burst=5 store=shared;
    tsface_limit_zone $http_x_caller zone=b:1m rate=6r/h burst=5 store=fake;

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
    server {
        listen 127.0.0.1:%%PORT_1%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            tsface_limit  zone=b;
        }
    }
}
END

sub store {
    my ($n) = @_;
    return http($t->port, 'GET', '/status')->json->{limit_stores}[$n || 0];
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

# one that closes on a question, after it was well for a while

ok $t->wait_for(sub { store(1)->{workers}{up} }, 20), 'the other one is up';
sleep 2;
$fake->says('EVALSHA', 'close');
is $t->revoke('user-1', caller => 'e', port => $t->port(1))->status, 503,
    'a question that gets no answer';
is store(1)->{failures}{closed}, 1, 'is a failure';
like $t->error_log, qr/tsface_limit_store "fake" at \S+ failed: /, 'and is told';

done_testing;
