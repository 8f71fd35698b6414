"""The sample shop and the load generator, as real processes on real sockets."""
