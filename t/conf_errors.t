#!/usr/bin/perl
# nginx -t refuses what is unsafe or can't work, and says where, what and why.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;

# Parts of a good configuration.  A row below replaces some of them.
my %good = (
    zone        => 'tsface_zone zone=tsface:1m;',
    region      => 'region sbx;',
    client_id   => 'client_id the-client;',
    secret      => 'client_secret file:%%DIR%%/secrets/good;',
    more        => '',
    trail_file  => 'file %%DIR%%/trail/trail.jsonl;',
    trail_key   => 'key file:%%DIR%%/secrets/audit.key;',
    trail_more  => '',
    limit_zone  => 'tsface_limit_zone $remote_addr zone=lim:1m rate=5r/s;',
    http        => '',
    pass        => 'tsface_pass acme;',
    caller      => 'tsface_caller $remote_addr;',
    audit       => 'tsface_audit trail;',
    limit       => 'tsface_limit zone=lim;',
    location    => '',
    server      => '',
);

sub conf {
    my %c = (%good, @_);

    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    $c{zone}
    tsface_credentials acme {
        $c{region}
        $c{client_id}
        $c{secret}
        $c{more}
    }
    tsface_audit_trail trail {
        $c{trail_file}
        $c{trail_key}
        $c{trail_more}
    }
    $c{limit_zone}
    $c{http}
    server {
        listen 127.0.0.1:%%PORT_0%%;
        $c{server}
        location /v1/users/ {
            $c{pass}
            $c{caller}
            $c{audit}
            $c{limit}
            $c{location}
        }
    }
}
END
}

my $dir = $t->dir;

$t->secret('good', 'a-good-secret');
$t->secret('empty', '');
$t->secret('newline', "\n");
$t->secret('open644', 'readable-by-others', 0644);
$t->secret('open604', 'readable-by-some-others', 0604);
$t->secret('group', 'readable-by-the-group', 0640);
$t->secret('two', "one-secret\nand-the-next\n");
$t->secret('three', "one-secret\nand-the-next\nand-more\n");
$t->secret('large', 'L' x 5000);
$t->secret('short', 'only-31-bytes-long-............');
$t->secret('before.key', 'the-key-before-the-audit-key-...-of-old');
mkdir "$dir/secrets/folder";

# Keys, and files that are none.
sub openssl {
    my ($code, $output) = $t->run(30, 'openssl', @_);
    die "openssl @_: $output\n" if $code;
    return;
}

sub key {
    my ($name, $cipher, @genpkey) = @_;
    openssl('genpkey', @genpkey, '-out', "$dir/secrets/$name.new",
        $cipher ? ('-aes256', '-pass', 'pass:the-password') : ());
    $t->secret($name, $t->read_file("secrets/$name.new"));
    unlink "$dir/secrets/$name.new";
    return;
}

my @rsa = qw(-algorithm RSA -pkeyopt);
my @ec = qw(-algorithm EC -pkeyopt);
key('rsa.pem', 0, @rsa, 'rsa_keygen_bits:2048');
key('rsa1024.pem', 0, @rsa, 'rsa_keygen_bits:1024');
key('encrypted.pem', 1, @rsa, 'rsa_keygen_bits:2048');
key('ec.pem', 0, @ec, 'ec_paramgen_curve:P-256');
key('p384.pem', 0, @ec, 'ec_paramgen_curve:P-384');
key('ed25519.pem', 0, qw(-algorithm ED25519));
openssl('pkey', '-in', "$dir/secrets/rsa.pem", '-pubout', '-out',
    "$dir/secrets/public.pem");
$t->secret('public.pem', $t->read_file('secrets/public.pem'));
$t->secret('open.pem', $t->read_file('secrets/ec.pem'), 0644);
$t->secret('cut.pem', substr $t->read_file('secrets/rsa.pem'), 0, 900);
$t->secret('padded.pem', $t->read_file('secrets/ec.pem') . 'x' x 16384);
$t->secret('password', "the-password\n");
$t->secret('wrong', "not-the-password\n");
$t->secret('passwords', "the-password\nthe-next-password\n");

# The parts of credentials with a key.
sub with_key {
    my ($name, $more) = @_;
    return { secret => "client_key file:%%DIR%%/secrets/$name;",
        more => 'token_auth_method private_key_jwt; ' . ($more || '') };
}

# The parts of credentials with a certificate.
sub with_certificate {
    my ($name, $more, $key) = @_;
    $key ||= 'payments.key';
    return { secret => "client_certificate %%CERTS%%/$name.pem;"
        . " client_certificate_key file:%%DIR%%/secrets/$key;",
        more => 'token_auth_method self_signed_tls_client_auth; '
            . ($more || '') };
}

