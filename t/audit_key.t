#!/usr/bin/perl
# The trail's key is changed by a reload: the chain says so, proves that who
# brought in the new one had the old, and says which records workers wrote
# that still had the old one.  tsface-audit checks it with all keys, and takes
# no key that came in another way.

use lib 't/lib';
use TSFace::Test;
use TSFace::Load;
use TSFace::Schema;
use TSFace::Trail;
use Digest::SHA 'hmac_sha256_hex';

my $t = TSFace::Test->new(workers => 2);
my $dir = $t->dir;
my $sandbox = $t->sandbox;
my $trail = "$dir/trail/keys.jsonl";

my %key = map { $_ => "the-key-$_-of-the-trail-" . $_ x 20 } 'A' .. 'D';
$t->secret("key.$_", $key{$_}) for keys %key;
my %id = map { $_ => TSFace::Trail::key_id($key{$_}) } keys %key;

sub keys_of { return map { ('--key', "$dir/secrets/key.$_") } split //, $_[0] }

sub conf {
    my ($key, $previous) = @_;
    my $more = $previous
        ? "key_previous file:$dir/secrets/key.$previous;" : '';
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%

    tsface_audit_trail keys {
        file       $trail;
        key        file:$dir/secrets/key.$key;
        $more
        durability write;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller \$http_x_caller;
            tsface_audit  keys;
        }
    }
}
END
}

sub records {
    my ($records, $wrong) = TSFace::Trail::read_trail($trail,
        [ @key{qw(A B C D)} ]);
    is_deeply $wrong, [], 'one chain' or diag explain $wrong;
    is_deeply [ TSFace::Schema::trail_errors($records) ], [],
        'of records that are valid' if TSFace::Schema::available();
    return @$records;
}

# --- the same key twice is no change

my ($code, $why) = $t->nginx_t(conf('A', 'A'));
isnt $code, 0, 'key_previous must be another';
like $why, qr/"key_previous" is the same as "key" in tsface_audit_trail "keys"/,
    'it says so';

# --- records say which key they are under

$t->start(conf('A'));
is $t->revoke('user-1')->status, 204, 'revoked';

my @first = records();
is $first[0]{type}, 'open', 'the first record';
is $first[0]{key_id}, $id{A}, 'has the id of the key';
is scalar(grep { $_->{type} eq 'key' } @first), 0, 'which came with the trail';
like $t->read_file("$trail.chain"), qr/^tsface-chain 2 .* $id{A} /,
    'PATH.chain has it, too';

$t->reload;
is $t->revoke('user-1')->status, 204, 'revoked after a reload';
is scalar(grep { $_->{type} eq 'key' } records()), 0, 'no other key';

# --- another key, while a worker with the first is still at work

$sandbox->fault(kind => 'delay', path => 'revoke', ms => 4000, count => 1);
my $n = () = records();
my ($slow) = $t->burst(1, connected => sub {
    $t->wait_for(sub { (() = $t->read_file($trail) =~ /\n/g) > $n }, 5);
    my @old = $t->workers;
    $t->reload(conf('B', 'A'), wait => 0);

    # of the old workers, the one without a request is gone, so that both
    # have heard of the reload
    $t->wait_for(sub { (grep { my $w = $_; grep { $_ == $w } @old }
        $t->workers) < @old }, 10);
    is $t->revoke('user-1')->status, 204, 'revoked under the new key';
});
is $slow->status, 204, 'and one that began under the old';
$t->wait_for(sub { (() = $t->workers) == 2 }, 10);
is $t->revoke('user-1')->status, 204, 'and another';

my @records = records();
my @keys = grep { $_->{type} eq 'key' } @records;
is_deeply [ map { "$_->{previous_key_id} $_->{key_id}" } @keys ],
    [ "$id{A} $id{B}", "$id{B} $id{A}", "$id{A} $id{B}" ],
    'the new key, the old one once more, the new';
is_deeply [ map { exists $_->{proof} ? 1 : 0 } @keys ], [ 1, 0, 1 ],
    'who has both proves it';

for my $record (grep { $_->{proof} } @keys) {
    my ($before) = grep { $_->{seq} == $record->{seq} - 1 } @records;
    is $record->{proof}, hmac_sha256_hex("tsface key change\0$id{B}"
        . $before->{mac} . $record->{seq}, $key{A}), 'as the manual says';
}

is $t->audit('verify', '--from-start', keys_of('BA'), $trail), 0, 'verify: whole'
    or diag $t->said;
