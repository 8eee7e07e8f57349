package TSFace::Revoke;

# Revokes, and the records they leave.  Methods of TSFace::Test.

use strict;
use warnings;

package TSFace::Test;

use strict;
use warnings;

use TSFace::HTTP qw(raw_http connect_to build_request);
use TSFace::Tool ();
use TSFace::Trail ();

# face.revoke through PORT_0: revoke('user-1', caller => 'name', json => {...},
# any option of http()).  caller is sent as X-Caller, for tests whose
# tsface_caller is $http_x_caller.

sub revoke {
    my ($self, $user, %o) = @_;

    my $answer = raw_http($o{port} || $self->port(0),
        revoke_request($user, %o), %o);

    push @{ $self->{answers} }, $answer;
    return $answer;
}


# The same without waiting for the answer: the socket it will come from, see
# read_answer().

sub send_revoke {
    my ($self, $user, %o) = @_;

    my $socket = connect_to($o{port} || $self->port(0), %o)
        or die "connect: $!\n";
    print $socket revoke_request($user, %o);
    $socket->flush;

    return $socket;
}


sub revoke_request {
    my ($user, %o) = @_;

    my $caller = exists $o{caller} ? $o{caller} : 'tester';
    my @headers = (defined $caller ? ('X-Caller', $caller) : (),
        @{ $o{headers} || [] });

    $o{json} = { user_id => $user }
        if !grep { exists $o{$_} } qw(json body chunks);

    return build_request('POST', $o{target} || '/v1/users/face/revoke', %o,
        headers => \@headers);
}


# face.revoke_me with the user's own token.

sub revoke_me {
    my ($self, $token, %o) = @_;

    my @headers = (defined $token ? ('Authorization', "Bearer $token") : (),
        @{ delete $o{headers} || [] }, 'Content-Length', 0);

    return $self->revoke(undef, target => '/v1/users/me/face/revoke',
        body => '', headers => \@headers, %o);
}


# The trail's records; complaints about the chain fail the test.

sub records {
    my ($self, %o) = @_;

    my $file = $o{file} || "$self->{dir}/trail/trail.jsonl";
    my $key = $o{key} || $self->read_file('secrets/audit.key');

    # The end may be half a batch that is being written just now: one write()
    # is not one step for those who read meanwhile.
    my ($records, $wrong);
    $self->wait_for(sub {
        ($records, $wrong) = TSFace::Trail::read_trail($file, $key);
        return !grep { /^the last line has no end/ } @$wrong;
    }, 2);
    $self->problem("trail: $_") for @$wrong;

    my @records = @$records;
    @records = grep { $_->{type} =~ $o{type} } @records if $o{type};
    @records = grep { ($_->{request_id} || '') eq $o{request_id} } @records
        if $o{request_id};

    return @records;
}


# Records once there are as many as wanted: outcomes of requests whose client
# left, and refusals nobody waits for, come late.

sub wait_records {
    my ($self, $n, %o) = @_;

    my $file = $o{file} || "$self->{dir}/trail/trail.jsonl";

    $self->wait_for(sub {
        my ($records) = TSFace::Trail::read_trail($file, '');
        return $n <= grep { !$o{type} || $_->{type} =~ $o{type} } @$records;
    }, $o{seconds} || 15);

    return $self->records(%o);
}


# Intents that have no outcome yet, nor a refusal.

sub open_intents {
    my ($self) = @_;

    my %open;
    for my $r ($self->records) {
        my $id = join '/', $r->{request_id} || '', $r->{attempt} || '';
        $open{$id} = $r if $r->{type} eq 'intent';
        delete $open{$id} if $r->{type} =~ /outcome|refusal/;
    }

    return values %open;
}


# The path of tsface-audit: what was built, or is built here, which it always
# is with sanitizers or coverage.

sub audit_tool {
    my ($self) = @_;

    return $self->{audit_tool} if $self->{audit_tool};

    my $tool = ($ENV{OUT} || "$TSFace::Test::ROOT/build-out") . '/tsface-audit';
    $tool = TSFace::Tool::build("$self->{dir}/tmp/tsface-audit")
        if !-x $tool || $ENV{TSFACE_SANITIZE} || $ENV{TSFACE_COVERAGE};

    return $self->{audit_tool} = $tool;
}


# Runs it: its exit code; what it said is in said() then.

sub audit {
    my ($self, @arguments) = @_;

    (my $code, $self->{said}) = $self->run(60, $self->audit_tool, @arguments);
    return $code;
}

sub said { return $_[0]{said} }

1;
