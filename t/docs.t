#!/usr/bin/perl
# Every nginx configuration printed in the documentation loads as printed,
# but for paths, names and ports of this machine.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
my $root = $TSFace::Test::ROOT;
my $dir = $t->dir;
my $certs = $t->certs_dir;

$t->secret('x', 'a-secret-for-every-file');
$t->secret('key', 'k' x 64);
$ENV{CREDENTIALS_DIRECTORY} = "$dir/secrets";
for my $key ([ 'rsa', '' ], [ 'rsa-encrypted', '-aes256 -pass pass:of-a-key' ]) {
    my ($name, $cipher) = @$key;
    my ($code, $output) = $t->run(30, qw(openssl genpkey -algorithm RSA),
        split(' ', $cipher), '-out', "$dir/secrets/$name");
    die $output if $code;
    $t->secret($name, $t->read_file("secrets/$name"));
}
$t->secret('password', "of-a-key\n");
$t->secret('payments.key', $t->read_file("$certs/payments.key"));
$t->write_file('conf/mime.types', 'types { text/html html; }');

my @files = grep { -e } "$root/README.md", sort glob "$root/docs/*.md";
plan(skip_all => 'no documentation') if !@files;

my $tests = 0;
for my $file (@files) {
    my $text = $t->read_file($file);
    (my $name = $file) =~ s{^\Q$root\E/}{};

    while ($text =~ /^([ ]*)```nginx\n(.*?)^\1```/msg) {
        my ($block, $line) = ($2, 1 + (substr($text, 0, $-[0]) =~ tr/\n//));
        my ($code, $output) = $t->nginx_t(whole(here($block)));
        if ($block =~ /^\s*ssl\s+on;/m && !-e '/usr/include/hiredis/hiredis_ssl.h') {
            like $output, qr/built without TLS to stores/, "$name:$line";
        } else {
            is $code, 0, "$name:$line" or diag $output;
        }
        $tests++;
    }
}
ok $tests, 'there are configurations';

done_testing;

# Paths, credentials and ports as they are here.
sub here {
    my ($conf) = @_;

    $conf =~ s/^\s*(?:load_module|user|pid|error_log|include)\b[^;]*;//mg;
    $conf =~ s{^(\s*ssl_certificate\s+)[^;]+}{$1$certs/localhost.pem}mg;
    $conf =~ s{^(\s*ssl_certificate_key\s+)[^;]+}{$1$certs/localhost.key}mg;
    $conf =~ s{^(\s*(?:ssl_client_certificate|ssl_trusted_certificate
        |trusted_certificate)\s+)[^;]+}{$1$certs/ca.pem}mgx;
    $conf =~ s{^(\s*client_secret(?:_next)?\s+)file:[^;\s]+}{$1file:$dir/secrets/x}mg;
    $conf =~ s{^(\s*client_secret\s+)credential:[^;\s]+}{$1credential:x}mg;
    $conf =~ s{^(\s*client_key\s+)file:[^;\s]+;}
        {"$1file:$dir/secrets/rsa" . ($& =~ /encrypted/ ? '-encrypted;' : ';')}mge;
    $conf =~ s{^(\s*client_certificate\s+)[^;]+}{$1$certs/payments.pem}mg;
    $conf =~ s{^(\s*client_certificate_key\s+)file:[^;\s]+}
        {$1file:$dir/secrets/payments.key}mg;
    $conf =~ s{^(\s*client_key_password\s+)file:[^;\s]+}
        {$1file:$dir/secrets/password}mg;
    $conf =~ s{^(\s*password\s+)file:[^;\s]+}{$1file:$dir/secrets/password}mg;
    $conf =~ s{(client_secret\s+env:(\w+))}{ $ENV{$2} = 'an-env-secret'; $1 }ge;
    $conf =~ s{((?<![\$\w])key\s+env:(\w+))}{ $ENV{$2} = 'k' x 40; $1 }ge;
    $conf =~ s{((?:^|[\s\{;])key\s+)file:[^;\s]+}{$1file:$dir/secrets/key}mg;
    $conf =~ s{((?:^|[\s\{;])key\s+)credential:[^;\s]+}{$1credential:key}mg;
    my $n = 0;
    $conf =~ s{((?:^|[\s\{;])file\s+)/[^;\s]+}{ $n++; "$1$dir/trail/doc-$n" }mge;
    $conf =~ s{^(\s*access_log\s+)/[^;\s]+}{$1$dir/logs/access.log}mg;
    $conf =~ s{\blisten\s+(?:\S+:)?\d+}{'listen 127.0.0.1:' . $t->port(0)}ge;

    return $conf;
}

# A fragment is put into what it needs around it, and given the names that it
# uses and does not define.
sub whole {
    my ($conf) = @_;

    my $events = $conf =~ /^\s*events\b/m;
    my $globals = "%%GLOBALS%%";
    if ($events) {
        $conf =~ s/^\s*events\s*\{[^}]*\}//m;
    }
    $conf =~ s/^\s*(?:worker_processes|daemon)\b[^;]*;//mg;
    return "$globals\n$conf" if $conf =~ s/^(\s*http\s*\{)/$1\n%%HTTP%%\n/m;

    my %lack;
    while ($conf =~ /\btsface_pass\s+(\w+);/g) {
        my $name = $1;
        $lack{$name} = "tsface_credentials $name { region sbx; client_id x;"
            . " client_secret file:$dir/secrets/x; }"
            if $conf !~ /tsface_credentials\s+\Q$name\E\b/;
    }
    while ($conf =~ /\btsface_audit\s+(\w+);/g) {
        my $name = $1;
        next if $name eq 'off' || $conf =~ /tsface_audit_trail\s+\Q$name\E\b/;
        $lack{$name} = "tsface_audit_trail $name { file $dir/trail/l-$name;"
            . " key file:$dir/secrets/key; }";
    }
    while ($conf =~ /\btsface_limit\s+zone=(\w+)[ ;]/g) {
        my $name = $1;
        $lack{$name} = "tsface_limit_zone \$uri zone=$name:1m rate=1r/s;"
            if $conf !~ /tsface_limit_zone\s+\S+\s+zone=\Q$name\E:/;
    }

    my $http = join "\n", sort values %lack;
    $http .= "\n%%ZONE%%" if $conf !~ /\btsface_zone\b/;

    # The outermost context is the one its first word asks for.
    my $bare = $conf;
    1 while $bare =~ s/\{[^{}]*\}/ /;
    my $in = $bare =~ /^\s*(?:tsface_(?:zone|credentials|audit_trail|limit_zone
        |limit_store)
        |server|map|geo|split_clients|log_format|upstream)\b/mx ? 'http'
        : $bare =~ /^\s*(?:location|listen|ssl_\w+|server_name)\b/m ? 'server'
        : $bare =~ /^\s*(?:region|client_id|client_secret|endpoint
            |token_\w+)\b/mx ? 'credentials'
        : $bare =~ /^\s*(?:durability|on_failure|file)\b/m ? 'trail'
        : 'location';

    if ($in eq 'credentials') {
        $conf = "region sbx;\n$conf" if $bare !~ /^\s*(?:region|endpoint)\b/m;
        $conf = "client_id x;\n$conf" if $bare !~ /^\s*client_id\b/m;
        $conf = "client_secret file:$dir/secrets/x;\n$conf"
            if $bare !~ /^\s*(?:client_secret|client_key)\b/m;
        $conf = "tsface_credentials fragment {\n$conf\n}";
    } elsif ($in eq 'trail') {
        $conf = "file $dir/trail/f;\n$conf" if $bare !~ /^\s*file\b/m;
        $conf = "key file:$dir/secrets/key;\n$conf" if $bare !~ /^\s*key\b/m;
        $conf = "tsface_audit_trail fragment {\n$conf\n}";
    } elsif ($in eq 'location') {
        $conf = "server { listen 127.0.0.1:%%PORT_0%%; location / {\n$conf\n} }";
    } elsif ($in eq 'server') {
        $conf = "server {\n$conf\n}";
    }

    return "$globals\nhttp {\n%%HTTP%%\n$http\n$conf\n}";
}
