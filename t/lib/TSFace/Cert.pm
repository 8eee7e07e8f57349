package TSFace::Cert;

# Certificates for tests, made once and shared by all test files of a user:
# a CA; localhost (also 127.0.0.1 and ::1) and other.test signed by it; one
# self-signed; and clients "payments" and "support".

use strict;
use warnings;

use Exporter 'import';
use Fcntl ':flock';
use File::Spec;

our @EXPORT_OK = qw(certs key_pair);

my %leaf = (
    localhost => [ 'localhost', 'DNS:localhost,IP:127.0.0.1,IP:::1' ],
    other     => [ 'other.test', 'DNS:other.test' ],
    payments  => [ 'payments', undef ],
    support   => [ 'support', undef ],
);

# The folder with NAME.pem and NAME.key.

sub certs {
    my $dir = File::Spec->tmpdir . "/tsface-certs.$>";

    if (!mkdir $dir, 0700) {
        my @stat = lstat $dir;
        die "$dir is not a folder of ours\n"
            if !-d _ || $stat[4] != $> || $stat[2] & 022;
    }

    open my $lock, '>>', "$dir/lock" or die "$dir/lock: $!\n";
    flock $lock, LOCK_EX or die "flock: $!\n";

    my $made = "$dir/made.1";
    return $dir if -e $made && -M $made < 1;

    my $openssl = sub {
        my $output = qx{openssl @_ 2>&1};
        die "openssl @_: $output\n" if $?;
    };
    my $new = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';

    $openssl->("req -x509 $new -keyout $dir/ca.key -out $dir/ca.pem -days 3"
        . " -subj /CN=tsface-test-ca");
    $openssl->("req -x509 $new -keyout $dir/selfsigned.key"
        . " -out $dir/selfsigned.pem -days 3 -subj /CN=localhost"
        . " -addext subjectAltName=DNS:localhost,IP:127.0.0.1");

    for my $name (sort keys %leaf) {
        my ($cn, $san) = @{ $leaf{$name} };
        open my $ext, '>', "$dir/ext" or die "$dir/ext: $!\n";
        print $ext "basicConstraints=CA:FALSE\n";
        print $ext "subjectAltName=$san\n" if $san;
        close $ext;
        $openssl->("req $new -keyout $dir/$name.key -out $dir/$name.csr"
            . " -subj /CN=$cn");
        $openssl->("x509 -req -in $dir/$name.csr -CA $dir/ca.pem"
            . " -CAkey $dir/ca.key -CAcreateserial -days 3"
            . " -extfile $dir/ext -out $dir/$name.pem");
    }

    open my $done, '>', $made or die "$made: $!\n";
    close $done;
    utime undef, undef, $made;

    return $dir;
}

# A key of checkpoints' that openssl made, a secret of the test's: the files of
# the private and of the public one.

sub key_pair {
    my ($t, $name, @algorithm) = @_;

    @algorithm = ('ed25519') if !@algorithm;
    my ($file, $public) = ("$t->{dir}/secrets/$name.pem",
        "$t->{dir}/tmp/$name.pub");
    my ($code, $said) = $t->run(30, 'openssl', 'genpkey', '-algorithm',
        @algorithm, '-out', $file);
    die $said if $code;
    $t->secret("$name.pem", $t->read_file($file));
    ($code, $said) = $t->run(30, 'openssl', 'pkey', '-in', $file, '-pubout',
        '-out', $public);
    die $said if $code;

    return ($file, $public);
}

1;