my $certs = $t->certs_dir;
$t->secret('payments.key', $t->read_file("$certs/payments.key"));
$t->write_file('conf/half.pem', $t->read_file("$certs/payments.pem")
    . substr $t->read_file("$certs/ca.pem"), 0, 300);
openssl(qw(req -x509 -days 2 -subj /CN=small -key),
    "$dir/secrets/rsa1024.pem", '-out', "$dir/conf/small.pem");

my $at = qr{ in \Q$dir\E/conf/test-\d+\.conf:\d+};
my $other = 'endpoint https://api.example.com/cis;';
my $token = 'token_endpoint https://api.example.com/oidc/token;';
my $second = 'client_id x; client_secret file:%%DIR%%/secrets/good; region eu;';

# [ what is wrong, { replaced parts }, words of the message ]
my @refused = (
    # who is allowed to be plain, and where secrets live
    [ 'http endpoint', { region => "endpoint http://api.example.com/cis; $token" },
        qr/http:.*api\.example\.com/ ],
    [ 'http token endpoint',
        { region => "$other token_endpoint http://api.example.com/oidc/token;" },
        qr/token_endpoint.*http:|http:.*token_endpoint/ ],
    [ 'http endpoint that only looks like loopback',
        { region => "endpoint http://127.0.0.1.example.com/cis; $token" },
        qr/http:/ ],
    [ 'no scheme', { region => "endpoint api.example.com; $token" },
        qr/api\.example\.com.*endpoint/ ],
    [ 'user info in an URL',
        { region => "endpoint https://u:p\@api.example.com/cis; $token" },
        qr/endpoint/ ],
    [ 'query in an URL',
        { region => "endpoint https://api.example.com/cis?a=b; $token" },
        qr/endpoint/ ],
    [ 'bad port', { region => "endpoint https://api.example.com:70000; $token" },
        qr/port/ ],
    [ 'secret in the configuration',
        { secret => 'client_secret hunter2hunter2;' },
        qr/client_secret.*file:PATH/ ],
    [ 'empty secret file', { secret => 'client_secret file:%%DIR%%/secrets/empty;' },
        qr/secrets\/empty.*empty/ ],
    [ 'secret file with only a newline',
        { secret => 'client_secret file:%%DIR%%/secrets/newline;' },
        qr/secrets\/newline.*empty/ ],
    [ 'secret file others can read',
        { secret => 'client_secret file:%%DIR%%/secrets/open644;' },
        qr/open644.*0644.*chmod/ ],
    [ 'secret file the world but not the group can read',
        { secret => 'client_secret file:%%DIR%%/secrets/open604;' },
        qr/open604.*0604.*chmod/ ],
    [ 'secret file too large', { secret => 'client_secret file:%%DIR%%/secrets/large;' },
        qr/large.*4096 bytes/ ],
    [ 'secret is a folder', { secret => 'client_secret file:%%DIR%%/secrets/folder;' },
        qr/folder.*not a regular file/ ],
    [ 'no such secret file', { secret => 'client_secret file:%%DIR%%/secrets/none;' },
        qr/secrets\/none.*failed.*No such file|No such file.*/ ],
    [ 'environment variable not set', { secret => 'client_secret env:TSFACE_NOT_SET;' },
        qr/TSFACE_NOT_SET.*not set/ ],
    [ 'no systemd credentials', { secret => 'client_secret credential:x;' },
        qr/CREDENTIALS_DIRECTORY/ ],
    [ 'credential is a path', { secret => 'client_secret credential:../x;' },
        qr/client_secret/ ],
    [ 'nothing after file:', { secret => 'client_secret file:;' },
        qr/client_secret/ ],
    [ 'two places for the next secret',
        { secret => 'client_secret file:%%DIR%%/secrets/two; '
            . 'client_secret_next file:%%DIR%%/secrets/good;' },
        qr/client_secret_next.*one line/ ],
    [ 'three lines', { secret => 'client_secret file:%%DIR%%/secrets/three;' },
        qr/secrets\/three.*more than two lines/ ],
    [ 'another handler behind tsface_pass',
        { location => 'proxy_pass http://127.0.0.1:1;' },
        qr/"tsface_pass" is not the only handler/ ],
    [ 'another handler before it',
        { pass => 'stub_status; tsface_pass acme;' },
        qr/"tsface_pass" directive is not the only handler/ ],
    [ 'a status page beside it', { location => 'tsface_status;' },
        qr/"tsface_status" directive is not the only handler/ ],
    [ 'readiness beside it', { location => 'tsface_ready;' },
        qr/"tsface_ready" directive is not the only handler/ ],
    [ 'rejected status', { location => 'tsface_token_rejected 500;' },
        qr/invalid status "500" in "tsface_token_rejected"/ ],
    [ 'rejected 429', { location => 'tsface_token_rejected 401 429;' },
        qr/invalid status "429"/ ],
    [ 'rejected twice', { location => 'tsface_token_rejected 401 401;' },
        qr/duplicate status "401"/ ],
    [ 'short audit key', { trail_key => 'key file:%%DIR%%/secrets/short;' },
        qr/short.*31 bytes.*32/ ],
    [ 'open audit key', { trail_key => 'key file:%%DIR%%/secrets/open644;' },
        qr/open644.*0644/ ],
    [ 'audit key in the configuration', { trail_key => 'key ' . 'k' x 40 . ';' },
        qr/key.*file:PATH/ ],

    # names
    [ 'unknown credentials', { pass => 'tsface_pass nobody;' }, qr/nobody/ ],
    [ 'unknown trail', { audit => 'tsface_audit nowhere;' }, qr/nowhere/ ],
    [ 'unknown limit', { limit => 'tsface_limit zone=nolimit;' }, qr/nolimit/ ],
    [ 'two credentials with one name',
        { http => "tsface_credentials acme { $second }" },
        qr/acme.*duplicate|duplicate.*acme/ ],
    [ 'two trails with one name', { http => 'tsface_audit_trail trail { '
        . 'file %%DIR%%/trail/2; key file:%%DIR%%/secrets/audit.key; }' },
        qr/trail.*duplicate|duplicate.*trail/ ],
    [ 'two trails with one file', { http => 'tsface_audit_trail trail2 { '
        . 'file %%DIR%%/trail/trail.jsonl; key file:%%DIR%%/secrets/audit.key; }' },
        qr/trail\.jsonl/ ],
    [ 'a trail beside a shorter name', { http => 'tsface_audit_trail trail2 { '
        . 'file %%DIR%%/trail/trail.jsonl-2; '
        . 'key file:%%DIR%%/secrets/audit.key; }' },
        qr/one name begins with the other/ ],
    [ 'a trail beside a longer name', { http => 'tsface_audit_trail trail2 { '
        . 'file %%DIR%%/trail/trail; key file:%%DIR%%/secrets/audit.key; }' },
        qr/one name begins with the other/ ],
    [ 'two limits with one name', { http =>
        'tsface_limit_zone $uri zone=lim:1m rate=1r/s;' }, qr/lim/ ],
    [ 'unknown region', { region => 'region mars;' }, qr/mars.*sbx|region.*mars/ ],

    # status
    [ 'unknown format of the status', { server =>
        'location /s { tsface_status xml; }' },
        qr/"xml" in "tsface_status".*json or prometheus/ ],
    [ 'two formats of the status', { server =>
        'location /s { tsface_status json; tsface_status prometheus; }' },
        qr/"tsface_status" directive is duplicate/ ],
    [ 'status with two parameters', { server =>
        'location /s { tsface_status json prometheus; }' },
        qr/invalid number of arguments in "tsface_status"/ ],
    [ 'ready with a parameter', { server => 'location /r { tsface_ready on; }' },
        qr/invalid number of arguments in "tsface_ready"/ ],
    [ 'required neither on nor off', { more => 'required yes;' },
        qr/invalid value "yes" in "required"/ ],

    # zones
    [ 'zone too small', { zone => 'tsface_zone zone=tsface:8k;' },
        qr/too small|tsface.*small/ ],
    [ 'limit zone too small', { limit_zone =>
        'tsface_limit_zone $uri zone=lim:8k rate=1r/s;' }, qr/small/ ],
    [ 'zone without a size', { zone => 'tsface_zone zone=tsface;' },
        qr/tsface/ ],
    [ 'zone with a bad size', { zone => 'tsface_zone zone=tsface:1x;' },
        qr/tsface:1x|size/ ],
    [ 'second zone', { http => 'tsface_zone zone=tsface2:1m;' }, qr/duplicate/ ],
    [ 'no zone', { zone => '' }, qr/tsface_zone/ ],

    # limits
    [ 'no rate', { limit_zone => 'tsface_limit_zone $uri zone=lim:1m;' },
        qr/rate|number of arguments/ ],
    [ 'bad rate unit', { limit_zone =>
        'tsface_limit_zone $uri zone=lim:1m rate=5r/w;' }, qr/rate.*5r\/w/ ],
    [ 'rate of nothing', { limit_zone =>
        'tsface_limit_zone $uri zone=lim:1m rate=0r/s;' }, qr/rate.*0r\/s/ ],
    [ 'bad burst', { limit_zone =>
        'tsface_limit_zone $uri zone=lim:1m rate=5r/s burst=x;' },
        qr/burst=x/ ],
    [ 'unknown limit parameter', { limit_zone =>
        'tsface_limit_zone $uri zone=lim:1m rate=5r/s color=red;' },
        qr/color=red/ ],
    [ 'limit zone whose name cannot be told', { limit_zone =>
        'tsface_limit_zone $uri "zone=l\"im:1m" rate=5r/s;' },
        qr/invalid zone name "l"im".*ASCII/ ],
    [ 'limit zone whose name is not ASCII', { limit_zone =>
        "tsface_limit_zone \$uri zone=l\xc3\xa4m:1m rate=5r/s;" },
        qr/invalid zone name.*ASCII/ ],
    [ 'limit zone with a long name', { limit_zone =>
        'tsface_limit_zone $uri zone=' . 'n' x 65 . ':1m rate=5r/s;' },
        qr/invalid zone name.*at most 64/ ],
    [ 'limit without a zone', { limit => 'tsface_limit dry_run;' },
        qr/"tsface_limit".*must have the "zone" parameter/ ],
    [ 'delay of nothing', { limit => 'tsface_limit zone=lim delay=0;' },
        qr/invalid "delay=0".*between 1 and 1000/ ],
    [ 'delay of too many', { limit => 'tsface_limit zone=lim delay=1001;' },
        qr/invalid "delay=1001"/ ],
    [ 'delay twice', { limit => 'tsface_limit zone=lim delay delay=2;' },
        qr/invalid or repeated parameter "delay=2"/ ],
    [ 'dry_run twice', { limit => 'tsface_limit zone=lim dry_run dry_run;' },
        qr/invalid or repeated parameter "dry_run"/ ],
    [ 'delay_max without delay', { limit =>
        'tsface_limit zone=lim delay_max=1s;' },
        qr/"delay_max" without "delay"/ ],
    [ 'delay_max too long', { limit =>
        'tsface_limit zone=lim delay delay_max=2m;' },
        qr/invalid time in "delay_max=2m".*between 1ms and 60s/ ],
    [ 'bad retry_jitter', { limit =>
        'tsface_limit zone=lim retry_jitter=x;' },
        qr/invalid time in "retry_jitter=x"/ ],
    [ 'off and more', { limit => 'tsface_limit off dry_run;' },
        qr/"tsface_limit".*besides "off"/ ],
    [ 'limit headers neither on nor off', { more => '',
        location => 'tsface_limit_headers maybe;' },
        qr/invalid value "maybe" in "tsface_limit_headers"/ ],
    [ 'same limit twice', { location => 'tsface_limit zone=lim;' },
        qr/lim|duplicate/ ],

    # a location that would be open
    [ 'no caller', { caller => '' }, qr/tsface_caller/ ],
    [ 'no audit', { audit => '' }, qr/tsface_audit/ ],
    [ 'two passes', { location => 'tsface_pass acme;' }, qr/duplicate/ ],
    [ 'empty caller', { caller => 'tsface_caller "";' }, qr/tsface_caller/ ],
    [ 'pass in a server', { server => 'tsface_pass acme;' },
        qr/"tsface_pass" directive is not allowed here/ ],
    [ 'credentials in a server', { server => "tsface_credentials b { $second }" },
        qr/"tsface_credentials" directive is not allowed here/ ],

    # blocks
    [ 'unknown directive in credentials', { more => 'colour red;' },
        qr/colour/ ],
    [ 'unknown directive in a trail', { trail_more => 'colour red;' },
        qr/colour/ ],
    [ 'no client_id', { client_id => '' }, qr/client_id/ ],
    [ 'empty client_id', { client_id => 'client_id "";' }, qr/client_id/ ],
    [ 'no client_secret', { secret => '' }, qr/client_secret/ ],
    [ 'no region', { region => '' }, qr/region|endpoint/ ],
    [ 'endpoint alone', { region => $other }, qr/region|token_endpoint/,
        'may be accepted' ],
    [ 'no trail file', { trail_file => '' }, qr/file/ ],
    [ 'no trail key', { trail_key => '' }, qr/key/ ],
    [ 'duplicate region', { more => 'region eu;' }, qr/region.*duplicate/ ],
    [ 'duplicate client_id', { more => 'client_id x;' },
        qr/client_id.*duplicate/ ],
    [ 'checkpoint_key without PEM', { trail_more =>
        'checkpoint_key file:%%DIR%%/secrets/good;' },
        qr/good" of "checkpoint_key" holds no private key in PEM/ ],
    [ 'checkpoint_key for others', { trail_more =>
        'checkpoint_key file:%%DIR%%/secrets/open.pem;' }, qr/open\.pem.*0644/ ],
    [ 'checkpoint_key of another kind', { trail_more =>
        'checkpoint_key file:%%DIR%%/secrets/rsa.pem;' },
        qr/rsa\.pem" of "checkpoint_key" holds another key.*ed25519/ ],
    [ 'checkpoint_key that is encrypted', { trail_more =>
        'checkpoint_key file:%%DIR%%/secrets/encrypted.pem;' },
        qr/encrypted\.pem" of "checkpoint_key" is encrypted/ ],
    [ 'checkpoint_file without a key', { trail_more =>
        'checkpoint_file %%DIR%%/trail/c;' },
        qr/"checkpoint_file" without "checkpoint_key"/ ],
    [ 'checkpoint_records without a key', { trail_more =>
        'checkpoint_records 100;' },
        qr/"checkpoint_records" without "checkpoint_key"/ ],
    [ 'checkpoint_interval without a key', { trail_more =>
        'checkpoint_interval 1s;' },
        qr/"checkpoint_interval" without "checkpoint_key"/ ],
    [ 'checkpoint_file beside file', { trail_more =>
        'checkpoint_key file:%%DIR%%/secrets/ed25519.pem;'
        . 'checkpoint_file %%DIR%%/trail/trail.jsonl.checkpoints;' },
        qr/"checkpoint_file" of .* must not begin with the .* "file" of "trail"/ ],
    map({ my ($how, $mine, $theirs) = @$_;
        [ "checkpoint_file is the file of $how trail", { trail_more => $mine,
            http => 'tsface_audit_trail other {'
            . ' file %%DIR%%/trail/other.jsonl;'
            . " key file:%%DIR%%/secrets/audit.key; $theirs }" },
        qr/"checkpoint_file" of .* must not begin with the .* "file" of "/ ] }
        [ 'a later', 'checkpoint_key file:%%DIR%%/secrets/ed25519.pem;'
            . 'checkpoint_file %%DIR%%/trail/other.jsonl;', '' ],
        [ 'an earlier', '', 'checkpoint_key file:%%DIR%%/secrets/ed25519.pem;'
            . 'checkpoint_file %%DIR%%/trail/trail.jsonl.0;' ]),
    [ 'checkpoint_file that is none', { trail_more =>
        'checkpoint_key file:%%DIR%%/secrets/ed25519.pem;'
        . 'checkpoint_file %%DIR%%/secrets/good;' },
        qr/secrets\/good" of tsface_audit_trail .* is not a trail's file/ ],
    [ 'checkpoint_file nowhere', { trail_more =>
        'checkpoint_key file:%%DIR%%/secrets/ed25519.pem;'
        . 'checkpoint_file %%DIR%%/none/c;' }, qr/none\/c/ ],
    [ 'few checkpoint_records', { trail_more =>
        'checkpoint_key file:%%DIR%%/secrets/ed25519.pem;'
        . 'checkpoint_records 9;' }, qr/must be between 10 and 1000000/ ],
    [ 'no checkpoint_interval', { trail_more =>
        'checkpoint_key file:%%DIR%%/secrets/ed25519.pem;'
        . 'checkpoint_interval 0;' }, qr/checkpoint_interval/ ],
    [ 'small rotate_size', { trail_more => 'rotate_size 63k;' },
        qr/invalid size "63k" in "rotate_size".*64k/ ],
    [ 'bad rotate_size', { trail_more => 'rotate_size large;' },
        qr/invalid size "large" in "rotate_size"/ ],
    [ 'duplicate rotate_size', { trail_more =>
        'rotate_size off; rotate_size 1m;' }, qr/rotate_size.*duplicate/ ],
    [ 'short previous key', { trail_more =>
        'key_previous file:%%DIR%%/secrets/short;' }, qr/short.*31 bytes.*32/ ],
    [ 'duplicate previous key', { trail_more => join ' ',
        ('key_previous file:%%DIR%%/secrets/before.key;') x 2 },
        qr/key_previous.*duplicate/ ],
    [ 'duplicate trail key', { trail_more =>
        'key file:%%DIR%%/secrets/audit.key;' }, qr/key.*duplicate/ ],
    [ 'bad token_auth_method', { more => 'token_auth_method none;' },
        qr/none/ ],
    [ 'bad basic_encoding', { more => 'token_auth_method client_secret_basic;'
        . ' basic_encoding utf8;' }, qr/utf8/ ],
    [ 'basic_encoding without Basic', { more => 'basic_encoding raw;' },
        qr/"basic_encoding".*not used.*client_secret_post/ ],
    [ 'raw Basic with a colon in the id', { client_id => 'client_id a:b;',
        more => 'token_auth_method client_secret_basic; basic_encoding raw;' },
        qr/basic_encoding raw.*a:b/ ],

    # keys
    [ 'private_key_jwt without a key', { secret => '',
        more => 'token_auth_method private_key_jwt;' },
        qr/no "client_key".*private_key_jwt/ ],
    [ 'key without private_key_jwt', { more =>
        'client_key file:%%DIR%%/secrets/rsa.pem;' },
        qr/"client_key".*not used.*client_secret_post/ ],
    map({ [ "$_->[0] without private_key_jwt", { more => "@$_;" },
        qr/"$_->[0]".*not used.*client_secret_post/ ] }
        [ 'client_key_password', 'file:%%DIR%%/secrets/password' ],
        [ 'assertion_algorithm', 'RS256' ], [ 'assertion_key_id', 'x' ],
        [ 'assertion_audience', 'x' ], [ 'assertion_lifetime', '5s' ]),
    [ 'secret with private_key_jwt', with_key('rsa.pem',
        'client_secret file:%%DIR%%/secrets/good;'),
        qr/"client_secret".*not used.*private_key_jwt/ ],
    [ 'next secret with private_key_jwt', with_key('rsa.pem',
        'client_secret_next file:%%DIR%%/secrets/good;'),
        qr/"client_secret_next".*private_key_jwt/ ],
    [ 'basic_encoding with private_key_jwt', with_key('rsa.pem',
        'basic_encoding raw;'), qr/"basic_encoding".*private_key_jwt/ ],
    [ 'key in the configuration', { secret => 'client_key hunter2hunter2;',
        more => 'token_auth_method private_key_jwt;' },
        qr/client_key.*file:PATH/ ],
    [ 'no such key file', with_key('none.pem'), qr/none\.pem.*client_key/ ],
    [ 'key others can read', with_key('open.pem'), qr/open\.pem.*0644.*chmod/ ],
    [ 'key is no key', with_key('good'), qr/secrets\/good.*no private key/ ],
    [ 'half a key', with_key('cut.pem'), qr/cut\.pem.*no private key/ ],
    [ 'key too large', with_key('padded.pem'), qr/padded\.pem.*16384 bytes/ ],
    [ 'public key', with_key('public.pem'), qr/public\.pem.*no private key/ ],
    [ 'short RSA key', with_key('rsa1024.pem'), qr/rsa1024\.pem.*2048 bits/ ],
    [ 'another curve', with_key('p384.pem'), qr/p384\.pem.*P-256/ ],
    [ 'Edwards key', with_key('ed25519.pem'), qr/neither an RSA nor an EC/ ],
    [ 'EC key for RS256', with_key('ec.pem', 'assertion_algorithm RS256;'),
        qr/ec\.pem.*only ES256/ ],
    [ 'RSA key for ES256', with_key('rsa.pem', 'assertion_algorithm ES256;'),
        qr/rsa\.pem.*ES256 can't/ ],
    [ 'unknown algorithm', with_key('rsa.pem', 'assertion_algorithm HS256;'),
        qr/HS256/ ],
    [ 'encrypted key', with_key('encrypted.pem'),
        qr/encrypted\.pem.*is encrypted.*client_key_password/ ],
    [ 'wrong password', with_key('encrypted.pem',
        'client_key_password file:%%DIR%%/secrets/wrong;'),
        qr/encrypted\.pem.*can't be decrypted/ ],
    [ 'password in the configuration', with_key('encrypted.pem',
        'client_key_password hunter2hunter2;'),
        qr/client_key_password.*file:PATH/ ],
    [ 'two passwords', with_key('encrypted.pem',
        'client_key_password file:%%DIR%%/secrets/passwords;'),
        qr/client_key_password.*second line/ ],
    [ 'password of a key that is not encrypted', with_key('rsa.pem',
        'client_key_password file:%%DIR%%/secrets/password;'),
        qr/client_key_password.*not encrypted/ ],
    [ 'lifetime of nothing', with_key('rsa.pem', 'assertion_lifetime 0;'),
        qr/assertion_lifetime.*between 1s and 1h/ ],
    [ 'lifetime of more than an hour', with_key('rsa.pem',
        'assertion_lifetime 3601s;'), qr/assertion_lifetime.*1s and 1h/ ],
    [ 'empty kid', with_key('rsa.pem', 'assertion_key_id "";'),
        qr/assertion_key_id.*1 to 512/ ],
    [ 'space in aud', with_key('rsa.pem', 'assertion_audience "a b";'),
        qr/assertion_audience.*visible ASCII/ ],
    [ 'duplicate key', with_key('rsa.pem',
        'client_key file:%%DIR%%/secrets/rsa.pem;'), qr/client_key.*duplicate/ ],

    # certificates
    [ 'tls_client_auth without a certificate', { secret => '',
        more => 'token_auth_method tls_client_auth;' },
        qr/no "client_certificate".*tls_client_auth/ ],
    [ 'certificate without a key', { more => 'client_certificate '
        . '%%CERTS%%/payments.pem;' }, qr/no "client_certificate_key"/ ],
    [ 'key of no certificate', { more => 'client_certificate_key '
        . 'file:%%DIR%%/secrets/payments.key;' }, qr/no "client_certificate"/ ],
    [ 'secret with self_signed_tls_client_auth', with_certificate('payments',
        'client_secret file:%%DIR%%/secrets/good;'),
        qr/"client_secret".*not used.*self_signed_tls_client_auth/ ],
    [ 'key of another certificate', with_certificate('support'),
        qr/payments\.key.*not the key of.*support\.pem/ ],
    [ 'no such certificate', with_certificate('none'),
        qr/none\.pem.*client_certificate.*failed.*No such file/ ],
    [ 'certificate is none', { more => 'client_certificate '
        . '%%DIR%%/secrets/good; client_certificate_key '
        . 'file:%%DIR%%/secrets/payments.key;' },
        qr/secrets\/good.*no file of certificates/ ],
    [ 'half a chain', { more => 'client_certificate %%DIR%%/conf/half.pem; '
        . 'client_certificate_key file:%%DIR%%/secrets/payments.key;' },
        qr/half\.pem.*no file of certificates/ ],
    [ 'certificate key others can read', with_certificate('payments', '',
        'open.pem'), qr/open\.pem.*0644/ ],
    [ 'encrypted certificate key', with_certificate('payments', '',
        'encrypted.pem'), qr/encrypted\.pem.*client_certificate_key.*is enc/ ],
    [ 'password of a certificate key that is not encrypted',
        with_certificate('payments',
        'client_key_password file:%%DIR%%/secrets/password;'),
        qr/client_key_password.*not encrypted/ ],
    [ 'tls_client_auth over http', { %{ with_certificate('payments') },
        region => 'endpoint https://127.0.0.1:1/cis; '
        . 'token_endpoint http://127.0.0.1:1/oidc/token;' },
        qr/tls_client_auth.*"token_endpoint" with https/ ],
    [ 'certificate for no TLS', { more => 'client_certificate '
        . '%%CERTS%%/payments.pem; client_certificate_key '
        . 'file:%%DIR%%/secrets/payments.key;',
        region => 'endpoint http://127.0.0.1:1/cis; '
        . 'token_endpoint http://127.0.0.1:1/oidc/token;' },
        qr/"client_certificate".*not used.*https/ ],
    [ 'small certificate key', { more => 'client_certificate '
        . '%%DIR%%/conf/small.pem; client_certificate_key '
        . 'file:%%DIR%%/secrets/rsa1024.pem;' },
        qr/OpenSSL does not take the client_certificate.*too small/ ],

    [ 'reserved parameter', { more => 'parameter client_secret x;' },
        qr/client_secret/ ],
    [ 'reserved parameter grant_type', { more => 'parameter grant_type x;' },
        qr/grant_type/ ],
    [ 'parameter without a value', { more => 'parameter a;' },
        qr/number of arguments.*parameter/ ],
    [ 'bad time', { more => 'exchange_timeout soon;' },
        qr/exchange_timeout.*invalid|invalid.*exchange_timeout/ ],
    [ 'bad verify', { more => 'verify perhaps;' }, qr/verify|perhaps/ ],
    [ 'no CA file', { more => 'trusted_certificate %%DIR%%/none.pem;' },
        qr/none\.pem/ ],
    [ 'bad ciphers', { more => 'ssl_ciphers NONSENSE;' }, qr/NONSENSE/ ],
    [ 'bad protocol', { more => 'ssl_protocols TLSv9;' }, qr/TLSv9/ ],
    [ 'bad durability', { trail_more => 'durability maybe;' }, qr/maybe/ ],
    [ 'bad on_failure', { trail_more => 'on_failure panic;' }, qr/panic/ ],
    [ 'bad user_id', { trail_more => 'user_id sha1;' }, qr/sha1/ ],
    [ 'bad refusals', { trail_more => 'refusals none;' },
        qr/invalid parameter "none" of "refusals".*"all".*"rate=Nr\/s"/ ],
    [ 'refusals without a rate', { trail_more => 'refusals burst=5;' },
        qr/"refusals" must have the "rate" parameter/ ],
    [ 'refusals: bad rate', { trail_more => 'refusals rate=0r/s;' },
        qr/invalid parameter "rate=0r\/s" of "refusals"/ ],
    [ 'refusals: bad burst', { trail_more => 'refusals rate=1r/s burst=-1;' },
        qr/invalid parameter "burst=-1" of "refusals"/ ],
    [ 'refusals: big burst', {
        trail_more => 'refusals rate=1r/s burst=1000001;' },
        qr/invalid parameter "burst=1000001" of "refusals"/ ],
    [ 'refusals: rate twice', {
        trail_more => 'refusals rate=1r/s rate=2r/s;' },
        qr/invalid parameter "rate=2r\/s" of "refusals"/ ],
    [ 'refusals: all and a burst', { trail_more => 'refusals all burst=1;' },
        qr/invalid parameter "all" of "refusals"/ ],
    [ 'refusals twice', { trail_more => 'refusals all; refusals all;' },
        qr/"refusals" directive is duplicate/ ],
    [ 'unreachable trail file', { trail_file => 'file %%DIR%%/none/a.jsonl;' },
        qr/none\/a\.jsonl/ ],
    [ 'trail file is a folder', { trail_file => 'file %%DIR%%/trail;' },
        qr/\/trail/ ],
);

for my $row (@refused) {
    my ($name, $parts, $words, $maybe) = @$row;
    next if $maybe;

    my ($code, $output) = $t->nginx_t(conf(%$parts));
    my ($emerg) = $output =~ /^(.*\[emerg\].*)$/m;

    subtest $name => sub {
        is $code, 1, 'refused';
        like $emerg || $output, $words, 'says why';
        like $emerg || $output, $at, 'says where';
        unlike $output, qr/hunter2|a-good-secret|L{20}|k{20}|readable-by/,
            'quotes no secret';
    };
}

my @accepted = (
    [ 'certificate', with_certificate('payments') ],
    [ 'certificate beside a secret', { more => 'client_certificate '
        . '%%CERTS%%/payments.pem; client_certificate_key '
        . 'file:%%DIR%%/secrets/payments.key;' } ],
    [ 'RSA key', with_key('rsa.pem') ],
    [ 'RSA key for PS256', with_key('rsa.pem', 'assertion_algorithm PS256;') ],
    [ 'EC key', with_key('ec.pem', 'assertion_algorithm ES256;') ],
    [ 'encrypted key and all the rest', with_key('encrypted.pem', <<'END') ],
        client_key_password file:%%DIR%%/secrets/password;
        assertion_algorithm RS256;
        assertion_key_id k;
        assertion_audience a;
        assertion_lifetime 1h;
END
    [ 'everything at its default', {} ],
    [ 'secret the group can read',
        { secret => 'client_secret file:%%DIR%%/secrets/group;' } ],
    [ 'no caller wanted', { caller => 'tsface_caller anonymous;' } ],
    [ 'no audit wanted', { audit => 'tsface_audit off;' } ],
    [ 'no limit wanted', { limit => 'tsface_limit off;' } ],
    [ 'limit with everything', { limit => 'tsface_limit zone=lim dry_run '
        . 'delay=1000 delay_max=60s retry_jitter=1h; tsface_limit_headers off;'
        } ],
    [ 'credentials by a variable', { pass => 'tsface_pass $http_x_tenant;' } ],
    [ 'plain loopback', { region => 'endpoint http://127.0.0.1:1/cis; '
        . 'token_endpoint http://127.0.0.1:1/oidc/token;' } ],
    [ 'plain localhost', { region => 'endpoint http://localhost:1/cis; '
        . 'token_endpoint http://localhost:1/oidc/token;' } ],
    [ 'custom endpoint', { region => "$other $token" } ],
    [ 'every region', { http => join "\n", map {
        "tsface_credentials in_$_ { client_id x; region $_; "
        . 'client_secret file:%%DIR%%/secrets/good; }' }
        qw(sbx us eu ca au jp) } ],
    [ 'every directive', { more => <<'END', trail_more => <<'END2' } ],
        token_auth_method client_secret_basic;
        basic_encoding form;
        resource https://verify.identity.security;
        parameter audience a;
        parameter organization b;
        verify on;
        trusted_certificate %%CERTS%%/ca.pem;
        ssl_name api.example.com;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers HIGH;
        ssl_session_reuse off;
        connect_timeout 1s;
        send_timeout 2s;
        read_timeout 3s;
        exchange_timeout 4s;
        token_wait 5s;
        min_interval 6s;
        keepalive 0;
        keepalive_timeout 7s;
        keepalive_requests 8;
END
        durability write;
        timeout 1s;
        on_failure forward;
        user_id plain;
        key_previous file:%%DIR%%/secrets/before.key;
        checkpoint_key file:%%DIR%%/secrets/ed25519.pem;
        checkpoint_records 10;
        checkpoint_interval 1s;
        checkpoint_file %%DIR%%/trail/checkpoints;
        rotate_size 1m;
END2
    [ 'limits of every unit', { http => join "\n", map {
        "tsface_limit_zone \$uri zone=per_$_:1m rate=3r/$_ burst=2;" }
        qw(s m h d) } ],
);

for my $row (@accepted) {
    my ($name, $parts) = @$row;
    my ($code, $output) = $t->nginx_t(conf(%$parts));
    is $code, 0, "accepted: $name" or diag $output;
}

is_deeply [ glob "$dir/trail/*" ], [], 'nginx -t makes no trail file';

{
    local $ENV{TSFACE_SECRET} = 'secret-from-the-environment';
    local $ENV{CREDENTIALS_DIRECTORY} = "$dir/secrets";
    $t->hide($ENV{TSFACE_SECRET});
    for my $from (qw(env:TSFACE_SECRET credential:good)) {
        my ($code, $output) = $t->nginx_t(conf(
            secret => "client_secret $from;"));
        is $code, 0, "secret from $from" or diag $output;
    }
}

done_testing;
