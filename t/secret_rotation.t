#!/usr/bin/perl
# A secret is changed without an outage: the next one stands beside the
# current one, is tried when that is refused, and remembered; files are read
# again when the workers may read them.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new(workers => 2, timeout => 120);
my $sandbox = $t->sandbox;
my $dir = $t->{dir};

$t->secret('cred-next', "old-secret-one\n");
$t->secret('two', "old-secret-one\nnew-secret-two\n");
$t->secret('current', "refused-secret\n");
$t->secret('next', "new-secret-two\n");
$t->secret('reread', "old-secret-one\n", 0640);
$t->secret('both-wrong', "refused-secret\nrefused-secret-2\n", 0640);
$t->hide($_) for qw(old-secret-one new-secret-two refused-secret
    refused-secret-2 newest-secret);

$ENV{TSFACE_SECRET} = 'refused-secret';
$ENV{TSFACE_SECRETS} = "refused-secret\nold-secret-one";
$ENV{CREDENTIALS_DIRECTORY} = "$dir/secrets";

my $n;

sub secrets {
    $sandbox->set_client(client_id => 'sandbox-client', secrets => [@_]);
}
secrets('old-secret-one');

my $blocks = join '', map { <<"END" } (
    tsface_credentials $_->[0] {
        %%ENDPOINT%%
        client_id     sandbox-client;
        $_->[1]
        resource      https://$_->[0].example.com;
        token_wait    8s;
        min_interval  200ms;
    }
END
    [ two => 'client_secret file:%%DIR%%/secrets/two;' ],
    [ sources => 'client_secret file:%%DIR%%/secrets/current;'
        . ' client_secret_next file:%%DIR%%/secrets/next;' ],
    [ places => 'client_secret env:TSFACE_SECRET;'
        . ' client_secret_next credential:cred-next;' ],
    [ lines => 'client_secret env:TSFACE_SECRETS;' ],
    [ reread => 'client_secret file:%%DIR%%/secrets/reread;' ],
    [ wrong => 'client_secret file:%%DIR%%/secrets/both-wrong;' ],
    [ basic => 'client_secret file:%%DIR%%/secrets/two;'
        . ' token_auth_method client_secret_basic;' ],
);

$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
$blocks
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   \$http_x_which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
        location = /status { tsface_status; }
    }
}
END

sub revoke { $t->revoke('user-1', headers => [ 'X-Which', $_[0] ]) }
sub status { (grep { $_->{name} eq $_[0] }
    @{ http($t->port, "GET", "/status")->json->{credentials} })[0] }
sub exchanges {
    my ($which) = @_;
    return map { $_->{status} }
        grep { ($_->{resource} || '') eq "https://$which.example.com" }
        $sandbox->exchanges;
}
# Makes the gateway want another token at once.
sub another { sleep 0.4; $sandbox->revoke_tokens }

# --- the current secret works: the next is not used

$t->wait_for(sub { status('wrong')->{failures_in_a_row} }, 10);
is revoke('two')->status, 204, 'the first line is the secret';
is join(',', exchanges('two')), '200', 'and the second is not tried';
is status('two')->{secret_in_use}, 1, 'secret 1 is in use';
is status('two')->{secret_reread}, 'reload', 'a file of root alone';
is status('reread')->{secret_reread}, 'change', 'a file of the group';

# --- other sources than files

for my $which (qw(places lines)) {
    is revoke($which)->status, 204, "$which: the next secret is good";
    is join(',', exchanges($which)), '401,200', 'and is tried second';
    is status($which)->{secret_in_use}, 2, 'secret 2 is in use';
    is status($which)->{secret_reread}, 'reload', 'not read again';
}

# --- both are refused: both are tried, once, then there is a pause

is join(',', exchanges('wrong')), '401,401', 'two refused secrets, two tries';
is revoke('wrong')->status, 503, 'no token';
is status('wrong')->{last_failure}, 'rejected', 'rejected';
is status('wrong')->{exchanges}{rejected}, 2, 'both are counted';
is status('wrong')->{secret_in_use}, 0, 'none is in use';
ok status('wrong')->{next_exchange_in_ms} > 40000, 'a pause follows';
is revoke('sources')->status, 503, 'the same with two sources';

# --- the current one is refused from now on: no request fails

