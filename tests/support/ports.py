"""Ports for servers that tests start."""

import contextlib
import random
import socket


def free_port() -> int:
    """Return a port below the ephemeral ones that nobody listens on."""
    for port in random.sample(range(26000, 30000), 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port in 26000..30000")
