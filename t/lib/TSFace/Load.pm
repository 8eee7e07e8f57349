package TSFace::Load;

# Clients that revoke without a pause while something happens to nginx, many
# requests at one moment, and the comparison of what the endpoint saw with
# what was written down.  Methods of TSFace::Test.

use strict;
use warnings;

package TSFace::Test;

use strict;
use warnings;

use POSIX ();
use TSFace::HTTP qw(raw_http connect_to read_answer build_request);
use Time::HiRes qw(sleep time);

# Starts clients, each a process of its own, which revoke until stop().
#
#   clients   how many (4)
#   keep      1: each keeps its connection; when a kept one turns out closed
#             before it has brought a byte, the request is sent anew
#   tokens    [ ... ]: each second request is a revoke_me with one of them
#   pause     seconds between a client's requests
#   timeout   of one request (20)
#
# stop() returns { count => { 204 => n, "503 no_token" => n, ERROR => n },
# answers => [ { id, status, took } ], slowest => seconds }.

sub load {
    my ($self, %o) = @_;

    my $n = ++$self->{loads};
    my $load = bless { t => $self, stop => "$self->{dir}/tmp/stop-$n" },
        'TSFace::Load';

    for my $i (1 .. $o{clients} || 4) {
        my $out = "$self->{dir}/tmp/load-$n-$i";
        my $pid = fork;
        die "fork: $!\n" if !defined $pid;
        if (!$pid) {
            $SIG{ALRM} = 'DEFAULT';
            alarm 600;
            TSFace::Load::client($self, $i, $out, $load->{stop}, \%o);
            POSIX::_exit(0);
        }
        $self->{children}{$pid} = 1;
        push @{ $load->{clients} }, [ $pid, $out ];
    }

    return $load;
}


# The code's run under load: what stop() returns.
sub under_load {
    my ($self, $code, %o) = @_;

    my $load = $self->load(%o);
    sleep 0.3;
    $code->($load);
    sleep 0.3;

    return $load->stop;
}


# So many revokes at one moment, each on its connection: their answers.
# Options: user, headers, timeout, port; connected => code, run when all have
# been sent.

sub burst {
    my ($self, $n, %o) = @_;

    my $port = $o{port} || $self->port(0);
    my $request = build_request('POST', '/v1/users/face/revoke',
        json => { user_id => $o{user} || 'user-1' },
        headers => [ 'X-Caller', 'burst', @{ $o{headers} || [] } ]);

    my @sockets = map { connect_to($port) || die "connect: $!\n" } 1 .. $n;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $_, $request for @sockets;

    $o{connected}->() if $o{connected};

    my $deadline = time() + ($o{timeout} || 15) * $self->{slow};
    my @answers = map {
        my $soon = time() + 0.05;      # what came in time is read in any case
        read_answer($_, $deadline > $soon ? $deadline : $soon, 'POST');
    } @sockets;
    push @{ $self->{answers} }, @answers;

    return @answers;
}


# What must hold whatever is killed: complaints, none if it does.
#   answers   of load or burst, as { id, status }

sub write_ahead {
    my ($self, @answers) = @_;

    my (%intents, %outcome, %seen, @wrong);
    for my $r ($self->records) {
        my $id = $r->{request_id} || '';
        $intents{$id}++ if $r->{type} eq 'intent';
        $outcome{$id}{ $r->{upstream_status} || 0 }++
            if $r->{type} eq 'outcome';
    }

    $seen{ $_->{headers}{'x-request-id'} || '' }++ for $self->sandbox->revokes;

    for my $id (sort keys %seen) {
        my $n = $intents{$id} || 0;
        push @wrong, "request '$id' was seen $seen{$id} times, announced $n"
            if $n < $seen{$id};
    }

    for my $answer (@answers) {
        next if $answer->{status} !~ /^2/;
        push @wrong, "request $answer->{id} was answered $answer->{status}, "
            . 'but has no such outcome'
            if !$outcome{ $answer->{id} }{ $answer->{status} };
        push @wrong, "request $answer->{id} was answered $answer->{status}, "
            . 'but never seen' if !$seen{ $answer->{id} };
    }

    return @wrong;
}


package TSFace::Load;

use Time::HiRes qw(sleep time);

sub client {
    my ($t, $i, $out, $stop, $o) = @_;

    local $SIG{PIPE} = 'IGNORE';
    open my $fh, '>', $out or POSIX::_exit(1);
    my $port = $t->port(0);
    my @tokens = @{ $o->{tokens} || [] };
    my $socket;

    for (my $n = 1; !-e $stop; $n++) {
        my $request = @tokens && $n % 2
            ? TSFace::HTTP::build_request('POST', '/v1/users/me/face/revoke',
                keep => $o->{keep}, body => '', headers => [ 'X-Caller', 'load',
                    'Authorization', 'Bearer ' . $tokens[$n % @tokens] ])
            : TSFace::HTTP::build_request('POST', '/v1/users/face/revoke',
                keep => $o->{keep}, json => { user_id => "user-$i" },
                headers => [ 'X-Caller', 'load' ]);

        my $start = time();
        my $answer;
        for ( ;; ) {
            my $kept = defined $socket;
            $socket ||= TSFace::HTTP::connect_to($port);
            $answer = $socket
                ? TSFace::HTTP::raw_http($port, $request, socket => $socket,
                    timeout => ($o->{timeout} || 20) * $t->{slow})
                : TSFace::HTTP::Answer->new(error => "connect: $!");

            undef $socket if !$o->{keep} || $answer->error
                || lc($answer->header('Connection') || '') eq 'close';

            last if !$kept || $answer->{raw} || $answer->error !~
                /^closed$|^read: Connection reset/;
        }

        my $what = !$answer->status ? $answer->error
            : $answer->problem ? $answer->status . ' ' . $answer->problem
            : $answer->status;
        printf $fh "%s\t%s\t%.3f\n", $what,
            $answer->header('X-TSFace-Request-ID') || '-', time() - $start;
        sleep $o->{pause} if $o->{pause};
    }

    close $fh;
    return;
}


sub stop {
    my ($self) = @_;

    my $t = $self->{t};
    $t->write_file($self->{stop}, '');

    my %result = (count => {}, answers => [], slowest => 0);

    for my $client (@{ $self->{clients} }) {
        my ($pid, $out) = @$client;
        waitpid $pid, 0;
        delete $t->{children}{$pid};
        for my $line (split /\n/, $t->read_file($out)) {
            my ($what, $id, $took) = split /\t/, $line;
            $result{count}{$what}++;
            $result{slowest} = $took if $took > $result{slowest};
            push @{ $result{answers} },
                { id => $id, status => $what =~ /^(\d{3})\b/ ? $1 : 0, took => $took };
        }
    }

    return \%result;
}

1;
