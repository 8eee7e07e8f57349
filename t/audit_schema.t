#!/usr/bin/perl
# docs/audit.schema.json: it takes a record of each kind, and nothing that is
# not one; and it knows the members and reasons that the sources have.

use lib 't/lib';
use TSFace::Test;
use TSFace::Schema qw(schema record_errors trail_errors);
use JSON::PP ();

my $t = TSFace::Test->new(workers => 1, timeout => 240);
my $root = $TSFace::Test::ROOT;

# Every other test leaves records unlooked at without it.
ok TSFace::Schema::available(), 'JSON::Validator is installed'
    or BAIL_OUT('install libjson-validator-perl');

my $garbage = $t->fake_server(sub { syswrite $_[0], "HTTP/9 what\r\n\r\n" });
my $token_port = $t->fake_token_server;
$t->secret('fake.secret', 'the-secret-of-audit_schema.t');

$t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%

    tsface_audit_trail trail {
        file     %%DIR%%/trail/trail.jsonl;
        key      file:%%DIR%%/secrets/audit.key;
        refusals rate=1r/h burst=2;
    }

    tsface_audit_trail plain {
        file    %%DIR%%/trail/plain.jsonl;
        key     file:%%DIR%%/secrets/audit.key;
        user_id plain;
    }

    tsface_credentials garbage {
        endpoint        http://127.0.0.1:$garbage/cis;
        token_endpoint  http://127.0.0.1:$token_port/oidc/token;
        client_id       fake;
        client_secret   file:%%DIR%%/secrets/fake.secret;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        tsface_caller \$http_x_caller;
        tsface_audit  trail;
        location / { tsface_pass sandbox; }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        tsface_caller \$http_x_caller;
        tsface_audit  plain;
        location / { tsface_pass garbage; }
    }
}
END

# --- a record of each kind, with all the members there are

