"""What `soma up` installs into `$SOMA_LIB`: environments, jars, models, archives; keyed by digests."""
