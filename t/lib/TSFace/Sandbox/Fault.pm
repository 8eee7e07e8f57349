package TSFace::Sandbox::Fault;

# Injected faults: a list in the order they were added, each for one path and
# for a number of requests.  The first that matches a request is taken.  What
# a fault does to the answer is here; how it gets on the wire is in Wire.pm.

use v5.36;

use TSFace::Sandbox::JSON qw(decode_json encode_json);
use TSFace::Sandbox::Service;
use TSFace::Sandbox::Switch;

use constant FOREVER => -1;

my @PATHS = qw(token revoke revoke_me jwks any);

# Fields every fault may have: path, kind, count, skip, client, user choose
# the requests; delay, body_delay, act, headers apply to all kinds of answer.
my %COMMON = map { $_ => 1 }
    qw(path kind count skip client user delay body_delay act headers);

# kind, own fields, does the request still take effect, help.
my @KINDS = (
    ['delay', [qw(ms body_ms)], 1,
        'wait ms before the header, body_ms between header and body'],
    ['reset', [qw(after)], 0,
        'RST; after: none, head or body (half of it)'],
    ['close', [qw(after notify)], 0,
        'close without an answer; after as above; notify false: no TLS alert'],
    ['hang', [], 0, 'never answer, keep the connection open'],
    ['garbage', [qw(bytes keep)], 0, 'bytes that are not HTTP, then close'],
    ['truncated', [qw(bytes keep notify)], 1,
        'Content-Length larger than what is sent (bytes of it, else half)'],
    ['oversized', [qw(bytes)], 1, 'body of bytes, 2 MiB unless told'],
    ['large', [qw(bytes)], 1, 'legal body of bytes, 512 KiB unless told'],
    ['chunked', [qw(bytes size)], 1,
        'body in chunks of size bytes (7), padded to bytes'],
    ['drip', [qw(ms size head bytes)], 1,
        'body size bytes (1) every ms (50); head true: the header too'],
    ['duplicate_length', [qw(values keep)], 1,
        'several Content-Length; values: [n, ...], else the right one twice'],
    ['length_and_chunked', [qw(keep)], 1,
        'Content-Length and Transfer-Encoding together'],
    ['status', [qw(status body type retry_after)], 0,
        'any status, with the body Transmit or its edge would give it'],
    ['throttle', [qw(style retry_after)], 0,
        '429; style app or edge; retry_after seconds'],
    ['edge', [qw(status retry_after)], 0,
        'HTML from the edge, 502 unless told'],
    ['headers', [qw(fill size)], 1,
        'extra "headers"; fill: so many more of size bytes each'],
    ['switch', [qw(set)], 1, 'other switches, {name: value}, for one request'],
    ['expires_in', [qw(value)], 1,
        'token: expires_in is value (any JSON), or left out without one'],
    ['malformed_json', [], 1, 'token: 200 with a body that is not JSON'],
    ['same_token', [], 1, 'token: the same token as last time'],
    ['raw', [qw(bytes base64 keep notify)], 0, 'exactly these bytes'],
);

my %KIND = map { $_->[0] => $_ } @KINDS;

sub new ($class, @initial) {
    my $self = bless {list => [], next => 1, initial => \@initial}, $class;
    $self->reset;
    return $self;
}

sub reset ($self) {
    $self->{list} = [];
    $self->add(%$_) for @{$self->{initial}};
    return $self;
}

sub list ($self) { return $self->{list} }

sub remove ($self, $id = undef) {
    my $list = $self->{list};
    @$list = defined $id ? grep { $_->{id} != $id } @$list : ();
}

sub kinds { return [map { $_->[0] } @KINDS] }

sub help {
    return join '', map {
        sprintf "  %-19s %s\n%22s%s\n", $_->[0],
            @{$_->[1]} ? join ' ', @{$_->[1]} : '-', '', $_->[3]
    } @KINDS;
}

# Dies with a text for people.  Count: a number, or "forever".
sub add ($self, %new) {
    my $fault = check(%new);
    $fault->{id}   = $self->{next}++;
    $fault->{hits} = 0;
    push @{$self->{list}}, $fault;
    return $fault;
}