secrets('new-secret-two');
for my $which (qw(two basic)) {
    another();
    is revoke($which)->status, 204, "$which: the next secret is tried at once";
    is join(',', (exchanges($which))[-2, -1]), '401,200', 'after the current';
    is status($which)->{secret_in_use}, 2, 'secret 2 is in use';
    is status($which)->{failures_in_a_row}, 0, 'no failure';
}
like $t->error_log, qr/\[warn\].*secret 1 of credentials "two" was refused/,
    'the change is logged';
like $t->error_log, qr/\[notice\].*uses secret 2 of credentials "two" now/,
    'with its end';

my @before = exchanges('two');
for (1 .. 3) {
    another();
    is revoke('two')->status, 204, 'another token';
}
my @after = exchanges('two');
is join(',', @after[@before .. $#after]), '200,200,200',
    'the secret that worked is remembered, by all workers';
is scalar(() = $t->error_log =~ /secret 1 of credentials "two" was refused/g),
    1, 'told once';

# --- a reload with another secret ends the pause, too

is revoke('sources')->status, 503, 'a pause';
$t->secret('next', "new-secret-two-and-more\n");
$t->reload;
is revoke('sources')->status, 503, 'another secret is tried, and refused';
is join(',', (exchanges('sources'))[-2, -1]), '401,401', 'at once';
$n = exchanges('sources');
$t->reload;
is revoke('sources')->status, 503, 'with the same, a reload tries none';
is scalar(exchanges('sources')), $n, 'the pause goes on';
$t->secret('next', "new-secret-two\n");
$t->reload;
is revoke('sources')->status, 204, 'with a good one all is well';

# --- remembered over a reload

@before = exchanges('two');
$t->reload;
another();
is revoke('two')->status, 204, 'after a reload';
@after = exchanges('two');
is join(',', @after[@before .. $#after]), '200', 'still secret 2 first';

# --- back to the first

secrets('old-secret-one');
another();
is revoke('two')->status, 204, 'the other way round';
is status('two')->{secret_in_use}, 1, 'secret 1 again';

# --- a file that changes is read again: before an exchange ...

is revoke('reread')->status, 204, 'before the change';
secrets('newest-secret');
$t->secret('reread.new', "newest-secret\n", 0640);
rename "$dir/secrets/reread.new", "$dir/secrets/reread" or die;
another();
is revoke('reread')->status, 204, 'a file was replaced, no reload';
is join(',', (exchanges('reread'))[-1]), '200', 'without a refused exchange';
is status('reread')->{secret_in_use}, 1, 'it is secret 1';

secrets('old-secret-one');
$t->secret('reread', "newest-secret\nold-secret-one\n", 0640);
another();
is revoke('reread')->status, 204, 'a file was written in place';
is status('reread')->{secret_in_use}, 2, 'its second line is used';

# ... swapped lines: the secret is the same, its number is another

$t->secret('reread', "old-secret-one\nnewest-secret\n", 0640);
another();
is revoke('reread')->status, 204, 'the lines were swapped';
is((exchanges('reread'))[-2] . (exchanges('reread'))[-1], '200200',
    'the right one first');
is status('reread')->{secret_in_use}, 1, 'number 1 now';

# ... and in the pause after a refusal

$n = exchanges('wrong');
$t->secret('both-wrong', "old-secret-one\n", 0640);
my $begin = time;
$t->wait_for(sub { status('wrong')->{state} eq 'ready' }, 15);
is status('wrong')->{state}, 'ready', 'the pause ends when the file changes';
is join(',', (exchanges('wrong'))[$n .. exchanges('wrong') - 1]), '200',
    'with one exchange, whoever of the workers saw it';

# --- what can't be read again changes nothing

chmod 0644, "$dir/secrets/reread";
another();
is revoke('reread')->status, 204, 'others can read it: not read again';
like $t->error_log, qr/secret of credentials "reread" again from .*others can/,
    'and told why';
unlink "$dir/secrets/reread";
another();
is revoke('reread')->status, 204, 'the file is gone: the last secret is used';
my $told = () = $t->error_log
    =~ /can't read the secret of credentials "reread" again/g;
ok $told <= 2, 'told once by each worker';

$t->secret('reread', "old-secret-one\n", 0640);
another();
is revoke('reread')->status, 204, 'it is back';

done_testing;
