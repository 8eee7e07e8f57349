package TSFace::Herd;

# Herds: requests that all come while there is no usable token, each on a
# connection of its own.  What is counted is what they cost in exchanges, and
# how many fail.
#
# The token endpoint is the sandbox, frozen until all of the herd is seen
# waiting.  Revokes go to a second nginx, as the sandbox would need half a
# minute for ten thousand of them; it answers 204, or 401 for a token that has
# been revoked.
#
#   my $herd = TSFace::Herd->new(workers => 4, size => 10_000);
#   my $got = $herd->cold(10_000);
#   # { exchanges, failed, waited, early, seen, refused, tokens, took }

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use TSFace::HTTP 'http';
use TSFace::Test;

# workers; size: of the largest herd; timeout: of the whole file; log_level.

sub new {
    my ($class, %o) = @_;

    my $files = descriptors();
    my %nginx = (workers => $o{workers} || 4, timeout => $o{timeout} || 120,
        log_level => $o{log_level} || 'notice',
        globals => "worker_rlimit_nofile $files;",
        connections => 2 * $o{size} + 200);

    my $self = bless { %o, upstream => TSFace::Test->new(%nginx),
        gateway => TSFace::Test->new(%nginx) }, $class;

    my ($t, $upstream) = @$self{qw(gateway upstream)};
    $self->{sandbox} = $t->sandbox;
    $t->write_file('tmp/body', '{"user_id":"user-1"}');
    mkdir $upstream->dir . '/revoked' or die "revoked: $!\n";

    $upstream->start(<<'END');
%%GLOBALS%%
http {
    %%HTTP%%

    map $http_authorization $of_token {
        "~^Bearer [^.]+\.[^.]+\.(?<start>[\w-]{16})" $start;
    }
    log_format token  '$status $of_token';
    access_log %%DIR%%/logs/access.log token;
    keepalive_requests 1000000;

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport backlog=4096;
        if (-f %%DIR%%/revoked/$of_token) {
            return 401;
        }
        return 204;
    }
}
END

    my ($to, $http) = ($upstream->port(0), $self->{sandbox}->http_port);
    $t->configure(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    access_log off;

    tsface_audit_trail trail {
        file       %%DIR%%/trail/herd.jsonl;
        key        file:%%DIR%%/secrets/audit.key;
        durability write;
        timeout    60s;
    }

    tsface_credentials herd {
        endpoint         http://127.0.0.1:$to/cis;
        token_endpoint   http://127.0.0.1:$http/oidc/token;
        %%CLIENT%%
        min_interval     100ms;
        connect_timeout  30s;
        read_timeout     30s;
        exchange_timeout 30s;
        token_wait       60s;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport backlog=4096;
        client_header_timeout 60s;
        client_body_timeout   60s;

        location / {
            tsface_pass   herd;
            tsface_caller anonymous;
            tsface_audit  trail;
        }
        location = /status {
            tsface_status;
        }
    }
}
END

    return $self;
}


# How many descriptors a process may have here at most.
sub descriptors {
    my $hard = qx(sh -c 'ulimit -H -n');
    chomp $hard;
    return $hard =~ /^\d+$/ && $hard < 65_536 ? $hard : 65_536;
}


# The largest herd up to $wanted: a client has a descriptor for each
# connection, and so have the endpoint's workers in the worst case.  A worker of
# the gateway has two, but there are many of them.
sub largest {
    my ($wanted) = @_;
    my $possible = descriptors() - 200;
    return $possible < $wanted ? $possible : $wanted;
}


sub exchanges {
    my ($self) = @_;
    return scalar(() = $self->{sandbox}->exchanges);
}


# How many requests wait for the token now, in all workers.
sub waiting {
    my ($self) = @_;
    my $port = $self->{gateway}->port(0);
    my $status = http($port, 'GET', '/status', timeout => 30)->json or return 0;
    return $status->{credentials}[0]{waiting};
}


# Lines of the endpoint's log: "204 start-of-the-token".
sub seen {
    my ($self) = @_;
    return split /\n/, $self->{upstream}->access_log;
}


# The token in use is refused from now on.
sub revoke_token {
    my ($self) = @_;

    my ($token) = map { (split ' ')[1] } ($self->seen)[-1];
    $self->{upstream}->write_file("revoked/$token", '');
    return;
}


