#!/usr/bin/perl
# What bash completes for tsface-audit is what tsface-audit takes.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use TSFace::Tool;

my $tool = TSFace::Tool->new;
my $script = "$TSFace::Tool::ROOT/tools/completion/tsface-audit.bash";

# What there is for the last of these words.
sub completes {
    my (@words) = @_;

    my $said = do {
        local $ENV{WORDS} = join "\n", 'tsface-audit', @words;
        local $ENV{SCRIPT} = $script;
        `cd @{[ $tool->dir ]} && bash --norc -c '
            . "\$SCRIPT"
            mapfile -t COMP_WORDS <<< "\$WORDS"
            COMP_CWORD=\$((\${#COMP_WORDS[@]} - 1))
            _tsface_audit
            printf "%s\\n" "\${COMPREPLY[@]}"' 2>&1`;
    };
    return sort grep { length } split /\n/, $said;
}

my (undef, $help) = $tool->run('help');
my @commands = $help =~ /^(\w+)  +\w/mg;
cmp_ok scalar @commands, '>=', 7, 'commands: ' . join ' ', @commands;

is_deeply [ completes('') ], [ sort @commands, 'help', '--version' ],
    'commands are completed';
is_deeply [ completes('ex') ], [ 'export' ], 'by their beginning';

# every option that a command takes, and no other

my @options = do {
    my %seen;
    sort grep { $_ ne '--version' && !$seen{$_}++ } $help =~ /(--[a-z-]+)/g;
};

for my $command (grep { $_ ne 'keygen' } @commands) {
    my @takes = grep {
        my (undef, undef, $err) = $tool->run($command, $_);
        $err !~ /unrecognized option/;
    } @options;

    cmp_ok scalar @takes, '>=', 5, "$command has options";
    is_deeply [ completes($command, '--') ], \@takes, 'they are completed';
}

is_deeply [ completes('export', '--format', '') ], [ qw(cef csv ecs ocsf) ],
    'formats';
for my $format (completes('export', '--format', '')) {
    my ($code) = $tool->run('export', '--format', $format, '/dev/null');
    is $code, 0, "$format is one";
}

is_deeply [ completes('show', '--result', 'u') ], [ 'unknown' ], 'results';
is_deeply [ completes('show', '--type', 'ref') ], [ qw(refusal refusals) ],
    'types';

open my $fh, '<', "$TSFace::Tool::ROOT/ngx_tsface_module/"
    . 'ngx_http_tsface_region.c' or die $!;
my @regions = do { local $/; <$fh> } =~ /_region\("(\w+)"/g;
is_deeply [ completes('show', '--region', '') ], [ sort @regions, 'custom' ],
    'regions';

$tool->write('a file.jsonl', '');
is_deeply [ completes('verify', 'a ') ], [ 'a file.jsonl' ], 'files';
is_deeply [ completes('verify', '--key', 'audit.') ], [ 'audit.key' ],
    'the key\'s file';
is_deeply [ completes('show', '--caller', '') ], [], 'no guess at a caller';
is_deeply [ completes('keygen', '') ], [], 'nothing behind keygen';

done_testing();
