package TSFace::Unit;

# How programs of pure files are compiled and run: t/unit and t/fuzz.

use strict;
use warnings;

# The compiler's flags for the programs in that folder below t, with the
# sanitizers if TSFACE_SANITIZE says so; dies without a configured nginx tree.

sub flags {
    my ($root, $folder) = @_;

    my $tree = $ENV{TSFACE_TREE} || "$root/build-out/tree";
    die "no configured nginx tree in $tree: run \"make\" first\n"
        if !-e "$tree/objs/ngx_auto_config.h";

    $ENV{ASAN_OPTIONS} = 'detect_stack_use_after_return=1';
    $ENV{UBSAN_OPTIONS} = 'print_stacktrace=1';

    my @sanitize = ('-fsanitize=address,undefined', '-fno-omit-frame-pointer',
        '-fno-sanitize-recover=undefined');

    return (
        qw(-g -O1 -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter),
        "-I$root/ngx_tsface_module", "-I$root/tools", "-I$root/t/$folder",
        '-DTSFACE_AUDIT_VERSION="0"',
        map({ ('-isystem', "$tree/$_") } grep { -d "$tree/$_" } qw(
            src/core src/event src/event/modules src/event/quic src/os/unix
            objs src/http src/http/modules src/http/v2 src/http/v3)),
        $ENV{TSFACE_SANITIZE} ? @sanitize : (),
    );
}

1;
