#!/usr/bin/perl
# One token for all: fetched at start, shared by the workers, refreshed ahead,
# replaced and the request replayed once when the endpoint refuses it.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 4);
my $sandbox = $t->sandbox;

my $conf = <<'END';
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%

    tsface_credentials sandbox {
        %%ENDPOINT%%
        client_id     sandbox-client;
        client_secret file:%%DIR%%/secrets/client.secret;
        token_wait    6s;
        min_interval  1s;
    }

    tsface_credentials basic {
        %%ENDPOINT%%
        client_id         sandbox-client;
        client_secret     file:%%DIR%%/secrets/client.secret;
        token_auth_method client_secret_basic;
        resource          https://api.example.com/x?y=z;
        parameter         organization "a b&c";
    }

    tsface_credentials wrong {
        %%ENDPOINT%%
        client_id         sandbox-client;
        client_secret     file:%%DIR%%/secrets/wrong.secret;
        token_wait        1s;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   $which;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
            add_header    X-Attempts $tsface_attempts always;
            add_header    X-Upstream $upstream_status always;
        }
    }

    map $http_x_which $which {
        default sandbox;
        ""      sandbox;
        basic   basic;
        wrong   wrong;
    }
}
END

$t->secret('wrong.secret', 'not-the-secret-at-all');
$sandbox->switch(log_values => 'on');

sub exchanges {
    my ($basic) = @_;
    return grep { ($_->{auth_method} || '') eq 'client_secret_'
        . ($basic ? 'basic' : 'post') && $_->{status} == 200 }
        $sandbox->exchanges;
}

$t->start($conf);

$t->wait_for(sub { exchanges() && exchanges(1) }, 10);
is scalar(exchanges()), 1, 'a token is fetched at start, by one of 4 workers';
is scalar(exchanges(1)), 1, 'one for each credentials';

is $t->revoke('user-1')->status, 204, 'revoked' for 1 .. 20;
is scalar(exchanges()), 1, 'twenty requests, one exchange';

# --- what is sent

my ($e) = exchanges();
is_deeply [ sort @{ $e->{fields} } ], [qw(client_id client_secret grant_type)],
    'client_secret_post: the documented fields and no more';
is $e->{method}, 'POST', 'POST';
is $e->{headers}{'content-type'}, 'application/x-www-form-urlencoded', 'a form';
is $e->{tls}{sni}, 'localhost', 'SNI';

($e) = exchanges(1);
ok !grep({ $_ eq 'client_secret' } @{ $e->{fields} }), 'basic: no secret field';
is $e->{resource}, 'https://api.example.com/x?y=z', 'resource';
is $e->{values}{organization}, 'a b&c', 'parameter, encoded';
is $t->revoke('user-1', headers => [ 'X-Which', 'basic' ])->status, 204,
    'basic works';

# --- a token refused: one refresh, one replay

sleep 1.2;
my $n = () = exchanges();
$sandbox->revoke_tokens;
my $answer = $t->revoke('user-2');
is $answer->status, 204, 'a revoked token is replaced, the request replayed';
is $answer->header('X-Attempts'), 2, '$tsface_attempts';
is $answer->header('X-Upstream'), '401 : 204', '$upstream_status';
is scalar(exchanges()), $n + 1, 'for one exchange';

my @records = $t->records(request_id => $answer->header('X-TSFace-Request-ID'));
is_deeply [ map { "$_->{type} $_->{attempt}" } @records ],
    [ 'intent 1', 'outcome 1', 'intent 2', 'outcome 2' ],
    'both attempts are recorded';
is $records[-1]{result}, 'success', 'the last is the success';
ok $records[1]{token}{generation} < $records[-1]{token}{generation},
    'with another generation';

# --- many requests, one refused token

sleep 1.2;
$n = () = exchanges();
$sandbox->revoke_tokens;
my @pids;
for my $i (1 .. 20) {
    my $pid = fork;
    next if !defined $pid;
    if (!$pid) {
        my $status = $t->revoke("user-$i")->status;
        POSIX::_exit($status == 204 ? 0 : 1);
    }
    push @pids, $pid;
}
my $good = grep { waitpid($_, 0) == $_ && $? == 0 } @pids;
is $good, 20, 'twenty at once are all replayed';
is scalar(exchanges()), $n + 1, 'for one exchange';

# --- the endpoint goes on refusing: told as it is, no loop

sleep 1.2;
$n = () = exchanges();
my $revokes = () = $sandbox->revokes;
$sandbox->fault(kind => 'status', path => 'revoke', status => 401, count => 2);
$answer = $t->revoke('user-1');
is $answer->status, 401, 'a second 401 is relayed';
is scalar(() = $sandbox->revokes), $revokes + 2, 'after two attempts';

# --- wrong secret: 503, never 401, and no hammering

$answer = $t->revoke('user-1', headers => [ 'X-Which', 'wrong' ]);
is $answer->status, 503, 'no token: 503';
is $answer->problem, 'no_token', 'problem';
like $answer->header('Retry-After'), qr/^\d+$/, 'Retry-After';
unlike $answer->body, qr/secret|oidc|sandbox|127\.0/, 'and nothing about why';
$t->revoke('user-1', headers => [ 'X-Which', 'wrong' ]) for 1 .. 2;
my $failed = grep { $_->{status} == 401 && $_->{name} eq 'token' }
    $sandbox->log;
is $failed, 1, 'one exchange failed, the rest waited for its cooldown';
like $t->error_log, qr/\[error\].*wrong/, 'the error log says so';

# --- reload keeps the token

sleep 1.2;
$t->revoke('user-1');
$n = () = exchanges();
$t->reload;
is $t->revoke('user-1')->status, 204, 'after a reload';
is scalar(exchanges()), $n, 'the same token serves';

# --- short-lived tokens are refreshed ahead of time

$sandbox->switch(token_ttl => 6);
$sandbox->revoke_tokens;
sleep 1.2;
is $t->revoke('user-1')->status, 204, 'a token of six seconds';
$n = () = exchanges();
my $end = time() + 7;
my $bad = 0;
while (time() < $end) {
    my $a = $t->revoke('user-1');
    $bad++ if $a->status != 204 || $a->header('X-Attempts') != 1;
    sleep 0.1;
}
is $bad, 0, 'no request meets a dead token';
my $more = exchanges() - $n;
ok $more >= 1 && $more <= 4, "refreshed $more times in seven seconds";

done_testing;
