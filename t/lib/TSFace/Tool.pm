package TSFace::Tool;

# tsface-audit for tests, and trails for it that no gateway wrote.
#
#   my $tool = TSFace::Tool->new;
#   my $trail = $tool->trail;
#   $trail->record(type => 'intent', request_id => 'a', attempt => 1);
#   my $file = $tool->write('trail.jsonl', $trail->lines);
#   my ($code, $out, $err) = $tool->run('show', '--key', $tool->key, $file);
#
# Everything is in a folder of its own, $tool->dir, that goes with it.

use strict;
use warnings;

use Cwd 'abs_path';
use Digest::SHA ();
use File::Basename 'dirname';
use File::Temp 'tempdir';
use JSON::PP ();

use TSFace::Trail ();
use TSFace::Wait 'wait_for';

our $ROOT = dirname(dirname(dirname(dirname(abs_path(__FILE__)))));

my $json = JSON::PP->new->canonical;


# Builds it, or dies with what the compiler said.
sub build {
    my ($program) = @_;

    # counters are read when all tests have ended
    my $coverage = $ENV{TSFACE_COVERAGE};
    if ($coverage) {
        $program = "$coverage/tool-$$";
        local $ENV{CFLAGS} = '-O0 --coverage';
        return compile($program);
    }

    local $ENV{CFLAGS} = '-Wno-error=maybe-uninitialized -O1'
        . ' -fsanitize=address,undefined -fno-omit-frame-pointer'
        . ' -fno-sanitize-recover=undefined' if $ENV{TSFACE_SANITIZE};
    return compile($program);
}


sub compile {
    my ($program) = @_;

    local $ENV{TSFACE_TREE} = $ENV{TSFACE_TREE} || "$ROOT/build-out/tree";
    my $said = `bash '$ROOT/build/tools.sh' '$program' 2>&1`;
    die "tsface-audit does not compile:\n$said" if $?;

    return $program;
}


sub new {
    my ($class) = @_;

    my $dir = tempdir('tsface-tool-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);
    my $self = bless { dir => $dir, secret => 'k' x 40 }, $class;

    $self->{program} = build("$dir/tsface-audit");
    $self->{key} = $self->write('audit.key', $self->{secret});
    chmod 0600, $self->{key};

    return $self;
}


sub dir { return $_[0]{dir} }
sub key { return $_[0]{key} }

# As records name it.
sub key_id {
    return TSFace::Trail::key_id($_[0]{secret});
}
sub program { return $_[0]{program} }

# A trail under the key, from its beginning.
sub trail {
    my ($self) = @_;
    return bless { secret => $self->{secret}, mac => '0' x 64, seq => 0,
        lines => [] }, 'TSFace::Tool::Trail';
}

sub write {
    my ($self, $name, @lines) = @_;

    my $file = $name =~ m{^/} ? $name : "$self->{dir}/$name";
    open my $fh, '>:raw', $file or die "$file: $!\n";
    print $fh @lines;
    close $fh or die "$file: $!\n";

    return $file;
}

sub append {
    my ($self, $file, @lines) = @_;

    open my $fh, '>>:raw', $file or die "$file: $!\n";
    print $fh @lines;
    close $fh or die "$file: $!\n";

    return;
}

sub read {
    my ($self, $file) = @_;

    open my $fh, '<:raw', $file or die "$file: $!\n";
    my $content = do { local $/; <$fh> };

    return defined $content ? $content : '';
}

# Its exit code (128 + signal), and what it wrote to either output.
sub run {
    my ($self, @arguments) = @_;

    my @files = map { "$self->{dir}/$_" } qw(stdout stderr);
    my $pid = $self->start(@files, @arguments);
    waitpid $pid, 0;
    my $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;

    return ($code, map { $self->read($_) } @files);
}

# Its process, with outputs to files.
sub start {
    my ($self, $out, $err, @arguments) = @_;

    my $pid = fork;
    die "fork: $!\n" if !defined $pid;
    return $pid if $pid;

    alarm 60;
    open STDOUT, '>', $out or die "$out: $!\n";
    open STDERR, '>', $err or die "$err: $!\n";
    exec $self->{program}, @arguments or exit 127;
}

# Waits until a process that was started has read all there is, and sleeps: a
# slow one may not run the program yet, but what began it.
sub wait_asleep {
    my ($self, $pid, $seconds) = @_;

    my $old = readlink "/proc/$$/exe";
    return wait_for(sub {
        my $exe = readlink "/proc/$pid/exe";
        return defined $exe && $exe ne $old
            && $self->read("/proc/$pid/stat") =~ /\) S/;
    }, $seconds);
}


package TSFace::Tool::Trail;

# Adds a record with these members, in their order, and returns its line.
# type => undef, raw => '"type":"x",...' gives the members as they are.
sub record {
    my ($self, @members) = @_;

    my @pairs;
    while (my ($name, $value) = splice @members, 0, 2) {
        push @pairs, $json->allow_nonref->encode($name) . ':'
            . $json->allow_nonref->encode($value);
    }
    my $body = join ',', @pairs;
    utf8::encode($body);

    return $self->raw($body);
}

sub raw {
    my ($self, $body) = @_;

    my $seq = ++$self->{seq};
    my $line = sprintf '{"v":1,"seq":%d,"time":"2026-11-24T20:%02d:%02d.%06dZ"'
        . ',%s', $seq, $seq / 60 % 60, $seq % 60, $seq % 1_000_000, $body;
    $self->{mac} = Digest::SHA::hmac_sha256_hex($self->{mac} . $line,
        $self->{secret});
    push @{ $self->{lines} }, "$line,\"mac\":\"$self->{mac}\"}\n";

    return $self->{lines}[-1];
}

sub lines { return @{ $_[0]{lines} } }

1;
