#!/usr/bin/perl
# What a user meets is described: every directive, variable, problem, record
# member, status field, log message, make target and package that the sources
# name is in docs/, its links lead somewhere, and its verifier verifies.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
my $root = $TSFace::Test::ROOT;
my $prefix = "$root/ngx_tsface_module/ngx_http_tsface_";

my %doc = map { m{([^/]+)\z}; $1 => $t->read_file($_) }
    glob "$root/*.md $root/docs/*.md";

my %source = map { m{ngx_http_tsface_(\w+)\.c\z}; $1 => $t->read_file($_) }
    glob "${prefix}*.c";

# Complains of those of @names that $found doesn't find.  Fewer than $least
# names mean that the sources are not written any more as they are read here.
sub described {
    my ($what, $least, $found, @names) = @_;

    my @lacking = grep { !$found->($_) } @names;
    ok @names >= $least, "$what: there are some" or diag "@names";
    ok !@lacking, "$what: described"
        or diag join "\n", 'not in the documentation:', @lacking;

    return;
}

# A row of a table, in a document, that begins with this name or has it among
# the names that it begins with.
sub row {
    my ($doc, $name) = @_;
    return $doc{$doc} =~ /^\|[^|]*`\Q$name\E`[^|]*\|.*$/m ? $& : '';
}

# The text of C's string literals, in which \" stands for ".
sub literals {
    my ($code) = @_;
    my $text = join '', $code =~ /"((?:[^"\\]|\\.)*)"/g;
    $text =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ge;
    return $text;
}

# --- directives: the command tables, and the syntax, default and context

