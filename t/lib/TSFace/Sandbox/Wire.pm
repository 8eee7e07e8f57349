package TSFace::Sandbox::Wire;

# Puts an answer on the connection.  Legal answers go through Mojolicious and
# leave the connection alive; broken ones are written as bytes to the stream
# below it, which Mojolicious does not know about, and so end the connection,
# or leave it open and deaf ("keep").

use v5.36;

use MIME::Base64 qw(decode_base64);
use Mojo::IOLoop;
use Mojo::Message::Response;
use Socket qw(SOL_SOCKET SO_LINGER);

# Long enough for what was sent before a RST to be read by the peer.
use constant BEFORE_RST => 0.05;

my %RAW = map { $_ => 1 } qw(reset close hang garbage truncated raw
    duplicate_length length_and_chunked);

# $stray->($bytes) is called for what arrives on a connection kept after raw
# bytes: a client that goes on using it is wrong.
sub deliver ($tx, $answer, $fault = undef, $stray = undef) {
    return _legal($tx, $answer, $fault) unless $fault;
    my $send = sub {
        my $stream = Mojo::IOLoop->stream($tx->connection) or return;
        my $raw = $RAW{$fault->{kind}} || $fault->{head};
        return $raw
            ? _raw($stream, $answer, $fault, $stray)
            : _legal($tx, $answer, $fault);
    };
    return $send->() unless $fault->{delay};
    Mojo::IOLoop->timer($fault->{delay} / 1000 => $send);
}

# ------------------------------------------------------------ legal HTTP

sub _legal ($tx, $answer, $fault) {
    my $res = $tx->res;
    $res->code($answer->{status});
    my $headers = $res->headers;
    $headers->remove('Server');
    my $list = $answer->{headers} // [];
    for (my $i = 0; $i < @$list; $i += 2) {
        $headers->add($list->[$i] => $list->[$i + 1]);
    }
    my $body = $answer->{body} // '';
    $headers->content_type($answer->{type})
        if length $body && defined $answer->{type};

    return _in_pieces($tx, $body, $fault)
        if $fault && length $body
        && ($fault->{body_delay} || $fault->{kind} =~ /^(?:drip|chunked)$/);
    $res->body($body) if length $body;
    $tx->resume;
}

sub _in_pieces ($tx, $body, $fault) {
    my $content = $tx->res->content;
    my $kind    = $fault->{kind};
    my $chunked = $kind eq 'chunked';
    my $size    = $fault->{size} || ($kind eq 'drip' ? 1 : $chunked ? 7 : 0);
    my $wait    = $kind eq 'drip' ? ($fault->{ms} // 50) / 1000 : 0;
    $size = length $body unless $size;

    $tx->res->headers->content_length(length $body) unless $chunked;

    # One piece; true as long as there are more.
    my $piece = sub {
        my $bytes = substr $body, 0, $size, '';
        $chunked ? $content->write_chunk($bytes) : $content->write($bytes);
        return 1 if length $body;
        $content->write_chunk('') if $chunked;
        return 0;
    };
    my $start = sub {
        if (!$wait) {
            1 while $piece->();
            return $tx->resume;
        }
        my $timer;
        my $stop = sub { Mojo::IOLoop->remove($timer) };
        $timer = Mojo::IOLoop->recurring($wait => sub {
            $stop->() unless $piece->();
            $tx->resume;
        });
        $tx->on(finish => $stop);
    };

    return $start->() unless $fault->{body_delay};
    $chunked ? $content->write_chunk : $content->write;
    $tx->resume;
    Mojo::IOLoop->timer($fault->{body_delay} / 1000 => $start);
}

# ------------------------------------------------------------ anything else

sub _raw ($stream, $answer, $fault, $stray) {
    my $kind  = $fault->{kind};
    my $body  = $answer->{body} // '';
    my $after = $fault->{after} // 'none';
    my $quiet = defined $fault->{notify} && !$fault->{notify};
    my $end   = $fault->{keep} ? sub { _deaf($stream, $stray) }
                               : sub { _close($stream, $quiet) };
    my $length = ['Content-Length', length $body];

    return _deaf($stream, $stray) if $kind eq 'hang';

    if ($kind eq 'reset' || $kind eq 'close') {
        my $rst = $kind eq 'reset' ? sub {
            Mojo::IOLoop->timer(BEFORE_RST, sub { _reset($stream) });
        } : $end;
        return $kind eq 'reset' ? _reset($stream) : $end->()
            if $after eq 'none';
        my $part = $after eq 'body' ? substr $body, 0, length($body) / 2 : '';
        return $stream->write(_head($answer, @$length) . $part => $rst);
    }

    if ($kind eq 'raw') {
        my $bytes = $fault->{bytes};
        utf8::encode($bytes);
        $bytes = decode_base64($bytes) if $fault->{base64};
        return $stream->write($bytes => $end);
    }

    if ($kind eq 'garbage') {
        my $bytes = $fault->{bytes}
            // "\x16\x03\x01garbage: this is not HTTP\0\xff\r\n\r\n" x 4;
        utf8::encode($bytes) if utf8::is_utf8($bytes);
        return $stream->write($bytes => $end);
    }

    if ($kind eq 'truncated') {
        my $sent = $fault->{bytes} // int(length($body) / 2);
        return $stream->write(
            _head($answer, @$length) . substr($body, 0, $sent) => $end);
    }

    if ($kind eq 'duplicate_length') {
        my @values = @{$fault->{values} // [(length $body) x 2]};
        return $stream->write(
            _head($answer, map { ('Content-Length', $_) } @values)
                . $body => $end);
    }

    if ($kind eq 'length_and_chunked') {
        my $chunk = sprintf "%x\r\n%s\r\n0\r\n\r\n", length $body, $body;
        return $stream->write(
            _head($answer, 'Content-Length', length $body,
                'Transfer-Encoding', 'chunked') . $chunk => $end);
    }

    # What is left is "drip" with its header.
    my $all = _head($answer, @$length) . $body;
    my $step;
    $step = sub {
        return undef $step unless $stream->handle;
        my $piece = substr $all, 0, $fault->{size} || 1, '';
        return undef $step, $stream->write($piece => $end) unless length $all;
        $stream->write($piece);
        Mojo::IOLoop->timer(($fault->{ms} // 50) / 1000 => $step);
    };
    $step->();
}

sub _head ($answer, @framing) {
    my $status = $answer->{status};
    my $text = Mojo::Message::Response->new->default_message($status);
    my $head = "HTTP/1.1 $status $text\r\n";
    my @headers = (@{$answer->{headers} // []}, @framing);
    unshift @headers, 'Content-Type', $answer->{type} if defined $answer->{type};
    $head .= sprintf "%s: %s\r\n", splice @headers, 0, 2 while @headers;
    return "$head\r\n";
}

# Stays open, answers nothing, and tells who goes on talking.
sub _deaf ($stream, $stray) {
    $stream->unsubscribe('read');
    $stream->on(read => sub ($s, $bytes) { $stray->($bytes) });
}

# Without "quiet" a TLS connection ends with close_notify, as it should; the
# stream alone never sends one.  Nothing waits to be written here any more.
sub _close ($stream, $quiet) {
    my $handle = $stream->handle or return;
    $stream->close;
    return $handle->close unless $handle->isa('IO::Socket::SSL');
    $handle->close($quiet ? 'SSL_no_shutdown' : 'SSL_fast_shutdown' => 1);
}

sub _reset ($stream) {
    my $handle = $stream->handle or return;
    setsockopt $handle, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    _close($stream, 1);
}

1;
