#!/usr/bin/perl
# Signed checkpoints: after so many records, after so much time, where a file
# begins, when a worker leaves; in the trail and in a second place.  With the
# public key, tsface-audit finds what one forges who has the key of the MACs,
# and with the second place, what was cut off at the end.

use lib 't/lib';
use TSFace::Test;
use TSFace::Cert 'key_pair';
use TSFace::Load;
use TSFace::Trail;
use Digest::SHA qw(hmac_sha256_hex sha256_hex);

my $t = TSFace::Test->new(workers => 4, timeout => 240);
my $dir = $t->dir;
my $sandbox = $t->sandbox;
my $trail = "$dir/trail/trail.jsonl";
my $second = "$dir/tmp/second/checkpoints";

key_pair($t, 'checkpoint', 'ed25519');
key_pair($t, 'other', 'ed25519');
key_pair($t, 'rsa', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048');

my $mac_key = $t->read_file('secrets/audit.key');
my @key = ('--key', "$dir/secrets/audit.key");
my @public = ('--public-key', "$dir/tmp/checkpoint.pub");

mkdir "$dir/tmp/second" or die;
chown((stat "$dir/tmp")[4, 5], "$dir/tmp/second");

sub conf {
    my (%o) = @_;
    my $key = $o{key} || 'checkpoint';
    my $more = $o{more} || 'checkpoint_records 10; checkpoint_interval 1s;';
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%

    tsface_audit_trail trail {
        file            $trail;
        key             file:$dir/secrets/audit.key;
        checkpoint_key  file:$dir/secrets/$key.pem;
        checkpoint_file $second;
        timeout         20s;
        $more
    }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            tsface_pass   sandbox;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
        location = /status { tsface_status; }
    }
}
END
}

sub checkpoints { return $t->records(type => qr/^checkpoint$/) }

sub lines { return $t->read_file($_[0]) =~ /.*\n/g }

# Whether the last checkpoint is in the second place: nobody waits for that.
sub copied {
    my @copies = lines($second);
    return @copies && $copies[-1] eq (checkpoints())[-1]{_line} . "\n";
}

# --- each file begins with one

my ($code) = $t->nginx_t(conf());
is $code, 0, 'nginx -t';
ok !-e $second, 'makes no file';
($code, my $why) = $t->nginx_t(conf(key => 'rsa'));
isnt $code, 0, 'an RSA key';
like $why, qr/rsa\.pem" of "checkpoint_key" holds another key .* Ed25519/,
    'is refused';

$t->start(conf());
ok -e $second, 'the second place is made';
is sprintf('%04o', (stat $second)[2] & 07777), '0640', 'with this mode';
is $t->revoke('user-1')->status, 204, 'revoked';

my @records = $t->records;
my ($open) = grep { $_->{type} eq 'open' } @records;
my ($first) = checkpoints();
is $first->{seq}, $open->{seq} + 1, 'a checkpoint follows "open"';
is $first->{mark}, "$open->{seq}:$open->{mac}", 'and is of it';
is $first->{key_id}, TSFace::Trail::key_id($mac_key), 'under this key';

# --- with time, but only if there is something

ok $t->wait_for(sub { ($t->records)[-1]{type} eq 'checkpoint' }, 10),
    'another one, later';
@records = $t->records;
my $n = @records;
sleep 2.5;
is scalar(() = $t->records), $n, 'and no other while nothing happens';

# --- signed: openssl says so, of the text that the manual gives

for my $record (checkpoints()) {
    my $text = $t->write_file('tmp/text', join '', "tsface checkpoint 1\n",
        "trail $record->{trail}\n", "after $record->{mark}\n",
        "key $record->{key_id}\n", "time $record->{time}\n");
    my $signature = $t->write_file('tmp/signature',
        pack 'H*', $record->{signature});
    my ($exit, $output) = $t->run(10, 'openssl', 'pkeyutl', '-verify', '-rawin',
        '-pubin', '-inkey', "$dir/tmp/checkpoint.pub", '-in', $text,
        '-sigfile', $signature);
    is $exit, 0, "seq $record->{seq}: openssl verifies it" or diag $output;
}

