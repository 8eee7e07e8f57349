#!/usr/bin/perl
# Two names for one client, which differ in nothing that decides what the
# token is: one slot.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 1);
my $sandbox = $t->sandbox;
$t->allow(qr/exchange for credentials/);
$sandbox->fault(kind => 'delay', path => 'token', ms => 17_000, count => 20);
$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
    tsface_credentials patient {
        %%ENDPOINT%%
        %%CLIENT%%
        exchange_timeout 18s;
        token_wait       8s;
    }
    tsface_credentials hasty {
        %%ENDPOINT%%
        %%CLIENT%%
        exchange_timeout 18s;
        token_wait       3s;
        required off;
    }
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   $http_x_which;
            tsface_caller anonymous;
            tsface_audit  off;
        }
        location = /status { tsface_status json; }
    }
}
END

sub request {
    my ($which) = @_;
    return $t->send_revoke('user-1', headers => [ 'X-Which', $which ]);
}

sub waiting {
    return join ' ', map { "$_->{name}=$_->{waiting}" }
        @{ http($t->port, 'GET', '/status')->json->{credentials} };
}

# Until so many wait for each.
sub waits {
    my ($want, $what) = @_;
    my $is;
    $t->wait_for(sub { ($is = waiting()) eq $want }, 5);
    return is $is, $want, $what;
}

sleep 1;
my @patient = map { request('patient') } 1 .. 8;
waits 'patient=8 hasty=8', 'eight wait for one name';
my $hasty = request('hasty');
waits 'patient=9 hasty=9', 'and one for the other';
readline $hasty;
waits 'patient=8 hasty=8', 'which has gone';
like scalar(readline $_), qr/^HTTP\/1.1 503 /, 'no token' for @patient;
is waiting(), 'patient=0 hasty=0', 'nobody waits any more';

done_testing;
