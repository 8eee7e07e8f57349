#!/usr/bin/perl
# No token to be had: requests wait, bounded, and are told when to come again;
# the gateway recovers by itself; and it does not hammer, whoever asks how
# often.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;

my $t = TSFace::Test->new(workers => 4, timeout => 120);
my $sandbox = $t->sandbox;
my $down = TSFace::Test::free_port();
my $sandbox_port = $sandbox->https_port;

$t->secret('wrong.secret', 'not-the-secret-at-all');

$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%

    tsface_credentials down {
        endpoint            https://127.0.0.1:$sandbox_port/cis;
        token_endpoint      https://127.0.0.1:$down/oidc/token;
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        %%CLIENT%%
        token_wait 1s;
    }

    tsface_credentials wrong {
        %%ENDPOINT%%
        client_id     sandbox-client;
        client_secret file:%%DIR%%/secrets/wrong.secret;
    }

    map \$http_x_which \$which {
        default down;
        wrong   wrong;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   \$which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
            add_header    X-Pid \$pid always;
        }
    }
}
END

sub reasons {
    my %count;
    $count{ $_->status . ' ' . $_->problem }++ for @_;
    return \%count;
}

# How often the error log tells of a failed exchange of these credentials.
sub failures {
    my ($name) = @_;
    return scalar(() = $t->error_log
        =~ /\[error\][^\n]*exchange for credentials "$name" failed/g);
}

# --- the client is refused: no wait, no hammering, told once

$t->wait_for(sub { failures('wrong') }, 20);
my $start = time();
my @answers = $t->burst(60, headers => [ 'X-Which', 'wrong' ]);
my $took = time() - $start;
is_deeply reasons(@answers), { '503 no_token' => 60 },
    'invalid_client: 503 for all';
cmp_ok $took, '<', 3 * $t->{slow}, 'at once';
my @retry = map { $_->header('Retry-After') || 0 } @answers;
is_deeply [ grep { $_ < 50 || $_ > 60 } @retry ], [],
    'Retry-After is the cooldown' or diag "@retry";
my %pid = map { $_->header('X-Pid') => 1 } @answers;
is scalar keys %pid, 4, 'in every worker';
is scalar(grep { $_->{status} == 401 } $sandbox->exchanges), 1,
    'after one exchange';
is failures('wrong'), 1, 'told once';
is scalar(() = $sandbox->revokes), 0, 'nothing was forwarded';

# --- the token endpoint is down from the start

$start = time();
@answers = $t->burst(60);
$took = time() - $start;
is_deeply reasons(@answers), { '503 no_token' => 60 }, 'down: 503 for all';
# Waited for token_wait, or not at all when no exchange is due within it.
cmp_ok $took, '<', 6 * $t->{slow}, 'after a bounded wait';
is_deeply [ grep { ($_->header('Retry-After') || '') !~ /^[1-9]\d*$/ }
    @answers ], [], 'with Retry-After';
is scalar(grep { $_->{reason} eq 'no_token' } $t->records(type => qr/refusal/)),
    120, 'each is recorded';
is failures('down'), 1, 'told once, though tried more than once';
my $tried = () = $t->error_log
    =~ /\[info\][^\n]*exchange for credentials "down" failed/g;
cmp_ok $tried, '<', 12, "tried $tried times more";

# --- it comes up: a relay to the sandbox

$t->fake_server(sub {
    my ($from) = @_;
    my $to = connect_to($sandbox_port) or return;
    my $select = IO::Select->new($from, $to);
    while (my @ready = $select->can_read(20)) {
        for my $socket (@ready) {
            my $bytes;
            sysread $socket, $bytes, 65536 or return;
            syswrite $socket == $from ? $to : $from, $bytes;
        }
    }
}, port => $down);

ok $t->wait_for(sub { $t->error_log =~ /has a token for credentials "down"/ },
    30), 'it is up: the gateway finds out without being asked';
$start = time();
@answers = $t->burst(60);
is_deeply reasons(@answers), { '204 ' => 60 }, 'and all are answered';
cmp_ok time() - $start, '<', 5 * $t->{slow}, 'at once';
is scalar(grep { $_->{issued} } $sandbox->exchanges), 1, 'for one exchange';

# --- throttled: Retry-After is kept to

$sandbox->revoke_tokens;
$sandbox->fault(kind => 'throttle', path => 'token', retry_after => 4,
    count => 1);
my $n = () = $sandbox->exchanges;
sleep 5;    # min_interval
@answers = $t->burst(20);
is_deeply reasons(@answers), { '503 no_token' => 20 }, '429: 503 for all';
is scalar(() = $sandbox->exchanges), $n + 1, 'after one exchange';
my ($last) = reverse $sandbox->exchanges;
is $last->{status}, 429, 'which was throttled';
ok $t->wait_for(sub { $t->revoke('user-1')->status == 204 }, 10),
    'and again when it may';
is scalar(() = $sandbox->exchanges), $n + 2, 'for one more';

done_testing;
