package TSFace::Wait;

# Polls instead of sleeping for as long as it should take.

use strict;
use warnings;

use Exporter 'import';
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(wait_for);

# Polls until the code returns true: its value, or false when time is up, with
# a last look after that for those who got no turn meanwhile.

sub wait_for {
    my ($code, $seconds) = @_;

    my $end = time() + $seconds;
    for ( ;; ) {
        my $over = time() > $end;
        my $value = $code->();
        return $value if $value || $over;
        sleep 0.02;
    }
}

1;