my ($der) = map { s/-----.*?-----\n//gr } $t->read_file('tmp/checkpoint.pub');
require MIME::Base64;
is $first->{signer}, substr(sha256_hex(substr MIME::Base64::decode($der), -32),
    0, 16), 'by the key that it names';

# --- with the number of records, whoever writes

my $load = $t->under_load(sub { sleep 1.5 }, clients => 6);
is_deeply [ keys %{ $load->{count} } ], [ 204 ], 'under load'
    or diag explain $load->{count};
$t->wait_for(sub { ($t->records)[-1]{type} eq 'checkpoint' }, 10);
@records = $t->records;
my ($longest, $since) = (0, 0);
for my $record (@records) {
    $since = $record->{type} eq 'checkpoint' ? 0 : $since + 1;
    $longest = $since if $since > $longest;
}
is $longest, 10, 'never more than ten records without';
my %pid = map { $_->{pid} => 1 } checkpoints();
cmp_ok scalar keys %pid, '>', 1, 'by several workers';

$t->wait_for(\&copied, 10);
my %lines = map { $_ => 1 } lines($second);
is_deeply [ sort keys %lines ], [ sort map { "$_->{_line}\n" } checkpoints() ],
    'all of them are in the second place, too';

my $status = http($t->port, 'GET', '/status')->json;
cmp_ok $status->{trails}[0]{types}{checkpoint}, '>', 3, 'the status counts';
is $status->{trails}[0]{checkpoint_failures}, 0, 'no failure';
my $age = $status->{trails}[0]{checkpoint_age_s};
ok defined $age && $age < 60, 'the last is not long ago';

# --- verify

my @whole = map { "$_->{_line}\n" } @records;
my $count = checkpoints();
is $t->audit('verify', '--from-start', @key, @public, '--checkpoints', $second,
    $trail), 0, 'verify: whole' or diag $t->said;
my $last = @records - 1;
like $t->said, qr/^signed: $count checkpoints, up to seq $last$/m, 'signed';
is $t->audit('verify', @key, $trail), 0, 'without the public key';
like $t->said, qr/^there are $count checkpoints.*: not checked/m, 'it says so';
is $t->audit('verify', @key, '--public-key', "$dir/tmp/other.pub", $trail), 1,
    'another public key';
like $t->said, qr/a checkpoint that is not signed with a --public-key/, 'as well';
is $t->audit('verify', @key, '--public-key', "$dir/tmp/other.pub", @public,
    $trail), 0, 'several';
is $t->audit('verify', @key, @$_), 2, "wrong usage: @$_[0, 1]" for
    [ '--public-key', "$dir/tmp/rsa.pub", $trail ],
    [ '--public-key', "$dir/none", $trail ],
    [ '--public-key', "$dir/secrets/checkpoint.pem", $trail ],
    [ '--checkpoints', $second, $trail ],
    [ @public, '--checkpoints', "$dir/none", $trail ];

# cut off: told to the record

sub cut {
    my ($keep) = @_;
    $t->write_file('tmp/cut', join '', @whole[0 .. $keep - 1]);
    return $t->audit('verify', @key, @public, '--checkpoints', $second,
        "$dir/tmp/cut");
}

is cut(scalar @whole), 0, 'all of it';
for my $keep ($#whole, $#whole - 1, int(@whole / 2), 4) {
    is cut($keep), 1, "cut to $keep of " . @whole;
    like $t->said, qr/^NOT\ WHOLE:\ cut:\ a\ checkpoint\ of\ seq\ $last\ is\ known,
        .*\ the\ trail\ ends\ at\ $keep$/mx, 'it says so';
}
$t->write_file('tmp/cut', join '', @whole[0 .. $#whole - 1]);
is $t->audit('verify', @key, @public, "$dir/tmp/cut"), 0,
    'without the second place it would not be seen';
$t->write_file('tmp/cut', $whole[0]);
is $t->audit('verify', @key, @public, "$dir/tmp/cut"), 1, 'none at all';
like $t->said, qr/without a checkpoint$/m, 'is not what was to be';

# the record that files begin with is believed: what trail it says it is of
# must not hide what is known

my @later = @whole[5 .. $#whole - 1];
$later[0] =~ s/"trail":"trail"/"trail":"other"/ or die;
$t->write_file('tmp/cut', join '', @later);
is $t->audit('verify', @key, @public, "$dir/tmp/cut"), 0, 'it is believed';
is $t->audit('verify', @key, @public, '--checkpoints', $second, "$dir/tmp/cut"), 1,
    'cut, and said to be another trail';
like $t->said, qr/^NOT WHOLE: cut: a checkpoint of seq $last is known/m, 'found';

is $t->audit('verify', @key, @public, '--checkpoints',
    $t->write_file('tmp/known', ''), $trail), 1, 'an empty second place';
like $t->said, qr/^NOT WHOLE: ".*known" has no checkpoint of this trail$/m,
    'proves nothing';

# --- forged by one who has the key of the MACs

# Seals lines anew from record n on, as far as they are changed.
sub reseal {
    my @lines = @_;
    my $mac = '0' x 64;
    my $seq = 0;
    for my $line (@lines) {
        $seq++;
        my $body = $line =~ s/,"mac":"\w+"\}\n\z//r;
        $body =~ s/"seq":\d+/"seq":$seq/;
        $mac = hmac_sha256_hex($mac . $body, $mac_key);
        $line = qq($body,"mac":"$mac"}\n);
    }
    return $t->write_file('tmp/forged', join '', @lines);
}

is $t->audit('verify', '--from-start', @key, @public, reseal(@whole)), 0,
    'sealed anew: the same';

my ($at) = grep { $records[$_]{type} eq 'checkpoint' } 30 .. $#records;
my ($intent) = grep { $records[$_]{type} eq 'intent' } 12 .. $#records;
my $other = do {
    my $c = $records[$at];
    my $text = $t->write_file('tmp/text', join '', "tsface checkpoint 1\n",
        "trail $c->{trail}\n", "after $c->{mark}\n", "key $c->{key_id}\n",
        "time $c->{time}\n");
    $t->run(10, 'openssl', 'pkeyutl', '-sign', '-rawin', '-inkey',
        "$dir/secrets/other.pem", '-in', $text, '-out', "$dir/tmp/signature");
    unpack 'H*', $t->read_file('tmp/signature');
};

my %forged = (
    'another caller' => [ sub { $_[$intent] =~ s/"caller":"\w+"/"caller":"x"/ },
        qr/checkpoint of another place/ ],
    'a record less' => [ sub { splice @_, $intent, 1; @_ },
        qr/checkpoint of another place/ ],
    'no checkpoints' => [ sub { grep { !/"type":"checkpoint"/ } @_ },
        qr/without a checkpoint/ ],
    'another signature' => [ sub { $_[$at] =~ s/("signature":".)(.)/
        $1 . ($2 eq '0' ? 1 : 0)/e }, qr/whose signature is wrong/ ],
    'half a signature' => [ sub { $_[$at] =~ s/("signature":"\w{64})\w+/$1/ },
        qr/whose signature is wrong/ ],
    'no signature' => [ sub { $_[$at] =~ s/,"signature":"\w+"// },
        qr/whose signature is wrong/ ],
    'no mark' => [ sub { $_[$at] =~ s/,"mark":"[^"]+"// },
        qr/whose signature is wrong/ ],
    'another time' => [ sub { $_[$at] =~ s/"time":"2/"time":"3/ },
        qr/whose signature is wrong/ ],
    'another trail' => [ sub { $_[$at] =~ s/"trail":"trail"/"trail":"other"/ },
        qr/whose signature is wrong/ ],
    'another key' => [ sub { $_[$at] =~ s/"key_id":"\w/"key_id":"x/ },
        qr/whose signature is wrong/ ],
    'signed by another' => [ sub { $_[$at] =~
        s/"signature":"\w+"/"signature":"$other"/ },
        qr/whose signature is wrong/ ],
    'signed by another who says so' => [ sub { $_[$at] =~
        s/"signer":"\w+","signature":"\w+"/'"signer":"' . 'a' x 16
        . qq(","signature":"$other")/e }, qr/not signed with a --public-key/ ],
);

for my $how (sort keys %forged) {
    my ($edit, $want) = @{ $forged{$how} };
    my @lines = @whole;
    my @edited = $edit->(@lines);
    @lines = @edited if @edited > 1;
    is $t->audit('verify', '--from-start', @key, @public, reseal(@lines)), 1,
        "forged: $how";
    like $t->said, $want, 'is found for what it is';
}

# what nobody with the public key asks for is still the MAC's to find
for my $line ($at, $at - 1) {
    my @lines = @whole;
    $lines[$line] =~ s/"host":"/"host":"x/;
    $t->write_file('tmp/edited', join '', @lines);
    is $t->audit('verify', @key, "$dir/tmp/edited"), 1, 'changed, without a key';
}

# --- a second place that was tampered with

my @known = lines($second);
for my $n (0, 1, $#known) {
    my @lines = @known;
    $lines[$n] =~ s/("signature":".)(.)/$1 . ($2 eq '0' ? 1 : 0)/e;
    my $file = $t->write_file('tmp/known', join '', @lines);
    is $t->audit('verify', @key, @public, '--checkpoints', $file, $trail), 1,
        "line $n of the second place, changed";
    like $t->said, qr/^\Q$file\E:@{[ $n + 1 ]}: .*: its signature is wrong$/m,
        'where';
}

my $file = $t->write_file('tmp/known', join '', (reverse @known), "\n",
    $whole[0], substr $known[0], 0, 40);
is $t->audit('verify', @key, @public, '--checkpoints', $file, $trail), 0,
    'its order is nothing, and lines that are no checkpoints are passed over'
    or diag $t->said;
like $t->said, qr/3 lines are no checkpoints/, 'but told';

# of another trail with the same name and key: the same seqs, other records

$t->stop;
rename $trail, "$trail.before" or die;
rename "$trail.chain", "$trail.chain.before" or die;
rename $second, "$second.before" or die;
$t->start;
is $t->revoke("user-$_")->status, 204, 'another trail: revoked' for 1 .. 20;
$t->wait_for(\&copied, 10);
is $t->audit('verify', '--from-start', @key, @public, '--checkpoints', $second,
    $trail), 0, 'whole' or diag $t->said;
is $t->audit('verify', '--from-start', @key, @public, '--checkpoints',
    "$second.before", $trail), 1, 'but not what the other place knows';
like $t->said, qr/not the record that was known/, 'it says so';
$file = $t->write_file('tmp/known', join '', (lines($second))[0, 1],
    (lines("$second.before"))[2 .. 4]);
is $t->audit('verify', '--from-start', @key, @public, '--checkpoints', $file,
    $trail), 1, 'nor with lines of it between its own';
$t->write_file('tmp/known', join '', lines($second),
    map { s/"trail":"trail"/"trail":"other"/r } (lines($second))[0]);
is $t->audit('verify', '--from-start', @key, @public, '--checkpoints', $file,
    $trail), 1, 'renamed, a line is forged';

# --- no second place: the trail goes on

$n = checkpoints();
rename $second, "$second.gone" or die;
mkdir $second or die;
$t->allow(qr/EISDIR|Is a directory/);
is $t->revoke("user-$_")->status, 204, 'no second place: revoked' for 1 .. 12;
cmp_ok scalar(() = checkpoints()), '>', $n, 'with checkpoints';
ok $t->wait_for(sub { $t->error_log =~
    /\[crit\].*audit\ trail\ "trail":\ a\ checkpoint\ could\ not
    \ be\ written\ to\ "\Q$second\E",\ open\(\)\ failed;.*Is\ a\ directory/x
    }, 10), 'the log says so';
cmp_ok http($t->port, 'GET', '/status')->json->{trails}[0]{checkpoint_failures},
    '>', 0, 'and the status';
rmdir $second or die;
ok $t->wait_for(sub { $t->revoke('user-1');
    $t->error_log =~ /checkpoints are written to "\Q$second\E" again/ }, 20),
    'until there is one';
is $t->audit('verify', '--from-start', @key, @public, '--checkpoints', $second,
    $trail), 0, 'whole' or diag $t->said;

# half a line, of a disk that was full, does not spoil the next

$t->write_file($second, $t->read_file($second) . '{"v":1,"seq":');
$n = () = lines($second);
is $t->revoke("user-$_")->status, 204, 'revoked' for 1 .. 12;
ok $t->wait_for(sub { (() = lines($second)) > $n + 1 }, 10), 'more of them';
is $t->audit('verify', '--from-start', @key, @public, '--checkpoints', $second,
    $trail), 0, 'whole' or diag $t->said;

# --- a worker that leaves

$t->reload(conf(more => 'checkpoint_records 1000; checkpoint_interval 1h;'));
is $t->revoke('user-1')->status, 204, 'a long interval: revoked';
isnt +($t->records)[-1]{type}, 'checkpoint', 'no checkpoint yet';
$t->reload;
is +($t->records)[-1]{type}, 'checkpoint', 'but when the workers leave';
ok copied(), 'which is in the second place by then';
is $t->audit('verify', '--from-start', @key, @public, '--checkpoints', $second,
    $trail), 0, 'whole' or diag $t->said;

# what they wrote before is not counted again, nor is the time since then

my $counted = http($t->port, 'GET', '/status')->json->{trails}[0];
$t->revoke("user-$_") for 1 .. 5;
sleep 3;
$t->reload;
is +($t->records)[-1]{type}, 'checkpoint', 'another one when they leave';
$status = http($t->port, 'GET', '/status')->json->{trails}[0];
is $status->{types}{outcome} - $counted->{types}{outcome}, 5,
    'a record is counted once';
is $status->{commit_latency_ms}{buckets}{2500}
    - $counted->{commit_latency_ms}{buckets}{2500},
    $status->{commit_latency_ms}{count}
    - $counted->{commit_latency_ms}{count},
    'and no batch took seconds';

# --- the trail has another name after a reload, and the same file

my $renamed = conf() =~ s/(tsface_audit(?:_trail)?\s+)trail\b/$1renamed/gr;
$t->reload($renamed);
is $t->revoke("user-$_")->status, 204, 'renamed: revoked' for 1 .. 20;
$t->wait_for(\&copied, 10);
is $t->audit('verify', '--from-start', @key, @public, '--checkpoints', $second,
    $trail), 0, 'whole' or diag $t->said;
@whole = lines($trail);
my ($mid) = grep { $whole[$_] =~ /"type":"checkpoint","trail":"renamed"/ }
    0 .. $#whole;
$t->write_file('tmp/cut', join '', @whole[0 .. $mid]);
is $t->audit('verify', '--from-start', @key, @public, '--checkpoints', $second,
    "$dir/tmp/cut"), 1, 'cut behind a checkpoint of the other name';
like $t->said, qr/cut: a checkpoint of seq \d+ is known/, 'it says so';

# --- the outcomes of workers that were killed, which others write

$t->allow(qr/exited on signal 9/);
$t->reload(conf(more => 'checkpoint_records 10; checkpoint_interval 1h;'));
my %there;
$there{$_->{type}}++ for $t->records;
$counted = http($t->port, 'GET', '/status')->json->{trails}[0];
my @users = map { "killed-$_" } 1 .. 12;
my $seen = () = $sandbox->revokes;
$sandbox->fault(kind => 'delay', path => 'revoke', ms => 15_000, user => $_)
    for @users;
my @sockets = map {
    my $socket = connect_to($t->port);
    syswrite $socket, TSFace::HTTP::build_request('POST',
        '/v1/users/face/revoke', json => { user_id => $_ },
        headers => [ 'X-Caller', 'one' ]);
    $socket;
} @users;
ok $t->wait_for(sub { $seen + @users <= (() = $sandbox->revokes) }, 20),
    'revokes that the endpoint has not answered';
my $before = () = checkpoints();
kill 'KILL', $t->workers;
ok $t->wait_for(sub { @users <= grep { ($_->{reason} || '') eq 'orphaned' }
    $t->records }, 20), 'their workers are killed: others write outcomes';
my @signed = checkpoints();
cmp_ok scalar @signed, '>', $before, 'and a checkpoint';

my %now;
$now{$_->{type}}++ for $t->records;
$t->wait_for(sub {
    $status = http($t->port, 'GET', '/status')->json->{trails}[0];
    $status->{orphans} >= @users }, 10);
is_deeply { map { $_ => $status->{types}{$_} - $counted->{types}{$_} }
    keys %{ $status->{types} } },
    { map { $_ => ($now{$_} || 0) - ($there{$_} || 0) }
    keys %{ $status->{types} } }, 'the status counts all of them';
ok $t->wait_for(sub { (lines($second))[-1] eq "$signed[-1]{_line}\n" }, 10),
    'the second place has it, too';

done_testing;
