#!/usr/bin/perl
# Many credentials: their exchanges keep to one rate, one that fails delays no
# other, and a request that waits comes before those nobody waits for.

use lib 't/lib';
use TSFace::Test;
use Time::HiRes qw(time);

my $t = TSFace::Test->new(workers => 4, timeout => 120);
my $sandbox = $t->sandbox;

# Answers 500 to everything, and counts.
my $down = $t->fake_server(sub {
    my ($socket) = @_;
    while (read_request($socket, 30)) {
        open my $fh, '>>', $t->dir . '/tmp/down' or die;
        syswrite $fh, time . "\n";
        print $socket "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n";
    }
}, tls => 'localhost');
sub tried { return split /\n/, $t->read_file('tmp/down') }

# Seconds of the day, of "...T06:58:47.952222Z".
sub seconds {
    my ($h, $m, $s) = $_[0] =~ /T(\d+):(\d+):([\d.]+)Z/;
    return $h * 3600 + $m * 60 + $s;
}

# 16 exchanges a second: 8 for those nobody waits for, 4 for those requests
# wait for, 4 for those that fail.
my $rate = 16;
my @good = map { "good$_" } 1 .. 30;
my @bad = map { "bad$_" } 1 .. 30;

sub block {
    my ($name) = @_;
    my $port = $name =~ /good/ ? $sandbox->https_port : $down;
    return <<"END";
    tsface_credentials $name {
        endpoint            https://127.0.0.1:$port/cis;
        token_endpoint      https://127.0.0.1:$port/oidc/token;
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        %%CLIENT%%
        resource     https://$name.example.com;
        min_interval 500ms;
        token_wait   5s;
        exchange_timeout 20s;
    }
END
}

my $blocks = join '', map { block($_) } @good, @bad;

sub conf {
    my ($zone, @more) = @_;
    my $more = join '', map { block($_) } @more;
    return <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    %%TRAIL%%
    tsface_zone zone=tsface:2m $zone;
$blocks$more
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   \$http_x_which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
        location = /status { tsface_status; }
    }
}
END
}

sub exchanges {
    my ($which) = @_;
    return grep { ($_->{resource} || '') =~ m{^https://$which} }
        $sandbox->exchanges;
}

my $start = time;
$t->start(conf("exchange_rate=${rate}r/s"));

# A request for one of the last ones, long before its turn.
my $before = time;
is $t->revoke('user-1', headers => [ 'X-Which', 'good29' ])->status, 204,
    'a request comes before those nobody waits for';
# its turn would come after three seconds
cmp_ok time - $before, '<', 2.5, 'soon';
cmp_ok scalar(exchanges('good')), '<', 20, 'most of them are still to come';

# --- one that fails is tried again and again, and delays no other

$t->wait_for(sub { exchanges('good') >= @good && tried() > @bad }, 60);
my $took = time - $start;
is scalar(exchanges('good')), @good, 'all have a token, for one exchange each';
cmp_ok $took, '>', 5, sprintf 'paced: %.1f s for 60 at 8 a second', $took;

for my $which ('good3', 'good17') {
    $sandbox->revoke_tokens;
    $before = time;
    is $t->revoke('user-1', headers => [ 'X-Which', $which ])->status, 204,
        'while others fail, one is served';
    cmp_ok time - $before, '<', 2.5, 'as fast as ever';
    sleep 0.6;
}

# --- in no second were there more than the rate

my @at = sort { $a <=> $b } map { seconds($_->{time}) } exchanges('');
my $most = 0;
push @at, map { $_ - 86400 * int($_ / 86400) } tried();
@at = sort { $a <=> $b } @at;
for my $i (0 .. $#at) {
    my $n = grep { $_ >= $at[$i] && $_ < $at[$i] + 1 } @at;
    $most = $n if $n > $most;
}
cmp_ok $most, '<=', 1.5 * $rate + 1, "at most $most exchanges in a second";
cmp_ok $most, '>', $rate / 2, 'but they go on';

# --- a queue of those that fail is not before a new one that nobody waits for

$t->reload(conf('exchange_rate=2r/s'));
sleep 5;
$t->reload(conf('exchange_rate=2r/s', 'good-and-late'));
$before = time;
ok $t->wait_for(sub { exchanges('good-and-late') }, 20), 'a new one';
cmp_ok time - $before, '<', 8, 'is not behind those that fail';

# --- what can't be a rate

for my $bad ('exchange_rate=0r/s', 'exchange_rate=2000r/s', 'exchange_rate=x',
    'rate=1r/s')
{
    my ($status, $said) = $t->nginx_t(conf($bad));
    isnt $status, 0, "$bad: refused";
    like $said, qr/exchange_rate=RATE/, 'and why';
}

done_testing;
