#!/usr/bin/perl
# Ten thousand requests at one moment while there is no usable token: all wait
# for one exchange and none fails.  On a cold gateway, when the token has run
# out, when the endpoint refuses it to all of them, and when it does so while
# others use the next one already.

use lib 't/lib';
use TSFace::Test;
use TSFace::Herd;

plan(skip_all => 'h2load (nghttp2-client) is not installed')
    if !grep { -x "$_/h2load" } split /:/, $ENV{PATH};
plan(skip_all => 'valgrind is too slow for a herd')
    if $ENV{TSFACE_TEST_VALGRIND};

# Ten thousand would be all that an nginx with AddressSanitizer does in a
# minute.
my $wanted = $ENV{TSFACE_SANITIZE} ? 2_000 : 10_000;
my $n = TSFace::Herd::largest($wanted);
diag "a herd of $n, not 10000: "
    . ($n < $wanted ? 'RLIMIT_NOFILE' : 'AddressSanitizer') if $n < 10_000;

my $herd = TSFace::Herd->new(workers => 4, size => $n, timeout => 200);
my $t = $herd->{gateway};

for my $occasion (qw(cold expiry revoked late_401)) {
    my $got = $herd->$occasion($n);

    my $late = $occasion eq 'late_401';
    is $got->{waited}, $n, "$occasion: $n requests wait at once" if !$late;
    is $got->{early}, 0, 'none was sent with another token' if !$late;
    is $got->{exchanges}, 1, "$occasion: one exchange";
    is $got->{failed}, 0, 'no request failed' or diag $got->{output};
    is $got->{seen}, $n, 'each was forwarded once';
    is $got->{refused}, $occasion =~ /revoked|401/ ? $n : 0,
        "after $got->{refused} 401s";
    is $got->{tokens}, 1, 'all with the same token';
    note sprintf '%s: answered in %.1f s', $occasion, $got->{took};
}

# Counted, not read: t/workers.t compares records with what was sent.
my %count;
my $trail = $t->read_file('trail/herd.jsonl');
$count{$1}++ while $trail =~ /"type":"(\w+)"/g;
is $count{intent}, $count{outcome}, 'an outcome for each intent';
cmp_ok $count{intent}, '>=', 6 * $n, "$count{intent} of them";
is $count{refusal} || 0, 0, 'and no refusal';

done_testing;
