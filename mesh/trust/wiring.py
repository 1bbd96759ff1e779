"""How a process takes part: a watcher as its own task, ready only while tokens can be verified."""

from __future__ import annotations

import time

from mesh.runtime.process import Process
from mesh.trust.state import TrustState
from mesh.trust.verifier import TokenVerifier
from mesh.trust.watcher import TrustWatcher


def join_trust(process: Process) -> TokenVerifier:
    """Follow the identity service for the life of the process and verify its tokens.

    Raises:
        ConfigurationError: SOMA_PEERS does not name the identity service.
    """
    state = TrustState(wall=time.time, monotonic=time.monotonic)
    process.own(TrustWatcher(process.channel("identity"), state).run(), name="trust")
    process.ready_when("trust", state.ready)
    verifier = TokenVerifier(state)
    process.authenticate_with(verifier)
    return verifier
