package TSFace::Schema;

# Records against docs/audit.schema.json, with Debian's JSON::Validator.  That
# knows the drafts up to 2019-09: what the schema uses of 2020-12 means the same
# there.

use strict;
use warnings;

use Cwd 'abs_path';
use Exporter 'import';
use File::Basename 'dirname';
use JSON::PP ();

our @EXPORT_OK = qw(schema record_errors trail_errors);

my $root = dirname(dirname(dirname(dirname(abs_path(__FILE__)))));
my ($schema, %validator, %seen);

# Records of one shape that are validated in full; see trail_errors().
use constant EACH => 10;

sub schema {
    return $schema if $schema;

    my $file = "$root/docs/audit.schema.json";
    open my $fh, '<:raw', $file or die "$file: $!\n";
    local $/;

    return $schema = JSON::PP->new->utf8->decode(scalar <$fh>);
}


sub available { return eval { require JSON::Validator; 1 } }


# What the schema has against a record, as JSON decodes it: texts.  The kind is
# chosen by "type" here, as "oneOf" would, so that it says what is wrong.

sub record_errors {
    my ($record) = @_;

    my $kind = ref $record eq 'HASH' ? $record->{type} : undef;
    return 'no type' if !defined $kind || ref $kind;

    my @kinds = map { $_->{'$ref'} =~ m{/(\w+)\z} } @{ schema()->{oneOf} };
    return "no type of record: $kind" if !grep { $_ eq $kind } @kinds;

    $validator{$kind} ||= JSON::Validator->new->schema({
        '$schema' => 'https://json-schema.org/draft/2019-09/schema',
        '$ref'    => "#/\$defs/$kind",
        '$defs'   => schema()->{'$defs'},
    })->schema;

    return map { "$_" } $validator{$kind}->validate($record);
}


# The same for a whole trail, each complaint once.  There are trails of a
# hundred thousand lines: of records with the same members and words only the
# first ones are looked at, so that all kinds are.

sub trail_errors {
    my ($records) = @_;

    my %wrong;
    for my $record (@$records) {
        my %copy = %$record;
        my $line = delete $copy{_line};
        my $shape = join ' ', map { my $v = $copy{$_};
            "$_=" . (ref $v eq 'HASH' ? join ',', sort keys %$v
                : /^(?:type|result|reason|operation)\z/ ? $v : '')
        } sort keys %copy;
        next if $seen{$shape}++ >= EACH;
        $wrong{"$_: $line"}++ for map { "schema: $_" } record_errors(\%copy);
    }

    return sort keys %wrong;
}

1;
