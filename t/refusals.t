#!/usr/bin/perl
# Refusals of every kind: each reason that docs/errors.md has leaves exactly
# one record, of type "refusal", or an outcome where something may have been
# sent.

use lib 't/lib';
use TSFace::Test;
use Fcntl qw(F_SETLK F_WRLCK F_UNLCK);

my $t = TSFace::Test->new(workers => 1, timeout => 120,
    globals => 'worker_shutdown_timeout 500ms;');
my $dir = $t->dir;
my $sandbox = $t->sandbox;
my $nobody = TSFace::Test::free_port();
my $token_port = $t->fake_token_server;
my $garbage = $t->fake_server(sub { syswrite $_[0], "HTTP/9 what\r\n\r\n" });
my $throttle = $t->fake_server(sub {
    read_request($_[0], time + 5);
    syswrite $_[0], "HTTP/1.1 429 Slow Down\r\nRetry-After: 30\r\n"
        . "Content-Length: 0\r\n\r\n";
});
my $silence = $t->fake_server(sub { sleep 10 });
$t->secret('wrong.secret', 'not-the-secret-of-the-client');
$t->allow(qr/shutdown timeout|open socket/);

sub fake {
    my ($name, $endpoint, $more) = @_;
    $more ||= '';
    return <<"END";
    tsface_credentials $name {
        endpoint        $endpoint/cis;
        token_endpoint  http://127.0.0.1:$token_port/oidc/token;
        client_id       $name;
        client_secret   file:%%DIR%%/secrets/wrong.secret;
        read_timeout    2s;
        connect_timeout 2s;
        $more
    }
END
}

my $fakes = join '', fake(garbage => "http://127.0.0.1:$garbage"),
    fake(silence => "http://127.0.0.1:$silence"), fake(closed => "http://127.0.0.1:$nobody"),
    fake(nameless => 'https://nowhere.test'),
    fake(throttled => "http://127.0.0.1:$throttle"),
    fake(down => "http://127.0.0.1:$nobody", 'breaker failures=1 open=1m;'),
    fake(busy => "http://127.0.0.1:$garbage", 'rate 1r/d;');

$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    resolver 127.0.0.1:$nobody ipv6=off;
    resolver_timeout 1s;

    tsface_audit_trail trail {
        file    %%DIR%%/trail/trail.jsonl;
        key     file:%%DIR%%/secrets/audit.key;
        timeout 2s;
    }

    tsface_credentials broken {
        %%ENDPOINT%%
        client_id     sandbox;
        client_secret file:%%DIR%%/secrets/wrong.secret;
        token_wait    300ms;
        required      off;
    }
$fakes
    tsface_limit_zone \$http_x_key zone=one:64k rate=1r/d;
    tsface_limit_store away {
        server     unix:%%DIR%%/nowhere;
        on_failure refuse;
    }
    tsface_limit_zone all zone=shared:64k rate=1r/s store=away;

    map \$http_x_use \$use {
        ''      sandbox;
        default \$http_x_use;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        tsface_caller \$http_x_caller;
        tsface_audit  trail;
        tsface_limit  zone=one;
        location / { tsface_pass \$use; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        tsface_caller \$http_x_caller;
        tsface_audit  trail;
        tsface_limit  zone=shared;
        location / { tsface_pass sandbox; }
    }
}
END

my $path = '/v1/users/face/revoke';
my @json = ('Content-Type', 'application/json');

sub body { return $t->revoke(undef, body => $_[0], headers => [ @json ]) }
sub using { return $t->revoke('user-1', headers => [ 'X-Use', $_[0] ]) }

my $head = "POST $path HTTP/1.1\r\nHost: x\r\nX-Caller: tester\r\n"
    . "Content-Type: application/json\r\n";
my $half = $head . "Content-Length: 100\r\n\r\n{";