sub one {
    my ($self) = @_;
    my $answer = $self->{gateway}->revoke('user-1', timeout => 60);
    die "herd: $answer->{status} $answer->{error}\n" if $answer->status != 204;
    return;
}


# ------------------------------------------------------------ the occasions

# A gateway that has just been started.
sub cold {
    my ($self, $n) = @_;

    $self->{gateway}->stop;
    $self->{sandbox}->switch(token_ttl => 3600);
    my $before = $self->exchanges;
    $self->{sandbox}->freeze;
    $self->{gateway}->start;

    return $self->run($n, $before);
}


# A token that has run out while its refresh was on the way.
sub expiry {
    my ($self, $n) = @_;

    my $life = 2 * $self->{gateway}{slow};
    sleep 0.3;
    $self->{sandbox}->switch(token_ttl => $life);
    $self->revoke_token;
    $self->one;
    $self->{sandbox}->switch(token_ttl => 3600);
    my $before = $self->exchanges;
    $self->{sandbox}->freeze;
    sleep $life + 0.3;

    return $self->run($n, $before);
}


# A token that the endpoint refuses to all of them: it is stopped until all
# have been sent, or else the first 401 would hold back the others.
sub revoked {
    my ($self, $n, %o) = @_;

    my @endpoint = $self->{upstream}->workers;

    $self->one;
    sleep 0.3;
    $self->revoke_token;
    my $before = $self->exchanges;
    my $intents = $self->intents;
    $self->{sandbox}->freeze if !$o{late};
    kill 'STOP', @endpoint;

    return $self->run($n, $before, sub {
        $self->{gateway}->wait_for(sub { $self->intents - $intents >= $n }, 25);
        sleep 0.5;
        kill 'CONT', @endpoint;
        return !$o{late};
    });
}


# The same with a sandbox that answers at once: most of the 401s come when
# there is another token already, which they don't mean.
sub late_401 { my ($self, $n) = @_; return $self->revoked($n, late => 1) }


sub intents {
    my ($self) = @_;

    my $file = $self->{gateway}->dir . '/trail/herd.jsonl';
    open my $fh, '<', $file or return 0;
    seek $fh, $self->{read} ||= 0, 0;
    while (defined(my $line = <$fh>)) {
        last if $line !~ /\n\z/;
        $self->{read} += length $line;
        $self->{intents}++ if $line =~ /"type":"intent"/;
    }
    return $self->{intents} || 0;
}


# The herd itself: h2load's connections are all open before any is answered,
# as the sandbox is let go when all are seen waiting.

sub run {
    my ($self, $n, $before, $sent) = @_;

    my $t = $self->{gateway};
    my $seen = () = $self->seen;
    my $out = $t->dir . '/tmp/herd-' . ++$self->{herds};
    my $pid = $t->spawn($out, 'sh', '-c', 'ulimit -n $(ulimit -H -n); exec "$@"',
        'sh', 'h2load', '--h1', '-n', $n, '-c', $n, '-T', 60, '-N', 60,
        '-d', $t->dir . '/tmp/body', '-H', 'Content-Type: application/json',
        'http://127.0.0.1:' . $t->port(0) . '/v1/users/face/revoke');

    my $waited = 0;
    $t->wait_for(sub {
        return 1 if ($waited = $self->waiting) >= $n;
        sleep 0.1;
        return 0;
    }, 25) if !$sent || $sent->();

    my @early = ($self->seen)[$seen .. $self->seen - 1];
    my $start = time();
    $self->{sandbox}->thaw;
    my $code = $t->wait_pid($pid, 30 * $t->{slow});
    my $took = time() - $start;
    kill 'KILL', $pid if !defined $code;

    my $output = $t->read_file($out);
    my ($good) = $output =~ /^status codes: (\d+) 2xx/m;
    my @seen = ($self->seen)[$seen .. $self->seen - 1];

    return {
        exchanges => $self->exchanges - $before,
        failed    => $n - ($good || 0),
        waited    => $waited,
        early     => scalar(grep { /^2/ } @early),
        seen      => scalar(grep { /^2/ } @seen),
        refused   => scalar(grep { /^401/ } @seen),
        tokens    => scalar(keys %{ { map { $_ => 1 } grep { /^2/ } @seen } }),
        took      => $took,
        output    => $output,
    };
}

1;
