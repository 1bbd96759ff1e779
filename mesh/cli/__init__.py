"""The `soma` command: the stack on this machine, and everything else over gRPC only."""