my $user = "\x{e4}\"\\" x 8;
my @trace = ('traceparent',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');
is $t->revoke('user-1', caller => "a\"\\\x01\xff" x 200, headers => \@trace)
    ->status, 204, 'revoked';
is $t->revoke(undef, headers => \@trace, json => { user_id => 'user-1',
    map { ("member $_" . 'x' x 80 => 1) } 1 .. 20 })->status, 204, 'revoked';
is $t->revoke_me($t->sandbox->user_token('user-2'))->status, 204, 'revoked';
is $t->revoke('nobody')->status, 404, 'denied';
is $t->revoke('user-1', headers => \@trace, port => $t->port(1))->status, 502,
    'unknown';
is $t->revoke('', caller => "caller $_", headers => \@trace)->status, 400,
    'refused' for 1 .. 12;
is http($t->port, 'GET', '/' . '\\' x 3000)->status, 401, 'refused';
is http($t->port, 'GET', '/')->status, 401, 'refused' for 1 .. 3;

ok $t->wait_for(sub { grep { $_->{type} eq 'refusals' } $t->records }),
    'refusals are counted';

my @records = ($t->records, $t->records(file => $t->dir . '/trail/plain.jsonl'));
my (%kind, %member);
for my $record (@records) {
    delete $record->{_line};
    push @{ $kind{ $record->{type} } }, $record;
    $member{$_} = 1 for keys %$record;
    my @wrong = record_errors($record);
    ok !@wrong, "$record->{type}: valid" or diag explain(\@wrong, $record);
}

# what another worker writes for one that was killed
for my $intent (@{ $kind{intent} }) {
    my $orphan = { %$intent, type => 'outcome', result => 'unknown',
        reason => 'orphaned' };
    push @{ $kind{outcome} }, $orphan;
    is join(' ', record_errors($orphan)), '', 'an orphan: valid';
}

# of those that are not in these trails other tests have real ones
my %own = (
    close      => { reason => 'stopped' },
    rotate     => {},
    key        => { previous_key_id => 'a' x 16, proof => 'b' x 64 },
    checkpoint => { mark => '41:' . 'c' x 64, signer => 'd' x 16,
        signature => 'e' x 128 },
);
for my $type (sort keys %own) {
    my %record = (%{ $kind{open}[0] }, type => $type);
    delete $record{reason};
    push @{ $kind{$type} }, { %record, %{ $own{$type} } };
    is join(' ', record_errors($kind{$type}[0])), '', "$type: valid";
    $member{$_} = 1 for keys %{ $own{$type} };
}

is_deeply [ sort keys %kind ], [ sort map { m{/(\w+)\z} } map { $_->{'$ref'} }
    @{ schema()->{oneOf} } ], 'all kinds';
ok grep({ $_->{user}{plain} } @{ $kind{intent} }), 'a user in plain';
ok grep({ $_->{result} eq 'unknown' } @{ $kind{outcome} }), 'unknown';
ok grep({ @{ $_->{members} || [] } == 17 } @{ $kind{intent} }), 'members';

# --- each of them, changed

sub copy { return JSON::PP->new->decode(JSON::PP->new->encode($_[0])) }

sub refused {
    my ($name, $record, $change) = @_;
    my $copy = copy($record);
    $change->($copy);
    $name .= ': ' . JSON::PP->new->canonical->encode($copy)
        if !record_errors($copy);
    push our @taken, $name if !record_errors($copy);
    return;
}

my $n = 0;
our @taken;
for my $kind (sort keys %kind) {
    my $def = schema()->{'$defs'}{$kind};
    my %required = map { $_ => 1 } @{ $def->{required} };
    ok $def->{additionalProperties} =~ /^0/, "$kind: takes nothing else";

    for my $record (@{ $kind{$kind} }) {
        refused("$kind: a member more", $record, sub { $_[0]{x} = 1 });
        for my $other (grep { $_ ne $kind } keys %kind) {
            refused("$kind as $other", $record, sub { $_[0]{type} = $other })
                if "$kind$other" !~ /^(?:intentintent|rotatekey)\z/;
        }

        for my $name (sort keys %$record) {
            my $value = $record->{$name};
            my $set = sub {
                my ($what, $new) = @_;
                $n++;
                refused("$kind, $name: $what", $record,
                    sub { $_[0]{$name} = $new });
            };
            refused("$kind: no $name", $record, sub { delete $_[0]{$name} })
                if $required{$name};

            $set->('null', undef);
            $set->('a list in a list', [ [ 1 ] ]);
            $set->('an object', { x => 1 });
            $set->('true', JSON::PP::true) if $name ne 'sent'
                || $kind eq 'refusal';
            $set->('-1', -1);
            $set->('1.5', 1.5);
            $set->('a string that is too long', 'x' x 1025);
            $set->('a line', "x\n" x 300);
            $set->('a number as a string', "$value")
                if !ref $value && $name !~ /^(?:caller|uri|method|server|host)$/
                && $value =~ /^\d+\z/;
            if ($name =~ /^(?:mac|request_id|trace_id|parent_id)$/) {
                $set->('upper case', uc $value) if $value =~ /[a-f]/;
                $set->('cut', substr $value, 1);
                $set->('longer', "${value}0");
                $set->('with an end of line', "$value\n");
            }
            if ($name =~ /^(?:time|first|last)$/) {
                $set->('a month', $value =~ s/-\d\d-/-13-/r);
                $set->('without Z', $value =~ s/Z//r);
                $set->('milliseconds', $value =~ s/\d{3}Z/Z/r);
                $set->('a blank', $value =~ s/T/ /r);
            }
            $set->('another word', "${value}s")
                if $name =~ /^(?:type|result|reason|operation)$/;
            $set->('nothing', '') if $name !~ /^(?:server|uri)$/
                && !($name eq 'caller' && $kind eq 'refusal');
            $set->('nothing in it', ref $value eq 'HASH' ? {} : []) if ref $value
                && !($kind eq 'refusals' && $name eq 'callers');

            if (ref $value eq 'HASH') {
                $set->('a member more', { %$value, x => 1 });
                $set->('another value', { map { $_ => [] } keys %$value });
            } elsif (ref $value eq 'ARRAY') {
                $set->('too many', [ 1 .. 18 ]);
                $set->('a number', [ 1 ]);
                $set->('too long', [ 'x' x 129 ]);
            }
        }
    }
}
ok !@taken, 'whatever is changed is refused'
    or diag join "\n", (splice @taken, 0, 30), 'and more ' . @taken;
cmp_ok $n, '>', 1000, 'changes';

refused('reasons that are none', $kind{refusals}[0],
    sub { $_[0]{reasons} = { none => 1 } });
refused('a trace without a parent', $kind{intent}[0],
    sub { delete $_[0]{parent_id} });
refused('a user of revoke_me', $kind{intent}[0],
    sub { $_[0]{operation} = 'face.revoke_me' });
refused('unknown with a status', $_, sub { $_[0]{upstream_status} = 204 })
    for grep { $_->{result} eq 'unknown' } @{ $kind{outcome} };
for my $outcome (@{ $kind{outcome} }) {
    my $orphan = ($outcome->{reason} || '') eq 'orphaned';
    for my $name (qw(status sent duration_ms)) {
        refused("an outcome without $name", $outcome,
            sub { delete $_[0]{$name} }) if !$orphan;
        refused("an orphan with $name", $outcome, sub { $_[0]{$name} =
            $name eq 'sent' ? JSON::PP::true : 204 }) if $orphan;
    }
}
refused('a refusal that was sent', $kind{refusal}[0],
    sub { $_[0]{sent} = JSON::PP::true });
ok !@taken, 'nor what does not go together' or diag @taken;

for my $what ([], 'x', undef, { type => [] }, { type => 'x' }) {
    ok record_errors($what), 'no record';
}

# every test ends with this
my %other = (%{ copy($kind{open}[0]) }, x => 1);
like join(' ', trail_errors([ $kind{open}[0], { %other, _line => 'LINE' } ])),
    qr/^schema: .*\bx\b.*: LINE$/is, 'a trail with a wrong record';

# --- what the sources have is in it, and the other way round

my %in_schema = map { $_ => 1 } map { keys %{ $_->{properties} } }
    @{ schema()->{'$defs'} }{ keys %kind };
my $source = join '', map { $t->read_file(
    "$root/ngx_tsface_module/ngx_http_tsface_$_.c") }
    qw(record record_line refusal_flood);
my %in_source = map { $_ => 1 } 'v', 'seq',
    $source =~ /_record_row\((\w+), (?:string|number|flag|members),/g,
    $source =~ /_record_key\((\w+)\), \w+, 0,$/mg,
    $source =~ /_record_put\(p, "[},]*\\"(\w+)\\":\{?"\)/g,
    $source =~ /\#define[ ]\w+RECORD_(?:TIME|MAC)[ ].*?\\"(\w+)\\":/gx, 'type';
delete @in_source{qw(generation fingerprint)};
is_deeply [ sort keys %in_schema ], [ sort keys %in_source ],
    'the members of records';

my %problem = map { $_ => 1 } $t->read_file(
    "$root/ngx_tsface_module/ngx_http_tsface_problem.c") =~
    /_PROBLEM_\w+\] = \{\s+[1-9]\d+,\s+ngx_string\("(\w+)"\)/g;
is_deeply [ sort @{ schema()->{'$defs'}{reason}{enum} } ],
    [ sort keys %problem ], 'the reasons of problems';

my ($table) = $t->read_file("$root/docs/audit.md") =~
    /^## Members\n(.*?)^## /ms;
is_deeply [ sort map { /`(\w+)`/g } $table =~ /^\| (`[^|]*) \|/mg ],
    [ sort keys %in_schema ], 'the table of docs/audit.md';

# --- docs/compliance.md names what there is: members, types, reasons,
# commands, directives of a trail

my $compliance = $t->read_file("$root/docs/compliance.md");
my @rows = $compliance =~ /^\| (?:AU-|10\.).*$/mg;
cmp_ok scalar(@rows), '>', 20, 'requirements';
my %word = map { $_ => 1 } keys %kind, keys %problem,
    @{ schema()->{'$defs'}{open}{properties}{reason}{enum} },
    qw(traceparent crit), $t->read_file("$root/tools/tsface-audit.c") =~
    /\{ "(\w+)", TSFACE_AUDIT_CMD_/g,
    $t->read_file("$root/ngx_tsface_module/ngx_http_tsface_trail_conf.c") =~
    /^    \{ ngx_string\("(\w+)"\),$/mg;
my (%named, @odd);
for my $row (@rows) {
    my (undef, $name, $asked, $answer, $left, @more) =
        split /\s*\|\s*/, $row, -1;
    push @odd, $name if @more != 1 || "$answer$left" eq '' || $asked eq '';
    $named{$_} = 1 for $answer =~ /`([a-z_]+)`/g;
}
ok !@odd, 'each with what answers it, or what is left to do' or diag @odd;
my @unknown = grep { !$in_schema{$_} && !$word{$_} && !/^tsface_/ }
    sort keys %named;
ok !@unknown, 'what it names exists' or diag "@unknown";
cmp_ok scalar(grep { $in_schema{$_} } keys %named), '>', 25,
    'it names most members';

done_testing;
