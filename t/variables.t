#!/usr/bin/perl
# $tsface_* and nginx's own variables, in headers and in the access log.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;

$t->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%

    log_format tsface '$tsface_request_id|$tsface_caller|$tsface_operation|'
        '$tsface_credentials|$tsface_result|$tsface_attempts|'
        '$tsface_token_age|$status|$upstream_status|$upstream_addr|'
        '$upstream_response_time|$tsface_token_generation|$tsface_reason|'
        '$tsface_region';

    server {
        listen 127.0.0.1:%%PORT_0%%;
        access_log %%DIR%%/logs/tsface.log tsface;

        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
        location /plain {
            return 200 "[$tsface_caller$tsface_operation$tsface_result]";
        }
    }
}
END

my $sandbox = $t->sandbox;

# The access log's last line, once it is there.
my $seen = 0;
sub logged {
    my @lines;
    $t->wait_for(sub { @lines = split /\n/, $t->read_file('logs/tsface.log');
        @lines > $seen }, 5);
    $seen = @lines;
    my %line;
    @line{qw(id caller operation credentials result attempts age status
        upstream_status upstream_addr upstream_time generation reason
        region)} = split /\|/, $lines[-1];
    return \%line;
}

my $answer = $t->revoke('user-1', caller => 'CN=x');
my $line = logged();
is $line->{id}, $answer->header('X-TSFace-Request-ID'), '$tsface_request_id';
is $line->{caller}, 'CN=x', '$tsface_caller';
is $line->{operation}, 'face.revoke', '$tsface_operation';
is $line->{credentials}, 'sandbox', '$tsface_credentials';
is $line->{result}, 'success', '$tsface_result';
is $line->{attempts}, 1, '$tsface_attempts';
like $line->{age}, qr/^\d+/, '$tsface_token_age';
is $line->{upstream_status}, 204, '$upstream_status';
is $line->{upstream_addr}, '127.0.0.1:' . $sandbox->https_port, '$upstream_addr';
is $line->{generation}, 1, '$tsface_token_generation';
is $line->{reason}, '-', 'no $tsface_reason';
is $line->{region}, 'custom', '$tsface_region';
like $line->{upstream_time}, qr/^\d+\.\d{3}$/, '$upstream_response_time';

$t->revoke_me($sandbox->user_token('user-2'));
$line = logged();
is $line->{operation}, 'face.revoke_me', 'me: $tsface_operation';
is $line->{generation}, '-', 'me: no token of ours';
is $line->{region}, 'custom', 'me: $tsface_region';

$t->revoke('nobody-at-all');
is logged()->{result}, 'denied', 'a 404 is denied';

$t->revoke('');
$line = logged();
is $line->{result}, 'refused', 'a refusal is refused';
is $line->{upstream_status}, '-', 'without an upstream';
is $line->{reason}, 'user_id_empty', '$tsface_reason';
is $line->{generation}, '-', 'and without a token';

$sandbox->fault(kind => 'reset', path => 'revoke', count => 1);
$t->revoke('user-3');
$line = logged();
is $line->{result}, 'unknown', 'a broken connection';
like $line->{reason}, qr/^upstream_/, 'its $tsface_reason';

is http($t->port, 'GET', '/plain')->body, '[]', 'empty elsewhere';

# the second attempt gets no token: none is the last attempt's

$t->allow(qr/exchange for credentials/);
logged();
sleep 5;    # min_interval
$sandbox->revoke_tokens;
$sandbox->fault(kind => 'status', path => 'token', status => 500, count => 99);
is $t->revoke('user-4', timeout => 20)->status, 503, 'no second token';
$line = logged();
is $line->{attempts}, 2, 'attempts';
is $line->{reason}, 'no_token', 'reason';
is $line->{generation}, '-', 'the second attempt has no token';
is $line->{age}, '-', 'and so no age';

done_testing;
