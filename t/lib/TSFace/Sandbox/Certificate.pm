package TSFace::Sandbox::Certificate;

# A certificate authority of one's own and a server certificate by it, made
# with the openssl command: neither CryptX nor IO::Socket::SSL need be trusted
# to write X.509 that nginx and curl accept.

use v5.36;

use File::Path qw(make_path);

my %CONFIG = (
    ca => <<'EOT',
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
EOT
    server => <<'EOT',
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
EOT
);

# Returns {ca, ca_key, cert, key}: paths in $dir.
sub make ($dir, @names) {
    make_path($dir, {mode => 0700});
    my %path = (
        ca     => "$dir/ca.pem",
        ca_key => "$dir/ca.key",
        cert   => "$dir/server.pem",
        key    => "$dir/server.key",
    );
    my $san = join ',', 'IP:127.0.0.1', 'IP:::1',
        map { /^[0-9.]+$|:/ ? "IP:$_" : "DNS:$_" } 'localhost', @names;
    my @new = qw(-newkey rsa:2048 -nodes -sha256);
    my $mask = umask 077;

    _write("$dir/ca.ext", "[v3]\n$CONFIG{ca}");
    _write("$dir/server.ext", "$CONFIG{server}subjectAltName = $san\n");
    _openssl('req', @new, '-subj', '/CN=sandbox CA', '-keyout', $path{ca_key},
        '-out', "$dir/ca.csr");
    _openssl('x509', '-req', '-sha256', '-days', 825, '-in', "$dir/ca.csr",
        '-signkey', $path{ca_key}, '-extfile', "$dir/ca.ext",
        '-extensions', 'v3', '-out', $path{ca});
    _openssl('req', @new, '-subj', '/CN=localhost', '-keyout', $path{key},
        '-out', "$dir/server.csr");
    _openssl('x509', '-req', '-sha256', '-days', 825,
        '-in', "$dir/server.csr", '-CA', $path{ca}, '-CAkey', $path{ca_key},
        '-CAcreateserial', '-extfile', "$dir/server.ext", '-out', $path{cert});

    umask $mask;
    unlink map { "$dir/$_" }
        qw(ca.ext server.ext ca.csr server.csr ca.srl);
    chmod 0644, @path{qw(ca cert)};
    return \%path;
}

sub _write ($path, $text) {
    open my $out, '>', $path or die "can't write $path: $!\n";
    print {$out} $text;
    close $out or die "can't write $path: $!\n";
}

sub _openssl (@args) {
    open my $out, '-|', 'sh', '-c', 'exec openssl "$@" 2>&1', 'sh', @args
        or die "can't run openssl: $!\n";
    my $said = do { local $/; <$out> };
    close $out or die "openssl $args[0] failed:\n$said";
}

1;
