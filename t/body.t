#!/usr/bin/perl
# Hostile bodies: what is audited is what is sent, or nothing is sent.

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

    server {
        listen 127.0.0.1:%%PORT_0%%;
        client_body_timeout 2s;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

my $sandbox = $t->sandbox;
my @json = ('Content-Type', 'application/json');
my $long = 'u' x 512;

is $t->revoke('user-1')->status, 204, 'a good one, for the token';
my $before = $sandbox->revokes;

my @refused = (
    [ 'body_not_json', '' ],
    [ 'body_not_json', ' ' ],
    [ 'body_not_json', '{' ],
    [ 'body_not_json', '{"user_id":"user-1"' ],
    [ 'body_not_json', '{"user_id":"user-1"}x' ],
    [ 'body_not_json', '{"user_id":"user-1"}{}' ],
    [ 'body_not_json', '{"user_id":"user-1",}' ],
    [ 'body_not_json', "{'user_id':'user-1'}" ],
    [ 'body_not_json', '{"user_id":"user-1"}/*c*/' ],
    [ 'body_not_json', '/**/{"user_id":"user-1"}' ],
    [ 'body_not_json', '{user_id:"user-1"}' ],
    [ 'body_not_json', "\xef\xbb\xbf{\"user_id\":\"user-1\"}" ],
    [ 'body_not_json', "{\"user_id\":\"user-1\"}\0" ],
    [ 'body_not_json', '{"user_id":"user-1","x":01}' ],
    [ 'body_not_json', '{"user_id":"user-1","x":NaN}' ],
    [ 'body_not_json', '{"user_id":"user-1","x":+1}' ],
    [ 'body_not_json', "{\"user_id\":\"user-1\",\"x\":\"a\nb\"}" ],
    [ 'body_not_json', "{\"user_id\":\"user-1\",\"x\":\"\\q\"}" ],
    [ 'body_not_json', "{\"user_id\":\"user-1\",\"x\":\"\xc3\x28\"}" ],
    [ 'body_not_json', '{"user_id":"user-1","x":' . '[' x 3000 . ']' x 3000 . '}' ],
    [ 'body_not_object', '[]' ],
    [ 'body_not_object', '"user_id"' ],
    [ 'body_not_object', 'null' ],
    [ 'body_not_object', '12' ],
    [ 'body_not_object', '[{"user_id":"user-1"}]' ],
    [ 'user_id_missing', '{}' ],
    [ 'user_id_missing', '{"userid":"user-1"}' ],
    [ 'user_id_missing', '{"User_Id":"user-1"}' ],
    [ 'user_id_missing', '{"x":{"user_id":"user-1"}}' ],
    [ 'user_id_not_string', '{"user_id":null}' ],
    [ 'user_id_not_string', '{"user_id":1}' ],
    [ 'user_id_not_string', '{"user_id":["user-1"]}' ],
    [ 'user_id_not_string', '{"user_id":{"a":"user-1"}}' ],
    [ 'user_id_not_string', '{"user_id":true}' ],
    [ 'user_id_empty', '{"user_id":""}' ],
    [ 'user_id_too_long', qq({"user_id":"${long}u"}) ],
    [ 'user_id_invalid', '{"user_id":"a\nb"}' ],
    [ 'user_id_invalid', '{"user_id":"a\u007fb"}' ],
    [ 'user_id_invalid', '{"user_id":"a\u0085b"}' ],
    [ 'duplicate_key', '{"user_id":"user-1","user_id":"user-2"}' ],
    [ 'duplicate_key', '{"user_id":"user-1","\u0075ser_id":"user-2"}' ],
    [ 'duplicate_key', '{"user_id":"user-1","x":1,"x":2}' ],

    # Either word is true of these.
    [ 'user_id_invalid|body_not_json', '{"user_id":"a\u0000b"}' ],
    [ 'user_id_invalid|body_not_json', '{"user_id":"\ud800"}' ],
    [ 'user_id_invalid|body_not_json', '{"user_id":"\udc00\ud800"}' ],
    [ 'user_id_invalid|body_not_json', "{\"user_id\":\"\xff\"}" ],
    [ 'user_id_invalid|body_not_json', "{\"user_id\":\"\xc0\xaf\"}" ],
    [ 'user_id_invalid|body_not_json', "{\"user_id\":\"\xed\xa0\x80\"}" ],
    [ 'user_id_invalid|body_not_json', "{\"user_id\":\"\xf4\x90\x80\x80\"}" ],
    [ 'user_id_invalid|body_not_json', "{\"user_id\":\"\xf5\x80\x80\x80\"}" ],
    [ 'user_id_invalid|body_not_json', "{\"user_id\":\"a\tb\"}" ],
    [ 'duplicate_key|body_not_json', '{"user_id":"user-1","x":{"a":1,"a":2}}' ],
    [ 'body_not_json|body_too_large', '[' x 60000 ],
);

for my $row (@refused) {
    my ($reason, $body) = @$row;
    my $answer = $t->revoke(undef, body => $body, headers => [@json]);
    (my $shown = substr $body, 0, 60) =~ s/([^ -~])/sprintf '<%02x>', ord $1/ge;
    is $answer->status, 400, "400: $shown" or diag $answer->error;
    like $answer->problem, qr/^(?:$reason)$/, $reason;
}

is scalar $sandbox->revokes, $before, 'none of these reached the sandbox';

# --- what is well formed is sent as it came

my @sent = (
    '{"user_id":"user-1"}',
    " \r\n\t{ \"user_id\" : \"user-1\" } \n",
    '{"\u0075ser_id":"us\u0065r-1"}',
    '{"x":{"user_id":"other"},"user_id":"user-1","y":[1,-2.5e3,true,null]}',
    qq({"user_id":"$long"}),
    "{\"user_id\":\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"}",
    '{"user_id":"\ud83d\ude00"}',
    '{"user_id":"a/b?c=d&e#f"}',
);
for my $body (@sent) {
    my $answer = $t->revoke(undef, body => $body, headers => [@json]);
    like $answer->status, qr/^(?:204|404)$/, 'forwarded';
    my ($seen) = reverse $sandbox->revokes;
    my $got = $seen->{body};
    utf8::encode($got);
    is $got, $body, 'byte for byte';
}