my @directives = map { /\{ \s* ngx_string\("(\w+)"\), [\s\\]*
    NGX_(?:HTTP_\w+_)?CONF/gx } (map { $source{$_} } sort keys %source),
    $t->read_file("${prefix}tls.h");

described('directives', 30, sub {
    $doc{'directives.md'} =~ /^\#\#\#[ ]\Q$_[0]\E\n\n
        [ ]{4}Syntax:[ ]+\Q$_[0]\E\b.*\n
        [ ]{4}Default:[ ]+\S.*\n/mx
}, @directives);

described('directives outside of blocks: context', 8, sub {
    $doc{'directives.md'} =~ /^\#\#\# \Q$_[0]\E\n\n.*\n.*\n[ ]{4}Context:/m
}, grep { /^tsface_/ } @directives);

my %known = map { $_ => 1 } @directives;
described('headings of directives that exist', 30, sub { $known{$_[0]} },
    $doc{'directives.md'} =~ /^### (\w+)$/mg);

# regions with their hosts, words of enumerations, reserved parameters
my @words = map { $source{$_} =~
    /\{ ngx_string\("([\w.]+)"\), NGX_(?:HTTP_TSFACE|SSL)_/g }
    qw(credentials tls trail_conf);
described('values of directives', 8,
    sub { $doc{'directives.md'} =~ /\b\Q$_[0]\E\b/ }, @words);

my %region = $source{region} =~
    /ngx_http_tsface_region\("(\w+)", "([\w.-]+)"\)/g;
described('regions', 6, sub {
    row('directives.md', $_[0]) =~ m{`https://\Q$region{$_[0]}\E/cis`.*
        `https://\Q$region{$_[0]}\E/oidc/token`}x
}, sort keys %region);

my ($reserved) = $source{credentials} =~ /reserved_parameters\[\] = \{(.*?)\}/s;
described('reserved parameters', 6,
    sub { $doc{'directives.md'} =~ /`\Q$_[0]\E`/ },
    $reserved =~ /ngx_string\("(\w+)"\)/g);

# --- variables

described('variables', 7, sub { row('variables.md', "\$$_[0]") },
    $source{variables} =~ /\{ ngx_string\("(\w+)"\), NULL/g);

# --- problems, with their statuses; headers

my @problems = $source{problem} =~
    /_PROBLEM_\w+\] = \{\s+([1-9]\d+),\s+ngx_string\("(\w+)"\)/g;
my %status = reverse @problems;
described('problems', 25,
    sub { row('errors.md', $_[0]) =~ /^\| `\w+` \| \Q$status{$_[0]}\E \| \S/ },
    sort keys %status);

described('members of a problem', 7, sub { row('errors.md', $_[0]) },
    literals($source{answer} =~ /(len = sizeof\("\{.*?;)/s) =~ /"(\w+)":/g);

described('headers of an answer', 7,
    sub { $doc{'errors.md'} =~ /`\Q$_[0]\E\b/ },
    $source{answer} =~ /answer_set\(r, "([\w-]+)"/g);

my ($relayed) = $source{answer} =~ /_relayed\[\] = \{(.*?)\}/s;
described('headers that are relayed', 15,
    sub { $doc{'errors.md'} =~ /`\Q$_[0]\E`/i },
    $relayed =~ /ngx_string\("([\w-]+)"\)/g);

# --- records: types, members with their limits, reasons of "open"

my ($types) = $source{record} =~ /_record_types\[\] = \{(.*?)\}/s;
described('types of records', 5, sub { row('audit.md', $_[0]) },
    $types =~ /ngx_string\("(\w+)"\)/g);

my %limit = $source{record} =~ /_record_row\((\w+), string, (\d+)\)/g;
my @members = (
    $source{record} =~ /_record_row\((\w+), (?:string|number|flag|members)/g,
    $source{record} =~ /_record_key\((\w+)\), \w+, 0,$/mg,
    $source{record} =~ /\#define[ ]\w+RECORD_(?:TIME|TYPE|MAC)[ ].*?
        \\"(\w+)\\":/gx, 'v', 'seq');
described('members of records', 28, sub {
    my $row = row('audit.md', $_[0]);
    return $row && (!$limit{$_[0]}
        || $row =~ /^\| `\w+` \| [^|]* \| \Q$limit{$_[0]}\E \|/);
}, @members);

described('members in members', 5, sub { $doc{'audit.md'} =~ /`\{?"?\Q$_[0]\E\b/ },
    $source{record} =~ /_put\(p, ".?\{?\\"(\w+)\\":"\)/g,
    $source{record} =~ /_put\(p, "[,{]\\"(\w+)\\":"\)/g);

described('reasons of "open"', 4, sub { row('audit.md', $_[0]) },
    $source{trail_repair} =~ /result->reason = "(\w+)"/g,
    $source{trail_note} =~ /\? "(\w+)" : "(\w+)"\);/g);

described('results', 5, sub { row('audit.md', 'result') =~ /`\Q$_[0]\E`/ },
    map { $source{$_} =~ /result(?: = |, )"(\w+)"/g } qw(transaction attempt journal));

# --- status: fields, states, classes, counters

my %in_array = map { $_ => 1 } map { /"(\w+)"/g }
    $source{status} =~ /ngx_http_tsface_status_(?:breakers|classes|counters|states)\[\]
        [ ]=[ ]\{(.*?)\}/gsx;

described('fields of the status', 30, sub { row('status.md', $_[0]) },
    literals($source{status_json} . $source{status_trails}
    . $source{status_syslog} . $source{status_limit}) =~ /"(\w+)":/g);

described('classes, counters and states', 15, sub { $doc{'status.md'} =~ /`\Q$_[0]\E`/ },
    sort(keys %in_array),
    map { /"(\w+)"/g } $source{status} =~ /\breturn ([^;(]*"\w+"[^;]*);/g);

# --- metrics, with their types and labels

my $metrics = $source{status_prometheus} . $source{status_trails}
    . $source{status_syslog} . $source{status_limit} . $source{status_stores};
my %type = ($metrics =~
        /ngx_http_tsface_metric\([\w>.-]+, "(tsface_\w+)",\s+"(\w+)"/g,
    $metrics =~ /^ {4}\{ "(tsface_\w+)", "(\w+)",$/mg);
described('metrics', 20, sub {
    row('status.md', $_[0]) =~ /^\| `\w+` \| \Q$type{$_[0]}\E \|/
}, sort keys %type);

my %metric = map { $_ => 1 } keys %type;
my ($table) = $doc{'status.md'} =~ /^## Prometheus\n(.*?)^## /ms;
described('metrics that are described', 20, sub { $metric{$_[0]} },
    $table =~ /^\| `(tsface_\w+)`/mg);
described('metrics in alerts', 5,
    sub { $metric{$_[0] =~ s/_(?:bucket|sum|count)$//r} },
    $table =~ /^ {8,}.*?\b(tsface_\w+)/mg);

my %label = map { $_ => 1 } $metrics =~ /[{,"](\w+)=\\"%/g,
    $metrics =~ /"(operation|credentials|trail)", /g;
described('labels of metrics', 7, sub { $table =~ /^\|.*\| [^|]*`\Q$_[0]\E`/m },
    sort keys %label);

# --- log messages: every one that is not of the configuration

my @messages;
for my $name (sort keys %source) {
    while ($source{$name} =~ /ngx_(?:log|ssl)_error\((?!NGX_LOG_EMERG)/g) {
        my $text = literals(call(substr $source{$name}, pos $source{$name}));
        $text =~ s/%[a-zA-Z]+/%/g;
        $text =~ s/%(?::?%)+/%/g;
        push @messages, $text;
    }
}

# The documentation has "%" where a "?:" chooses; both texts follow the format
# in the source, so what is behind the last "%" of a message may be missing.
described('log messages', 25, sub {
    my ($text) = @_;
    return 1 if index($doc{'status.md'}, "`$text`") >= 0;
    $text =~ s/(.*%).*/$1/s;
    return index($doc{'status.md'}, "`$text`") >= 0;
}, grep { /\w/ } @messages);

# The arguments of a call, up to its closing parenthesis.
sub call {
    my ($code) = @_;

    my $depth = 1;
    while ($code =~ /("(?:[^"\\]|\\.)*")|([()])/g) {
        next if defined $1;
        $depth += $2 eq '(' ? 1 : -1;
        return substr $code, 0, pos($code) - 1 if $depth == 0;
    }
    die "a call without an end\n";
}

# --- make, packages

described('make targets', 15,
    sub { $doc{'development.md'} =~ /`make \Q$_[0]\E`/ },
    $t->read_file("$root/Makefile") =~ /^([a-z-]+):[^#\n]*##/mg);

my $deps = $t->read_file("$root/build/deps.sh");
my %package = map { $_ => 1 } grep { !/\$/ } map { split }
    $deps =~ /^\s*(?:build|want)="([^"]+)"/mg;
described('packages', 25, sub { row('dependencies.md', $_[0]) },
    sort keys %package);

# --- peers: a row for each of the 34 points, each with a test, whose file is
# looked for below

my @points = $doc{'peers.md'} =~ /^\| (\d+) \| .*$/mg;
is_deeply \@points, [ 1 .. 34 ], 'peers: points 1 to 34';
my @columns = grep { (() = /\|/g) != 6 } $doc{'peers.md'} =~ /^\| \d+ .*$/mg;
ok !@columns, 'with all columns' or diag @columns;
my @untested = grep { !/^\| 2 / && !m{`t/\w+\.t`(?: \(`\w+`\))? \|\z} }
    $doc{'peers.md'} =~ /^\| \d+ .*$/mg;
ok !@untested, 'and a test' or diag @untested;

# --- links, and the tests that are cited

for my $name (sort keys %doc) {
    my $dir = -e "$root/docs/$name" ? "$root/docs" : $root;
    my @broken;

    while ($doc{$name} =~ /\]\(([^)\s]+)\)/g) {
        my ($file, $anchor) = split /#/, $1, 2;
        next if $file =~ /^\w+:/;
        my $path = $file eq '' ? "$dir/$name" : "$dir/$file";
        push(@broken, $1), next if !-e $path;
        next if !defined $anchor;

        my %have = map { anchor($_) => 1 }
            $t->read_file($path) =~ /^#+ (.+)$/mg;
        push @broken, "$file#$anchor" if !$have{$anchor};
    }
    push @broken, grep { !-e "$root/$_" } $doc{$name} =~ m{`(t/\w+\.t)`}g;

    ok !@broken, "$name: links and tests are there" or diag "@broken";
}

# As forges make them.
sub anchor {
    my ($heading) = @_;
    $heading = lc $heading;
    $heading =~ s/[^\w\s-]//g;
    $heading =~ s/ /-/g;
    return $heading;
}

# --- the printed verifier takes a whole trail and no other

my ($perl) = $doc{'audit.md'} =~ /^```perl\n(.*?)^```/ms;
$t->write_file('verify.pl', $perl);

$t->start(<<'CONF');
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%CREDENTIALS%%
    %%TRAIL%%
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   sandbox;
            tsface_caller $http_x_caller;
            tsface_audit  trail;
        }
    }
}
CONF

is $t->revoke("user-$_")->status, 204, 'revoked' for 1 .. 3;
my $n = () = $t->records;

sub verify {
    my (@files) = @_;
    my $dir = $t->dir;
    return $t->run(10, $^X, "$dir/verify.pl", "$dir/secrets/audit.key", @files);
}

my $trail = $t->read_file('trail/trail.jsonl');
my ($code, $output) = verify($t->dir . '/trail/trail.jsonl');
is $code, 0, 'a whole trail';
is $output, "$n records, whole\n", 'so it says';

my %broken = (
    changed => $trail =~ s/"tester"/"tested"/r,
    lacking => $trail =~ s/\A(.*\n.*\n).*\n/$1/r,
    swapped => $trail =~ s/\A(.*\n)(.*\n)/$2$1/r,
    torn    => substr($trail, 0, -10),
);
for my $how (sort keys %broken) {
    $t->write_file("$how.jsonl", $broken{$how});
    ($code, $output) = verify($t->dir . "/$how.jsonl");
    isnt $code, 0, "$how: refused";
    like $output, qr/^record \d+|^record after \d+/, "$how: where";
}

done_testing;
