package TSFace::Sandbox::Log;

# The request log: one JSON object a line, written with one write() before
# the request is acted on, and the newest entries kept for the control API.

use v5.36;

use Fcntl        qw(O_APPEND O_CREAT O_WRONLY);
use MIME::Base64 qw(encode_base64);
use Time::HiRes  qw(clock_gettime CLOCK_REALTIME);

use TSFace::Sandbox::JSON qw(encode_json);

use constant {KEEP => 10_000, BODY_MAX => 65_536};

my @HEADERS = qw(Host Content-Type Content-Length Transfer-Encoding
    X-Request-ID User-Agent Accept Connection Via X-Forwarded-For Cookie
    Traceparent Tracestate Expect TE Accept-Encoding);

sub new ($class, %args) {
    my $self = bless {entries => [], next => 1, dropped => 0,
        keep => $args{keep} // KEEP}, $class;
    if (defined $args{file}) {
        sysopen $self->{out}, $args{file}, O_WRONLY | O_APPEND | O_CREAT, 0600
            or die "can't open the log $args{file}: $!\n";
    }
    return $self;
}

sub add ($self, $entry) {
    $entry->{n}    = $self->{next}++;
    $entry->{time} = _time();
    if ($self->{out}) {
        my $line = encode_json($entry) . "\n";
        my $done = syswrite $self->{out}, $line;
        die "can't write the log: $!\n" unless ($done // 0) == length $line;
    }
    my $entries = $self->{entries};
    push @$entries, $entry;
    return $entry if @$entries < 2 * $self->{keep};
    $self->{dropped} += $self->{keep};
    splice @$entries, 0, $self->{keep};
    return $entry;
}

# Entries after number "since", of one kind if "name" is given.
sub entries ($self, %which) {
    my ($since, $name, $limit) = @which{qw(since name limit)};
    my @found = grep { $_->{n} > ($since // 0) } @{$self->{entries}};
    @found = grep { $_->{name} eq $name } @found if defined $name;
    splice @found, 0, @found - $limit if defined $limit && @found > $limit;
    return \@found;
}

sub clear ($self) {
    $self->{entries} = [];
    $self->{dropped} = 0;
}

# No header here may carry a secret; Authorization has its own member.
sub headers ($headers) {
    my %found;
    for my $name (@HEADERS) {
        my $value = $headers->header($name) // next;
        $found{lc $name} = $value;
    }
    return \%found;
}

sub authorization ($bearer, $headers) {
    return if $bearer->{state} eq 'none';
    my $count = @{$headers->every_header('Authorization')};
    my $claims = $bearer->{claims};
    return {
        scheme => $bearer->{scheme} // 'unknown',
        kind   => $bearer->{kind}   // 'unknown',
        state  => $bearer->{state},
        $bearer->{fingerprint} ? (token => $bearer->{fingerprint}) : (),
        $claims                ? (sub => $claims->{sub})           : (),
        $count > 1             ? (count => $count)                 : (),
    };
}

# Bodies are text, unless they aren't.
sub body ($bytes) {
    return (body => '') unless length $bytes;
    my $cut = substr $bytes, 0, BODY_MAX;
    my @size = length $bytes > BODY_MAX ? (body_bytes => length $bytes) : ();
    my $text = $cut;
    return (body => $text, @size) if utf8::decode($text);
    return (body_base64 => encode_base64($cut, ''), @size);
}

sub _time {
    my $now = clock_gettime(CLOCK_REALTIME);
    state $second = 0;
    state $text   = "";
    if (int $now != $second) {
        $second = int $now;
        my ($s, $m, $h, $day, $month, $year) = gmtime $second;
        $text = sprintf '%04d-%02d-%02dT%02d:%02d:%02d', $year + 1900,
            $month + 1, $day, $h, $m, $s;
    }
    return sprintf '%s.%06dZ', $text, ($now - $second) * 1e6;
}

1;
