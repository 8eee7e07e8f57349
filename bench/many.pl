#!/usr/bin/perl
# What many credentials cost: CREDENTIALS (10000) in one zone, four workers;
# their first exchanges go to another nginx, as fast as exchange_rate lets them.

use lib 't/lib';
use TSFace::Test;
use Time::HiRes qw(time);

my $n = $ENV{CREDENTIALS} || 10000;
my $rate = $ENV{EXCHANGE_RATE} || 100;
my $limit = 120 + 4 * $n / $rate;
my $token = join '', map { ('A' .. 'Z', 'a' .. 'z', 0 .. 9)[rand 62] } 1 .. 800;

my $upstream = TSFace::Test->new(workers => 1, timeout => $limit,
    log_level => 'error');
$upstream->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    log_format exchange '\$msec';
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        ssl_certificate     %%CERTS%%/localhost.pem;
        ssl_certificate_key %%CERTS%%/localhost.key;
        location = /oidc/token {
            access_log   logs/exchanges.log exchange;
            default_type application/json;
            return 200 '{"access_token":"$token","token_type":"Bearer","expires_in":86400}';
        }
        location / { access_log off; return 204; }
    }
}
END
my $port = $upstream->port(1);

sub gateway {
    my ($count) = @_;

    my $t = TSFace::Test->new(workers => 4, timeout => $limit,
        log_level => 'error');
    $t->secret('s', 'secret-of-the-bench');
    my $size = 64 + int($count * 6.5);
    my $blocks = join '', map { <<"END" } 1 .. $count;
    tsface_credentials c$_ {
        endpoint            https://127.0.0.1:$port/cis;
        token_endpoint      https://127.0.0.1:$port/oidc/token;
        ssl_name            localhost;
        trusted_certificate %%CERTS%%/ca.pem;
        client_id           client-$_;
        client_secret       file:%%DIR%%/secrets/s;
        keepalive           64;
    }
END
    my $conf = <<"END";
%%GLOBALS%%
http {
    %%HTTP%%
    tsface_zone zone=tsface:${size}k exchange_rate=${rate}r/s;
$blocks
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   \$http_x_which;
            tsface_caller anonymous;
            tsface_audit  off;
        }
        location = /status { tsface_status json; }
    }
}
END
    my $start = time;
    $t->start($conf);
    my $first = $t->revoke('u', headers => [ 'X-Which', "c$count" ],
        caller => undef);
    die "$0: answers $first->{status} $first->{body}\n"
        if $first->status != 204;
    my $ready = time - $start;

    my $done;
    $t->wait_for(sub {
        sleep 1;
        my $status = http($t->port, 'GET', '/status', timeout => 60)->json;
        $done = time - $start;
        return !grep { $_->{state} ne 'ready' } @{ $status->{credentials} };
    }, $limit - 30) or die "$0: not all have a token\n";

    my $status = http($t->port, 'GET', '/status', timeout => 60)->json;
    my $begin = time;
    $t->reload($conf);
    my $reload = time - $begin;
    my $kb = 0;
    sleep 2;
    for my $pid ($t->workers) {
        my ($private) = $t->read_file("/proc/$pid/smaps_rollup")
            =~ /^Private_Dirty:\s+(\d+)/m;
        $kb = $private if $private > $kb;
    }
    my %r = (ready => $ready, done => $done, kb => $kb, reload => $reload,
        zone => $status->{zone}{size} - $status->{zone}{free});
    $t->stop;
    return \%r;
}

my $one = gateway(1);
my $many = gateway($n);

my @at = sort { $a <=> $b } split /\n/,
    $upstream->read_file('logs/exchanges.log');
my ($most, $from) = (0, 0);
for my $i (0 .. $#at) {
    $from++ while $at[$from] <= $at[$i] - 1;
    $most = $i - $from + 1 if $i - $from + 1 > $most;
}

printf <<'END', $n, $rate, $many->{ready}, $many->{done}, scalar(@at) - 1, $most,
| credentials | %d |
| exchange_rate | %dr/s |
| start until the first revoke is answered | %.1f s |
| start until all have a token | %.0f s |
| exchanges, reload included | %d |
| most exchanges in a second | %d |
| reload | %.1f s |
| zone, bytes for each credentials | %d |
| worker, private bytes for each credentials | %d |
END
    $many->{reload}, ($many->{zone} - $one->{zone}) / ($n - 1),
    ($many->{kb} - $one->{kb}) * 1024 / ($n - 1);

exit 0;
