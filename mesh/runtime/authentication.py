"""What the runtime asks of whoever verifies tokens (`mesh.trust` answers it)."""

from typing import Protocol

from mesh.runtime.context import Principal


class TokenVerifier(Protocol):
    """Turns a bearer token into a principal, from keys and revocations held in memory."""

    def verify(self, token: str) -> Principal:
        """Return who the token stands for; called on every request, so it must not block.

        Raises:
            mesh.runtime.errors.Unauthenticated: with TOKEN_INVALID, TOKEN_EXPIRED or TOKEN_REVOKED.
            mesh.runtime.errors.Unavailable: keys or revocations are absent or stale.
        """
        ...
