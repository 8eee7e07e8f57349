package TSFace::Status;

# What tsface_status tells, of tests that have "location = /status
# { tsface_status json; }" on PORT_0.  Methods of TSFace::Test.

use strict;
use warnings;

package TSFace::Test;

use strict;
use warnings;

use TSFace::HTTP 'http';

sub status_json {
    my ($self) = @_;
    return http($self->port(0), 'GET', '/status')->json;
}


# The gate of the first credentials.

sub gate {
    my ($self) = @_;
    return $self->status_json->{credentials}[0]{gate};
}


# The limit of this name.

sub limit_stat {
    my ($self, $name) = @_;
    my ($limit) = grep { $_->{name} eq $name }
        @{ $self->status_json->{limits} };
    return $limit;
}

1;
