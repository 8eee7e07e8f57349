package TSFace::HTTP;

# A small, blunt HTTP/1.1 client: sends exactly the bytes it is told to, and
# reads one answer with strict framing.  Tests need requests that no polite
# client would make.

use strict;
use warnings;

use Exporter 'import';
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Time::HiRes 'time';

our @EXPORT_OK = qw(http raw_http connect_to build_request read_answer
    read_request count_answers);

# http($port, METHOD, TARGET, %options) builds and sends one request.
#
#   headers   [ name => value, ... ]   in this order
#   body      string: sent with Content-Length
#   chunks    [ string, ... ]: sent chunked instead
#   json      a Perl value: body and Content-Type
#   tls, cert, key, timeout, pause: see raw_http
#
# Returns the answer, see read_answer().

sub http {
    my ($port, $method, $target, %o) = @_;

    return raw_http($port, build_request($method, $target, %o), %o);
}


sub build_request {
    my ($method, $target, %o) = @_;

    my @headers = @{ $o{headers} || [] };
    my $body = $o{body};

    if (exists $o{json}) {
        $body = JSON::PP->new->canonical->utf8->encode($o{json});
        push @headers, 'Content-Type', 'application/json';
    }

    my %has = map { lc $headers[2 * $_] => 1 } 0 .. @headers / 2 - 1;

    unshift @headers, 'Host', 'gateway.test' if !$has{host};
    push @headers, 'Connection', 'close' if !$has{connection} && !$o{keep};

    if ($o{chunks}) {
        push @headers, 'Transfer-Encoding', 'chunked';
        $body = join '', map { sprintf("%x\r\n%s\r\n", length, $_) }
            grep { length } @{ $o{chunks} };
        $body .= "0\r\n\r\n";

    } elsif (defined $body && !$has{'content-length'}
        && !$has{'transfer-encoding'})
    {
        push @headers, 'Content-Length', length $body;
    }

    my $request = "$method $target HTTP/1.1\r\n";
    while (my ($name, $value) = splice @headers, 0, 2) {
        $request .= "$name: $value\r\n";
    }

    return $request . "\r\n" . (defined $body ? $body : '');
}


# raw_http($port, BYTES, %options) sends the bytes and reads one answer.
#
#   BYTES     a string, or [ string, ... ] with a pause between the pieces
#   pause     seconds between pieces (0.05)
#   tls       1: over TLS
#   ca        file of certificates to trust; without it nothing is verified
#   cert,key  client certificate
#   timeout   seconds for the whole exchange (10)
#   socket    use this connection, and leave it open

sub raw_http {
    my ($port, $bytes, %o) = @_;

    my $deadline = time() + ($o{timeout} || 10);
    my $socket = $o{socket} || connect_to($port, %o)
        or return TSFace::HTTP::Answer->new(error => "connect: $!");

    local $SIG{PIPE} = 'IGNORE';

    my $first = 1;
    for my $piece (ref $bytes ? @$bytes : $bytes) {
        select undef, undef, undef, $o{pause} || 0.05 unless $first;
        $first = 0;
        send_all($socket, $piece, $deadline) or last;
    }

    my ($method) = (ref $bytes ? $bytes->[0] : $bytes) =~ /^(\S+)/;
    my $answer = read_answer($socket, $deadline, $method);

    if ($o{socket}) {
        $answer->{socket} = $socket;
    } else {
        close $socket;
    }

    return $answer;
}


sub connect_to {
    my ($port, %o) = @_;

    my $address = $o{address} || '127.0.0.1';
    my $socket;

    if (!$o{tls}) {
        return IO::Socket::INET->new(PeerAddr => $address,
            PeerPort => $port, Proto => 'tcp', Timeout => $o{timeout} || 10);
    }

    require IO::Socket::SSL;

    return IO::Socket::SSL->new(
        PeerAddr => $address, PeerPort => $port, Timeout => $o{timeout} || 10,
        SSL_hostname => $o{name} || 'localhost',
        SSL_verifycn_name => $o{name} || 'localhost',
        SSL_verifycn_scheme => 'http',
        SSL_verify_mode => $o{ca} ? IO::Socket::SSL::SSL_VERIFY_PEER()
                                  : IO::Socket::SSL::SSL_VERIFY_NONE(),
        ($o{ca} ? (SSL_ca_file => $o{ca}) : ()),
        ($o{cert} ? (SSL_cert_file => $o{cert}, SSL_key_file => $o{key},
                     SSL_use_cert => 1) : ()),
    );
}


sub send_all {
    my ($socket, $bytes, $deadline) = @_;

    my $done = 0;
    while ($done < length $bytes) {
        my $left = $deadline - time();
        return 0 if $left <= 0;
        IO::Select->new($socket)->can_write($left) or return 0;
        my $n = syswrite $socket, $bytes, 16384, $done;
        return 0 if !defined $n;
        $done += $n;
    }

    return 1;
}


# Reads one answer; error is set if it does not come whole before deadline.
# Interim (1xx) answers are skipped and counted.