like $t->said, qr/^keys:  changed 1 times$/m, 'one change';
my ($back) = grep { $_->{type} eq 'key' && $_->{key_id} eq $id{A} } @records;
my $stale = $keys[2]{seq} - $back->{seq};
like $t->said, qr/^keys:\ \ $stale\ records\ by\ workers\ with\ the\ key\ before,
    \ the\ last\ is\ seq\ @{[ $keys[2]{seq} - 1 ]}$/mx, 'and who was late';

is $t->audit('verify', '--from-start', keys_of('A'), $trail), 1,
    'verify: without the new key';
like $t->said, qr/:$keys[0]{seq}:\ seq\ $keys[0]{seq}:\ is\ under\ the\ key\ with\ the\ id
    \ $id{B}:\ give\ it/x, 'which it says';
is $t->audit('verify', '--from-start', keys_of('B'), $trail), 1,
    'verify: without the old';
like $t->said, qr/:1: seq 1: is under the key with the id $id{A}: /,
    'which it says';

my @whole = map { "$_->{_line}\n" } @records;
for my $from (1 .. $#whole - 1) {
    $t->write_file('tmp/rest', join '', @whole[$from .. $#whole]);
    my $rc = $t->audit('verify', keys_of('BA'), "$dir/tmp/rest");

    # within the time of both keys it can't be known that there were both
    my $within = $from + 1 >= $keys[0]{seq} && $from + 1 < $back->{seq} - 1;
    is $rc, $within ? 1 : 0, "from record $from on" or diag $t->said;
}

is $t->audit('show', keys_of('AB'), '--user', 'user-1', '--json', $trail), 0,
    'show: a user';
is scalar(() = $t->said =~ /"type":"intent"/g),
    scalar(grep { $_->{type} eq 'intent' && $_->{user} && $_->{user}{hmac} =~
    /^(?:@{[ join '|', map { hmac_sha256_hex("tsface user\0user-1", $_) }
    @key{qw(A B)} ]})$/ } @records), 'under each key';
like $t->said, qr/"hmac":"@{[ hmac_sha256_hex("tsface user\0user-1", $_) ]}"/,
    'both are there' for @key{qw(A B)};

# --- the end of the chain is lost: nobody knows the key, which is told

unlink "$trail.chain" or die;
is $t->revoke('user-1')->status, 204, 'PATH.chain is lost: revoked';
is $t->audit('verify', '--from-start', keys_of('AB'), $trail), 0, 'whole'
    or diag $t->said;
my ($lost) = reverse grep { $_->{type} eq 'key' } records();
is $lost->{key_id}, $id{B}, 'the key, which is the same';

$t->write_file('trail/keys.jsonl.chain', sprintf "tsface-chain 1 %020d %s "
    . "%020d %020d\n", $_->[0], $_->[1], (stat $trail)[1, 7])
    for map { [ @$_{qw(seq mac)} ] } (records())[-1];
is $t->revoke('user-1')->status, 204, 'PATH.chain of version 1: revoked';
is $t->audit('verify', '--from-start', keys_of('AB'), $trail), 0, 'whole'
    or diag $t->said;
like $t->read_file("$trail.chain"), qr/^tsface-chain 2 /, 'of version 2 now';

# --- a third without the proof

$t->reload(conf('C'));
is $t->revoke('user-1')->status, 204, 'a key without the one before: revoked';
is $t->audit('verify', '--from-start', keys_of('ABC'), $trail), 1,
    'verify: it could be anybody\'s';
like $t->said, qr/another\ key,\ with\ the\ id\ $id{C},\ and\ no\ proof\ .*
    --accept-key\ $id{C}\)$/mx, 'it says so';
is $t->audit('verify', '--from-start', keys_of('ABC'), '--accept-key', $id{C},
    $trail), 0, 'unless the auditor knows' or diag $t->said;
is $t->audit('verify', '--from-start', keys_of('ABC'), '--accept-key', $id{D},
    $trail), 1, 'that one key';
is $t->audit('show', keys_of('ABC'), $trail), 1, 'show: the same';
like $t->said, qr/NOT WHOLE: the chain breaks in 1 places/, 'once';

# --- forged: what one can do who has a key, and the file

# Lines sealed anew: [ key, members, or a line ], ...
sub sealed {
    my ($lines, @more) = @_;

    my @out = @$lines;
    for (@more) {
        my ($key, %member) = @$_;
        my ($seq, $mac) = $out[-1] =~ /^\{"v":1,"seq":(\d+),.*"mac":"(\w+)"\}/;
        $seq++;
        $member{proof} = hmac_sha256_hex(
            "tsface key change\0$member{key_id}$mac$seq", $member{proof})
            if $member{proof};
        my $line = qq({"v":1,"seq":$seq,"time":"2026-11-25T00:00:00.000000Z")
            . qq(,"type":") . delete($member{type}) . '"'
            . join '', map { qq(,"$_":"$member{$_}") } sort keys %member;
        push @out, qq($line,"mac":")
            . hmac_sha256_hex($mac . $line, $key) . qq("}\n);
    }

    return $t->write_file('tmp/forged', join '', @out);
}

sub change {
    my ($to, %more) = @_;
    return [ $key{$to}, type => 'key', key_id => $id{$to}, %more ];
}

my @intent = map { [ $key{$_}, type => 'intent' ] } 'A' .. 'D';
my @upto = @whole[0 .. $keys[2]{seq} - 1];      # B took over from A
my %forged = (
    'nobody brings in a key' => [ 1, change('D') ],
    'the old key brings in another' => [ 1, change('D',
        previous_key_id => $id{A}, proof => $key{A}) ],
    'the old key says it was the new' => [ 1, change('D',
        previous_key_id => $id{B}, proof => $key{A}) ],
    'the old key comes back and brings in another' => [ 1, change('A'),
        $intent[0], change('D', previous_key_id => $id{A},
        proof => $key{A}) ],
    'a proof without a name' => [ 1, change('D', proof => $key{B}) ],
    'a proof of another place' => [ 1, $intent[1], change('D',
        previous_key_id => $id{B}, proof => $key{B}), -1 ],
    'no change, another key' => [ 1, $intent[3] ],
    'no change, the old key' => [ 1, $intent[0] ],
    'a change under the old key to the new' => [ 1, [ $key{A}, type => 'key',
        key_id => $id{B} ] ],
    'the new key brings in another' => [ 0, change('D',
        previous_key_id => $id{B}, proof => $key{B}), $intent[3] ],
    'and then the one before it comes back' => [ 0, change('D',
        previous_key_id => $id{B}, proof => $key{B}), change('B'),
        $intent[1] ],
    'the old key is taken back, with a proof, and brings in another' => [ 0,
        change('A', previous_key_id => $id{B}, proof => $key{B}), $intent[0],
        change('D', previous_key_id => $id{A}, proof => $key{A}) ],
    'the one it was taken back from does' => [ 1,
        change('A', previous_key_id => $id{B}, proof => $key{B}), $intent[0],
        change('B'), $intent[1],
        change('D', previous_key_id => $id{B}, proof => $key{B}) ],
    'but not the one before that' => [ 1, change('D',
        previous_key_id => $id{B}, proof => $key{B}), change('A') ],
);

for my $how (sort keys %forged) {
    my ($want, @more) = @{ $forged{$how} };
    my $file;

    if (@more && !ref $more[-1]) {
        # the last line is cut out of its place and put in another
        pop @more;
        my @lines = split /^/, $t->read_file(sealed(\@upto, @more));
        my ($seq, $mac) = $upto[-1] =~ /"seq":(\d+),.*"mac":"(\w+)"/;
        my $line = $lines[-1] =~ s/,"mac".*\n//r;
        $line =~ s/"seq":\d+/'"seq":' . ($seq + 1)/e;
        $line .= ',"mac":"' . hmac_sha256_hex($mac . $line, $key{D}) . "\"}\n";
        $file = $t->write_file('tmp/forged', join '', @upto, $line);
    } else {
        $file = sealed(\@upto, @more);
    }

    is $t->audit('verify', '--from-start', keys_of('ABCD'), $file), $want,
        "forged: $how" or diag $t->said;
}

# a byte of each of the records of the chain's keys

for my $record (@keys) {
    my @lines = @whole;
    for my $at (0 .. length($record->{_line}) - 1) {
        next if $at % 7;
        my $line = $whole[$record->{seq} - 1];
        substr($line, $at, 1) ^= "\x01";
        $lines[$record->{seq} - 1] = $line;
        $t->write_file('tmp/edited', join '', @lines);
        next if $t->audit('verify', '--from-start', keys_of('AB'),
            "$dir/tmp/edited") == 1;
        fail "seq $record->{seq}, byte $at changed";
    }
}

done_testing;
