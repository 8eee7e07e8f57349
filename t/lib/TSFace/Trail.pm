package TSFace::Trail;

# Reads an audit trail with code that shares nothing with the module's: the
# record's members, the sequence and the MAC chain as docs/audit.md gives them.

use strict;
use warnings;

use Digest::SHA 'hmac_sha256_hex';
use Exporter 'import';
use JSON::PP ();

our @EXPORT_OK = qw(read_trail key_id);

# The id that records have for a key.
sub key_id { return substr hmac_sha256_hex("tsface key\0", $_[0]), 0, 16 }

# Returns ([ record, ... ], [ complaint, ... ]).  Each record also has
# "_line", the bytes it was read from.  key may be [ key, ... ]: a record of
# type "key" says which of them holds from there; the first does before.

sub read_trail {
    my ($file, $keys) = @_;

    my (@records, @wrong);
    my @keys = ref $keys ? @$keys : $keys;
    my %key = map { key_id($_) => $_ } @keys;
    my $key = $keys[0];

    open my $fh, '<:raw', $file or return ([], ["$file: $!"]);
    local $/;
    my $bytes = <$fh>;
    $bytes = '' if !defined $bytes;

    push @wrong, 'the last line has no end' if $bytes ne ''
        && $bytes !~ /\n\z/;

    my $json = JSON::PP->new->utf8;
    my $previous = '0' x 64;
    my $seq;
    my $n = 0;

    for my $line (split /\n/, $bytes) {
        $n++;
        my $record = eval { $json->decode($line) };
        if (ref $record ne 'HASH') {
            push @wrong, "line $n is not JSON: $line";
            next;
        }

        if (($record->{type} || '') eq 'key') {
            my $id = $record->{key_id} || '';
            push @wrong, "line $n: no key $id" if !exists $key{$id};
            $key = $key{$id} if exists $key{$id};
        }

        if ($line =~ /\A(.*),"mac":"([0-9a-f]{64})"\}\z/s) {
            my ($bound, $mac) = ($1, $2);
            push @wrong, "line $n: the mac does not follow"
                if hmac_sha256_hex($previous . $bound, $key) ne $mac;
            $previous = $mac;
        } else {
            push @wrong, "line $n does not end with a mac: $line";
        }

        push @wrong, "line $n: seq $record->{seq} after $seq"
            if defined $seq && $record->{seq} != $seq + 1;
        $seq = $record->{seq};

        push @wrong, "line $n: v is not 1" if ($record->{v} || 0) != 1;
        push @wrong, "line $n: bad time" if ($record->{time} || '') !~
            /\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\z/;
        push @wrong, "line $n: bad type" if ($record->{type} || '') !~
            /\A(?:intent|outcome|refusal|refusals|open|key|checkpoint|rotate|close)\z/;

        push @records, { %$record, _line => $line };
    }

    push @wrong, pairs(\@records);

    return (\@records, \@wrong);
}


# No outcome without its intent before it; no two outcomes of one attempt.

sub pairs {
    my ($records) = @_;

    my (%intent, %outcome, @wrong);

    for my $r (@$records) {
        my $id = join '/', $r->{request_id} || '', $r->{attempt} || '';
        if ($r->{type} eq 'intent') {
            push @wrong, "two intents for $id" if $intent{$id}++;
        } elsif ($r->{type} eq 'outcome') {
            push @wrong, "outcome without intent: $id" if !$intent{$id};
            push @wrong, "two outcomes for $id" if $outcome{$id}++;
        }
    }

    return @wrong;
}

1;