# --- types

for my $type ('application/json; charset=utf-8', 'Application/JSON',
    'application/json;charset="UTF-8"')
{
    is $t->revoke(undef, body => '{"user_id":"user-1"}',
        headers => [ 'Content-Type', $type ])->status, 204, $type;
}
for my $type ('text/json', 'application/jsonx', 'application/json; charset=latin1',
    'multipart/form-data')
{
    is $t->revoke(undef, body => '{"user_id":"user-1"}',
        headers => [ 'Content-Type', $type ])->status, 415, $type;
}

# --- framing

my $head = "POST /v1/users/face/revoke HTTP/1.1\r\nHost: x\r\nX-Caller: a\r\n"
    . "Content-Type: application/json\r\nConnection: close\r\n";
my $body = '{"user_id":"user-1"}';
my $length = length $body;

is raw_http($t->port, "${head}Content-Length: $length\r\nContent-Length: 2\r\n"
    . "\r\n$body")->status, 400, 'two lengths';
is raw_http($t->port, "${head}Content-Length: $length\r\n"
    . "Transfer-Encoding: chunked\r\n\r\n14\r\n$body\r\n0\r\n\r\n")->status, 400,
    'a length and chunks';
is raw_http($t->port, "${head}Transfer-Encoding: chunked\r\n\r\n"
    . "zz\r\n$body\r\n0\r\n\r\n")->status, 400, 'a chunk that is none';
is raw_http($t->port, [ "${head}Content-Length: $length\r\n\r\n",
    split //, $body ], pause => 0.01)->status, 204, 'byte by byte';

# A body that never comes whole: nothing is sent, nothing stays.
$before = $sandbox->revokes;
my $socket = connect_to($t->port);
print $socket "${head}Content-Length: $length\r\n\r\n{\"user_id\"";
close $socket;
my $answer = raw_http($t->port, "${head}Content-Length: $length\r\n\r\n{",
    timeout => 6);
like $answer->status, qr/^(?:0|408)$/, 'a body that stops is timed out';
is scalar $sandbox->revokes, $before, 'and never forwarded';

done_testing;
