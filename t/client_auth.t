#!/usr/bin/perl
# How the gateway proves to the token endpoint who it is.

use lib 't/lib';
use TSFace::Test;

my $t = TSFace::Test->new;
my $sandbox = $t->sandbox;

# Bytes that form-encoding changes, and whose decoding changes them again.
my $odd = 'odd%41+/&=:secret~';
$t->secret('odd', "$odd\n");
$sandbox->set_client(client_id => 'odd%2Bid', secrets => [ $odd ]);

# What is configured with each name.
my %client = (
    post => 'client_id odd%2Bid; client_secret file:%%DIR%%/secrets/odd;',
);
$client{form} = "$client{post} token_auth_method client_secret_basic;";
$client{raw} = "$client{form} basic_encoding raw;";

# Starts nginx with these credentials, and an empty zone.
sub run {
    my (@which) = @_;

    my $blocks = join "\n", map { <<"END" } @which;
    tsface_credentials $_ {
        %%ENDPOINT%%
        token_wait   2s;
        min_interval 1ms;
        $client{$_}
    }
END

    $t->stop;
    $t->start(<<"END");
%%GLOBALS%%
http {
    %%HTTP%%
    %%ZONE%%
    %%TRAIL%%
$blocks
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            tsface_pass   \$http_x_which;
            tsface_caller \$http_x_caller;
            tsface_audit  trail;
        }
    }
}
END

    return;
}

sub revoke {
    my ($which) = @_;
    return $t->revoke('user-1', headers => [ 'X-Which', $which ],
        timeout => 20)->status;
}

subtest 'secrets: form, Basic encoded and not' => sub {
    run(qw(post form raw));
    is revoke($_), 204, $_ for qw(post form);
    is revoke('raw'), 503, 'raw: refused where it is decoded';

    $sandbox->switch(basic_encoding => 'raw');
    run(qw(form raw));
    is revoke('raw'), 204, 'raw: taken where it is not decoded';
    is revoke('form'), 503, 'form: refused where it is not decoded';
    $sandbox->switch(basic_encoding => 'form');
};

done_testing;
