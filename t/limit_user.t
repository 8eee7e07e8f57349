#!/usr/bin/perl
# $tsface_user makes a key, and is in no log for that, not at debug level
# either: core prints the variables of a key.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 1, log_level => 'debug');

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    tsface_limit_zone $tsface_user                zone=one:1m  rate=1r/m;
    tsface_limit_zone $tsface_caller|$tsface_user zone=both:1m rate=1r/m burst=9;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            tsface_limit  zone=one;
            tsface_limit  zone=both;
        }
    }
}
END

is $t->revoke('user-1')->status, 204, 'one';
is $t->revoke('user-1')->problem, 'limited', 'is a limit of that user';
is $t->revoke('user-2')->status, 204, 'and not of another';

my $log = $t->error_log;

SKIP: {
    skip 'an nginx without --with-debug', 3 if $log !~ /\[debug\]/;

    like $log, qr/tsface limit "one": decision/, 'the decision is in a debug log';
    unlike $log, qr/user-[12]/, 'the user is not';
    like((split /tsface limit "both"/, $log)[-1], qr/\[debug\].* http /,
        'what core says afterwards is');
}

done_testing;
