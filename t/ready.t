#!/usr/bin/perl
# tsface_ready: 200 while all credentials that are required have a token that
# can be used, else 503 with their names and when to ask again.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
$t->secret('wrong', 'not-the-secret-of-the-client');

# %%PORT_1%%: nobody listens there.
sub conf {
    my ($required) = @_;
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    tsface_credentials sandbox {
        %%ENDPOINT%%
        %%CLIENT%%
        min_interval 100ms;
    }
    tsface_credentials down.one {
        endpoint       http://127.0.0.1:%%PORT_1%%/cis;
        token_endpoint http://127.0.0.1:%%PORT_1%%/oidc/token;
        client_id      nobody-we-would-name;
        client_secret  file:%%DIR%%/secrets/wrong;
        $required
    }
    %%TRAIL%%
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location = /ready { tsface_ready; }
        location = /json  { tsface_status; }
        location / {
            tsface_pass   sandbox;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
    }
}
END
}

sub ready {
    my ($method) = @_;
    my $answer = http($t->port, $method || 'GET', '/ready');
    push @{ $t->{answers} }, $answer;
    return $answer;
}

$t->allow(qr/connect\(\) failed|exchange for credentials/);

# --- one of two is missing

$t->sandbox;
$t->start(conf(''));

ok $t->wait_for(sub { ready()->body !~ /sandbox/ }, 10), 'one has a token';

# answered after the first failure, when a pause is on
$t->wait_for(sub { $t->error_log =~ /exchange for .*"down.one" failed/ }, 10);

my $answer = ready();
is $answer->status, 503, 'one of two is missing: 503';
is $answer->body, "{\"ready\":false,\"missing\":[\"down.one\"]}\n",
    'says which, and no more';
is $answer->header('Content-Type'), 'application/json', 'in JSON';
is $answer->header('Cache-Control'), 'no-store', 'not to be stored';
like $answer->header('Retry-After'), qr/^([1-9]|[12]\d|30)$/, 'Retry-After';
is $answer->header('Content-Length'), length $answer->body, 'whole';
$answer = ready('HEAD');
is $answer->status, 503, 'HEAD';
is $answer->body, '', 'without a body';
is ready('POST')->status, 405, 'POST';

my $json = http($t->port, 'GET', '/json')->json;
ok $json->{credentials}[0]{required}, 'status: the default is required';
is $t->revoke('user-1')->status, 204, 'the other serves meanwhile';

# --- it is not required

$t->reload(conf('required off;'));
$answer = ready();
is $answer->status, 200, 'not required: 200';
is $answer->body, "{\"ready\":true}\n", 'ready';
is $answer->header('Retry-After'), undef, 'no Retry-After';
$json = http($t->port, 'GET', '/json')->json;
ok !$json->{credentials}[1]{required}, 'status: not required';

# --- its only token is rejected and no other is to be had

my $sandbox = $t->sandbox;
$sandbox->fault(kind => 'status', path => 'token', status => 500,
    count => 1000);
$sandbox->revoke_tokens;
$t->allow(qr/was rejected by the endpoint/);
$t->revoke('user-2', timeout => 20);
ok $t->wait_for(sub { ready()->status == 503 }, 10), 'the token is lost: 503';
is ready()->body, "{\"ready\":false,\"missing\":[\"sandbox\"]}\n", 'this one';

$sandbox->no_faults;
ok $t->wait_for(sub { ready()->status == 200 }, 40), 'ready again';

# --- nothing is required that isn't there

$t->reload(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location = /ready { tsface_ready; }
        location = /json  { tsface_status json; }
        location = /prometheus { tsface_status prometheus; }
    }
}
END
is ready()->status, 200, 'without credentials';
is http($t->port, 'GET', '/json')->json->{zone}, undef, 'status without a zone';
like http($t->port, 'GET', '/prometheus')->body, qr/^tsface_build_info/m,
    'metrics without a zone';

done_testing;
