package TSFace::Sandbox::Control;

# /_sandbox/...: what tests and people turn while the sandbox runs.  Answers
# are JSON; what can't be done is 400 with {"error": text}.

use v5.36;

use Mojo::JSON qw(true);

use TSFace::Sandbox::JSON qw(decode_json encode_json);

my %ROUTE = (
    'GET '                => \&_state,
    'GET switch'          => sub ($s, $in) { $s->{switches}->values },
    'POST switch'         => \&_set_switches,
    'GET fault'           => sub ($s, $in) { $s->{faults}->list },
    'POST fault'          => \&_add_fault,
    'DELETE fault'        => \&_remove_fault,
    'GET user'            => \&_get_user,
    'POST user'           => \&_set_user,
    'DELETE user'         => \&_delete_user,
    'GET client'          => \&_get_client,
    'POST client'         => \&_set_client,
    'GET token'           => \&_token,
    'POST revoke_tokens'  => \&_revoke_tokens,
    'GET log'             => \&_log,
    'DELETE log'          => sub ($s, $in) { $s->{log}->clear; {ok => true} },
    'GET stats'           => sub ($s, $in) { $s->stats },
    'POST reset'          => sub ($s, $in) { $s->reset; {ok => true} },
);

# Returns (status, body, content type).
sub answer ($sandbox, $req, $name) {
    my $handler = $ROUTE{$req->method . " $name"}
        or return (404, encode_json({error => 'no such control; there are: '
                . join ', ', sort keys %ROUTE}), 'application/json');
    my $result = eval {
        my $input = $req->url->query->to_hash;
        if (length $req->body) {
            my $json = decode_json($req->body);
            die "the body is a JSON object\n" unless ref $json eq 'HASH';
            $input = {%$input, %$json};
        }
        $handler->($sandbox, $input);
    };
    return (400, encode_json({error => $@ =~ s/\s+\z//r}), 'application/json')
        unless defined $result;
    return (200, $result . "\n", 'text/plain') unless ref $result;
    return (200, encode_json($result) . "\n", 'application/json');
}

sub _state ($sandbox, $in) {
    my $service = $sandbox->{service};
    return {
        listen   => $sandbox->listening,
        switches => $sandbox->{switches}->values,
        faults   => $sandbox->{faults}->list,
        clients  => $service->clients,
        users    => scalar keys %{$service->users},
        stats    => $sandbox->stats,
    };
}

# {"name": value, ...}; the other switches stay as they are.
sub _set_switches ($sandbox, $in) {
    $sandbox->{switches}->set(%$in);
    return $sandbox->{switches}->values;
}

sub _add_fault ($sandbox, $in) { return $sandbox->{faults}->add(%$in) }

sub _remove_fault ($sandbox, $in) {
    $sandbox->{faults}->remove($in->{id});
    return $sandbox->{faults}->list;
}

sub _get_user ($sandbox, $in) {
    my $id = $in->{user_id} // $in->{id};
    return [map { $sandbox->{service}->user($_) }
            sort keys %{$sandbox->{service}->users}] unless defined $id;
    return $sandbox->{service}->user($id) // die qq{no user "$id"\n};
}

sub _set_user ($sandbox, $in) {
    return $sandbox->{service}->set_user(%$in);
}

sub _delete_user ($sandbox, $in) {
    my $id = $in->{user_id} // $in->{id} // die qq{"user_id" is missing\n};
    return $sandbox->{service}->delete_user($id) // die qq{no user "$id"\n};
}

sub _get_client ($sandbox, $in) {
    my $id = $in->{client_id} // $in->{id};
    return $sandbox->{service}->clients unless defined $id;
    return $sandbox->{service}->client($id) // die qq{no client "$id"\n};
}

sub _set_client ($sandbox, $in) {
    $sandbox->{service}->set_client(%$in);
    return $sandbox->{service}->client($in->{client_id});
}

# user=ID or client=ID; ttl=SECONDS (negative: expired); garbled=1: with a
# wrong signature; unknown=1: for a user that isn't there; format=text.
sub _token ($sandbox, $in) {
    my $service = $sandbox->{service};
    my ($user, $client) = @$in{qw(user client)};
    die qq{"ttl" is a number\n} if ($in->{ttl} // 0) !~ /^-?[0-9]{1,9}$/;
    die qq{"user" or "client" is missing\n} unless defined($user // $client);
    die qq{no user "$user"\n}
        if defined $user && !$service->user($user) && !$in->{unknown};
    my $token
        = defined $user
        ? $service->mint_user($user, ttl => $in->{ttl},
            client_id => $client)
        : $service->mint_client($client, ttl => $in->{ttl},
            resource => $in->{resource})
        // die qq{no client "$client"\n};
    $token =~ s/\.([^.])([^.]*)\z/'.' . ($1 eq 'A' ? 'B' : 'A') . $2/e
        if $in->{garbled};
    return $token if ($in->{format} // '') eq 'text';
    return {
        access_token => $token,
        token_type   => 'Bearer',
        expires_in   => $in->{ttl} // $sandbox->{switches}->values->{token_ttl},
        scope        => 'openid',
        fingerprint  => TSFace::Sandbox::Token::fingerprint($token),
    };
}

# {} for every token made so far, {"sub": ID} for one client's or user's.
sub _revoke_tokens ($sandbox, $in) {
    $sandbox->{service}->tokens->revoke($in->{sub});
    return {ok => true};
}

sub _log ($sandbox, $in) {
    for my $name (grep { defined $in->{$_} } qw(since limit)) {
        die qq{"$name" is a number\n} unless $in->{$name} =~ /^[0-9]{1,12}$/;
    }
    return $sandbox->{log}->entries(%$in);
}

1;
