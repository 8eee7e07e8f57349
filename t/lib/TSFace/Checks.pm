package TSFace::Checks;

# What holds for every test, looked at when it ends; t/harness.t proves that
# each of these notices what it is for.  Methods of TSFace::Test.

use strict;
use warnings;

package TSFace::Test;

use strict;
use warnings;

use Test::More ();
use TSFace::Schema ();
use TSFace::Trail ();

# OpenSSL keeps its errors by thread, 904 bytes in 3.0 (ERR_STATE), and drops
# them as the thread ends. One of nginx's pool may be at that just when the
# leaks of a worker that leaves are counted. Nothing else is to be in the
# report.
my $error_queue = qr/\A=+\n==\d+==ERROR:[ ]LeakSanitizer:[^\n]*\n+
    Direct[ ]leak[ ]of[ ]904[ ]byte\(s\)[ ]in[ ]1[ ]object\(s\)[^\n]*\n
    [ ]+\#0[^\n]*malloc[^\n]*\n[ ]+\#1[^\n]*[ ]CRYPTO_zalloc[ ][^\n]*\n+
    SUMMARY:[^\n]*:[ ]904[ ]byte[^\n]*\n*\z/x;

sub final_checks {
    my ($self) = @_;

    my $allowed = sub {
        my ($line) = @_;
        return scalar grep { $line =~ $_ } @{ $self->{allowed} };
    };

    my @alerts = grep { !$allowed->($_) }
        grep { /\[(?:alert|emerg)\]|http request count is zero|open socket/ }
        split /\n/, $self->error_log;
    report('no alerts', @alerts);

    my @san = map { my $file = $_;
        map { "$file: $_" } grep { !/^\s*$/ } split /\n/, $self->read_file($file)
    } grep { $self->read_file($_) !~ $error_queue } glob "$self->{dir}/san/*";
    report('no sanitizer reports', @san);

    # Other trails, whose keys only their test knows, are read by records().
    my $trail = "$self->{dir}/trail/trail.jsonl";
    if (-e $trail) {
        my (undef, $wrong) = TSFace::Trail::read_trail($trail,
            $self->read_file('secrets/audit.key'));
        $self->problem("trail: $_") for grep { !$allowed->($_) } @$wrong;
    }

    # Of every trail, also of one that was rotated, each line that is a record:
    # those that a test has broken on purpose are no records, or fail it above.
    for my $file (glob "$self->{dir}/trail/*.jsonl*") {
        next if $file =~ /\.(?:chain|torn)\z/ || !-f $file
            || !TSFace::Schema::available();
        my ($records) = TSFace::Trail::read_trail($file, '');
        $self->problem("trail: $_")
            for grep { !$allowed->($_) } TSFace::Schema::trail_errors($records);
    }

    $self->hide($self->{sandbox}->secrets) if $self->{sandbox};

    my %text = map { $_ => $self->read_file($_) }
        glob("$self->{dir}/logs/* $self->{dir}/trail/*");
    my $n = 0;
    for my $answer (@{ $self->{answers} || [] }) {
        $text{'answer ' . ++$n} = join ' ', @{ $answer->{headers} },
            $answer->{body};
    }
    my @leaks;
    for my $where (sort keys %text) {
        push @leaks, "a JWT is in $where"
            if $text{$where} =~ /eyJ[\w-]{10,}\.eyJ[\w-]{10,}/;
        push @leaks, map { "a secret is in $where: " . substr($_, 0, 6) . '...' }
            grep { index($text{$where}, $_) >= 0 } keys %{ $self->{secrets} };
    }
    report('no secrets in logs, answers and records',
        grep { !$allowed->($_) } @leaks);

    my %once;
    report('no complaints', grep { !$allowed->($_) && !$once{$_}++ }
        @{ $self->{problems} || [] });

    return;
}


sub report {
    my ($name, @lines) = @_;

    my $ok = Test::More::is(scalar @lines, 0, $name);
    splice @lines, 20 if @lines > 20;
    Test::More::diag($_) for @lines;

    return $ok;
}

1;