# reason => what provokes it, and the record that it leaves: by default a
# refusal, or [ type, attempt ]
my %provoke = (
    no_caller => sub { $t->revoke('user-1', caller => undef) },
    no_bearer => sub { $t->revoke_me(undef) },
    bad_path => sub { $t->revoke('u', target => '/v1/users/./face/revoke') },
    query => sub { $t->revoke('u', target => "$path?x") },
    unknown_path => sub { $t->revoke('u', target => '/v1/users/face') },
    method => sub { http($t->port, 'PUT', $path, headers => [ 'X-Caller',
        'tester', 'Content-Length', 0 ]) },
    bad_request => sub { raw_http($t->port, $head
        . "Transfer-Encoding: chunked\r\n\r\nxyz\r\n") },
    # nginx answers this one by itself
    'bad_request after the beginning' => sub { raw_http($t->port, [ $head
        . "Transfer-Encoding: chunked\r\n\r\n", "xyz\r\n" ]) },
    length_required => sub { raw_http($t->port, "$head\r\n") },
    body_too_large => sub { body('{"user_id":"' . 'u' x 70_000 . '"}') },
    not_json => sub { $t->revoke(undef, body => '{"user_id":"u"}',
        headers => [ 'Content-Type', 'text/plain' ]) },
    body_not_allowed => sub { $t->revoke(undef, body => '{}', target =>
        '/v1/users/me/face/revoke', headers => [ 'Authorization', 'Bearer x',
        @json ]) },
    body_not_json => sub { body('{') },
    body_not_object => sub { body('[]') },
    user_id_missing => sub { body('{}') },
    user_id_not_string => sub { body('{"user_id":1}') },
    user_id_empty => sub { $t->revoke('') },
    user_id_too_long => sub { $t->revoke('u' x 513) },
    user_id_invalid => sub { body('{"user_id":"a\\u0001"}') },
    duplicate_key => sub { body('{"user_id":"u","user_id":"u"}') },
    limited => sub {
        my @headers = ('X-Key', 'k');
        $t->revoke('user-1', headers => [ @headers ]);
        $t->revoke('user-1', headers => [ @headers ]);
    },
    endpoint_throttled => sub { using('throttled'); using('throttled') },
    endpoint_unavailable => sub { using('down'); using('down') },
    limit_undecided => sub { $t->revoke('user-1', port => $t->port(1)) },
    endpoint_busy => sub { using('busy'); using('busy') },
    unknown_credentials => sub { using('nobody') },
    no_token => [ sub { using('broken') }, 'refusal', 1 ],
    audit_failed => [ \&late, 'refusal', 1 ],
    upstream_invalid => [ sub { using('garbage') }, 'outcome', 1 ],
    upstream_timeout => [ sub { using('silence') }, 'outcome', 1 ],
    upstream_unreachable => [ sub { using('closed') }, 'outcome', 1 ],
    'upstream_unreachable without an address' =>
        [ sub { using('nameless') }, 'refusal', 1 ],
    client_closed => sub {
        my $socket = connect_to($t->port);
        syswrite $socket, $half;
        sleep 0.3;
        close $socket;
        return;
    },
    shutting_down => sub {
        my $socket = connect_to($t->port);
        syswrite $socket, $half;
        sleep 0.3;
        $t->reload;
        return;
    },
);

# No refusal: the outcome of a revoke that was made, for which see
# audit_failure.t; and what only a lack of memory provokes.
my %not = map { $_ => 1 } qw(outcome_unrecorded internal);

# Somebody else holds the trail for longer than its timeout.
sub late {
    open my $chain, '+<', "$dir/trail/trail.jsonl.chain" or die;
    $t->wait_for(sub { lock_file($chain, F_WRLCK) }, 5) or die;
    my $answer = $t->revoke('user-1');
    lock_file($chain, F_UNLCK) or die;
    return $answer;
}

sub lock_file {
    my ($fh, $type) = @_;
    return fcntl $fh, F_SETLK, pack 's s x4 q q l', $type, 0, 0, 1, 0;
}

is $t->revoke('user-1')->status, 204, 'a token is there';

my $source = $t->read_file("$TSFace::Test::ROOT/ngx_tsface_module"
    . '/ngx_http_tsface_problem.c');
my %status = reverse $source =~
    /_PROBLEM_\w+\] = \{\s+([1-9]\d+),\s+ngx_string\("(\w+)"\)/g;
cmp_ok scalar(keys %status), '>=', 30, 'reasons';
is_deeply [ sort grep { !/ / } keys %provoke, keys %not ],
    [ sort keys %status ], 'each is provoked, or is known to be none';

for my $name (sort keys %provoke) {
    my ($reason) = $name =~ /^(\w+)/;
    my ($send, $type, $attempt) = ref $provoke{$name} eq 'ARRAY'
        ? @{ $provoke{$name} } : ($provoke{$name}, 'refusal');

    my $before = () = $t->records;
    my $answer = $send->();
    my %mine;
    $t->wait_for(sub {
        my @records = $t->records;
        %mine = ();
        push @{ $mine{ $_->{request_id} } }, $_
            for grep { $_->{request_id} } @records[$before .. $#records];
        return grep { ($_->{reason} || '') eq $reason } map { @$_ }
            values %mine;
    }, 10);

    my @with = grep { grep { ($_->{reason} || '') eq $reason } @$_ }
        values %mine;
    is scalar(@with), 1, "$name: one request" or next;
    my @records = @{ $with[0] };
    my @last = grep { $_->{type} ne 'intent' } @records;
    is scalar(@last), 1, 'one record, besides an intent';
    is $last[0]{type}, $type, 'of its type';
    is $last[0]{attempt}, $attempt, $attempt ? 'it closes an intent'
        : 'it has no attempt';
    is scalar(@records), $attempt ? 2 : 1, 'of which there is one, or none';
    is $last[0]{status}, $status{$reason}, 'status';
    is $last[0]{client_addr}, '127.0.0.1', 'client_addr';
    is $last[0]{caller}, $reason eq 'no_caller' ? '' : 'tester', 'caller';

    next if !$answer;
    is $answer->status, $status{$reason}, 'is what was answered';
    is $answer->header('X-TSFace-Request-ID'), $last[0]{request_id},
        'request_id' if $name !~ /beginning/;
}

done_testing;