sub check (%new) {
    my $kind = $new{kind} // '';
    my $row = $KIND{$kind}
        or die qq{no fault "$kind"; there are: @{kinds()}\n};
    my %own = map { $_ => 1 } @{$row->[1]};
    for my $name (sort keys %new) {
        die qq{fault "$kind" has no field "$name"; there are: }
            . join(' ', sort keys %COMMON, keys %own) . "\n"
            unless $COMMON{$name} || $own{$name};
    }

    $new{path} //= 'any';
    die qq{no path "$new{path}"; there are: @PATHS\n}
        unless grep { $_ eq $new{path} } @PATHS;
    $new{count} //= 1;
    $new{count} = FOREVER if $new{count} eq 'forever';
    my @numbers = qw(skip delay body_delay ms body_ms fill size);
    push @numbers, 'bytes' unless $kind eq 'raw' || $kind eq 'garbage';
    for my $name ('count', grep { defined $new{$_} } @numbers) {
        die qq{"$name" is a number\n}
            unless $new{$name} =~ /^(?:-1|[0-9]{1,9})$/;
    }
    die qq{"status" is a number from 200 to 599\n}
        if defined $new{status} && $new{status} !~ /^[2-5][0-9][0-9]$/;
    die qq{"bytes" is missing\n} if $kind eq 'raw' && !defined $new{bytes};
    die qq{"after" is none, head or body\n}
        if defined $new{after} && $new{after} !~ /^(?:none|head|body)$/;
    for my $name (grep { defined $new{$_} } qw(headers set)) {
        die qq{"$name" is an object\n} unless ref $new{$name} eq 'HASH';
    }

    if ($kind eq 'expires_in') {
        my $value = exists $new{value}
            ? encode_json($new{value}) : 'absent';
        $new{set} = {expires_in => $value};
    }
    $new{set} = {token_body => 'malformed'} if $kind eq 'malformed_json';
    $new{set} = {token_reuse => 'on'}       if $kind eq 'same_token';
    $new{set} = TSFace::Sandbox::Switch::check(%{$new{set}}) if $new{set};
    $new{delay}      //= $new{ms}      if $kind eq 'delay';
    $new{body_delay} //= $new{body_ms} if $kind eq 'delay';
    $new{act} = $row->[2] unless defined $new{act};
    $new{act} = 0 if $new{act} eq 'false';
    return \%new;
}

# From the command line: path=revoke,kind=status,status=503,count=forever,
# or a JSON object.
sub parse ($text) {
    return %{decode_json($text)} if $text =~ /^\s*\{/;
    my %fault = map { my ($k, $v) = split /=/, $_, 2; ($k => $v // 1) }
        split /,/, $text;
    for (grep { defined && /^(?:true|false)$/ } CORE::values %fault) {
        $_ = $_ eq 'true';
    }
    return %fault;
}

# The fault of this request, counted, or nothing.
sub take ($self, $path, $client = undef, $user = undef) {
    my $list = $self->{list};
    return unless @$list;
    for my $fault (@$list) {
        next unless $fault->{count};
        next unless $fault->{path} eq 'any' || $fault->{path} eq $path;
        next if defined $fault->{client} && $fault->{client} ne ($client // '');
        next if defined $fault->{user}   && $fault->{user} ne ($user // '');
        next if $fault->{skip} && $fault->{skip}--;
        $fault->{count}-- if $fault->{count} > 0;
        $fault->{hits}++;
        return $fault;
    }
    return;
}

# The answer as the fault changes it.
sub apply ($fault, $answer) {
    my $kind = $fault->{kind};
    my %new = (%$answer, headers => [@{$answer->{headers} // []}]);
    delete $new{effect} unless $fault->{act};

    if ($kind eq 'status' || $kind eq 'edge' || $kind eq 'throttle') {
        my $status = $fault->{status};
        my $other
            = $kind eq 'throttle'
            ? TSFace::Sandbox::Service::throttled($fault->{style} // 'app')
            : $kind eq 'edge'
            ? TSFace::Sandbox::Service::edge($status // 502)
            : TSFace::Sandbox::Service::error($status // 500);
        $new{$_} = $other->{$_} for qw(status type body edge);
        $new{headers} = [@{$other->{headers} // []}];
        $new{body} = $fault->{body} if defined $fault->{body};
        utf8::encode($new{body}) if defined $fault->{body};
        $new{type} = $fault->{type} if defined $fault->{type};
        push @{$new{headers}}, 'Retry-After', $fault->{retry_after}
            if defined $fault->{retry_after};
    }

    push @{$new{headers}}, %{$fault->{headers}} if $fault->{headers};
    push @{$new{headers}}, map { ("X-Fill-$_", 'f' x ($fault->{size} // 100)) }
        1 .. $fault->{fill} if $fault->{fill};

    my %default = (oversized => 2 * 1024 ** 2, large => 512 * 1024);
    my $bytes = $fault->{bytes} // $default{$kind};
    _pad(\%new, $bytes)
        if defined $bytes && $kind =~ /^(?:oversized|large|chunked|drip)$/;
    _need_body(\%new)
        if $kind =~ /^(?:truncated|chunked|drip|duplicate_length
            |length_and_chunked)$/x
        || ($fault->{after} // 'none') ne 'none' || $fault->{body_delay};
    return \%new;
}

# A 204 has no body to be late, torn or in chunks: such faults make it a 200.
sub _need_body ($answer) {
    return if length($answer->{body} // '');
    $answer->{status} = 200 if $answer->{status} == 204;
    $answer->{type} //= TSFace::Sandbox::Service::JSON_TYPE;
    $answer->{body} = '{"result":"revoked"}';
}

# A member more, so that the answer keeps its meaning.
sub _pad ($answer, $bytes) {
    _need_body($answer);
    my $missing = $bytes - length($answer->{body}) - length ',"padding":""';
    return if $missing < 0;
    my $padding = 'p' x $missing;
    $answer->{body} =~ s/\}\s*\z/,"padding":"$padding"}/;
}

1;