sub read_answer {
    my ($socket, $deadline, $method) = @_;

    $method ||= '';
    my $buffer = '';
    my $interim = 0;
    my $more = sub {
        my $left = $deadline - time();
        return 'time-out' if $left <= 0;
        my $pending = $socket->can('pending') && $socket->pending;
        if (!$pending) {
            IO::Select->new($socket)->can_read($left) or return 'time-out';
        }
        my $n = sysread $socket, $buffer, 65536, length $buffer;
        return "read: $!" if !defined $n;
        return $n ? '' : 'closed';
    };
    my $fail = sub {
        return TSFace::HTTP::Answer->new(error => $_[0], raw => $buffer);
    };

    for ( ;; ) {
        while ($buffer !~ /\r?\n\r?\n/) {
            my $error = $more->();
            return $fail->($error) if $error;
        }

        my ($head, $rest) = split /\r?\n\r?\n/, $buffer, 2;
        my ($line, @lines) = split /\r?\n/, $head;
        $line =~ m{^HTTP/1\.\d (\d{3})(?: (.*))?$}
            or return $fail->("bad status line: $line");
        my ($status, $reason) = ($1, $2);

        if ($status < 200) {
            $interim++;
            $buffer = $rest;
            next;
        }

        my @headers = map { /^([^:]+):\s*(.*?)\s*$/ ? (lc $1, $2) : () } @lines;
        my $answer = TSFace::HTTP::Answer->new(
            status => $status, reason => $reason, headers => \@headers,
            head => $head, interim => $interim, body => '');

        return $answer if $method eq 'HEAD' || $status == 204
            || $status == 304;

        $buffer = $rest;

        if (lc($answer->header('transfer-encoding') || '') eq 'chunked') {
            my $body = '';
            for ( ;; ) {
                my ($line, $digits);
                until (($line, $digits) =
                    $buffer =~ /^(([0-9a-fA-F]+)[^\n]*\r\n)/)
                {
                    my $error = $more->();
                    return $fail->("in a chunk: $error") if $error;
                }
                my ($size, $at) = (hex $digits, length $line);
                while (length $buffer < $at + $size + 2) {
                    my $error = $more->();
                    return $fail->("in a chunk: $error") if $error;
                }
                $body .= substr $buffer, $at, $size;
                $buffer = substr $buffer, $at + $size + 2;
                last if !$size;
            }
            $answer->{body} = $body;

        } elsif (defined(my $length = $answer->header('content-length'))) {
            while (length $buffer < $length) {
                my $error = $more->();
                return $fail->("in the body: $error") if $error;
            }
            $answer->{body} = substr $buffer, 0, $length;

        } else {
            my $error;
            while (!($error = $more->())) { }
            return $fail->("in the body: $error") if $error ne 'closed';
            $answer->{body} = $buffer;
        }

        return $answer;
    }
}


# How many of the answers were which: { 204 => n, "503 no_token" => n }.

sub count_answers {
    my (@answers) = @_;

    my %count;
    $count{ join ' ', grep { defined && length } $_->status, $_->problem }++
        for @answers;

    return \%count;
}


# For fake servers: reads one request from the socket.  Returns
# { line, headers, body } or undef when the other side has closed.

sub read_request {
    my ($socket, $timeout) = @_;

    my $deadline = time() + ($timeout || 10);
    my $buffer = '';

    while ($buffer !~ /\r\n\r\n/) {
        read_some($socket, \$buffer, $deadline) or return;
    }

    my ($head, $body) = split /\r\n\r\n/, $buffer, 2;
    my ($line, @lines) = split /\r\n/, $head;
    my %headers = map { /^([^:]+):\s*(.*)$/ ? (lc $1, $2) : () } @lines;
    my $length = $headers{'content-length'} || 0;

    while (length $body < $length) {
        read_some($socket, \$body, $deadline) or return;
    }

    return { line => $line, headers => \%headers, body => $body };
}


sub read_some {
    my ($socket, $buffer, $deadline) = @_;

    my $left = $deadline - time();
    return 0 if $left <= 0;
    if (!($socket->can('pending') && $socket->pending)) {
        IO::Select->new($socket)->can_read($left) or return 0;
    }
    return sysread $socket, $$buffer, 65536, length $$buffer;
}


package TSFace::HTTP::Answer;

sub new {
    my ($class, %self) = @_;
    return bless { status => 0, headers => [], body => '', error => '', %self },
        $class;
}

sub status { return $_[0]{status} }
sub body { return $_[0]{body} }
sub error { return $_[0]{error} }

# A header's values, all of them or the first.
sub all_headers {
    my ($self, $name) = @_;
    my @h = @{ $self->{headers} };
    return map { $h[2 * $_] eq lc $name ? $h[2 * $_ + 1] : () } 0 .. @h / 2 - 1;
}

sub header {
    my ($self, $name) = @_;
    return scalar +($self->all_headers($name))[0];
}

sub json {
    my ($self) = @_;
    return scalar eval { JSON::PP->new->utf8->decode($self->{body}) };
}

# The last word of a problem's type: its reason.
sub problem {
    my ($self) = @_;
    my $json = $self->json;
    return '' if ref $json ne 'HASH' || ($json->{type} || '') !~
        /^urn:tsface:problem:(\w+)$/;
    return $1;
}

1;
