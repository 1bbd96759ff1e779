"""The tenant that a store works for: that of the call in progress, and no other."""

from __future__ import annotations

from mesh.runtime.context import current


def tenant() -> str:
    """Give the tenant of the call in progress.

    Raises:
        NoCallError: there is no call.
        ValueError: the call has no tenant.
    """
    found = current().tenant
    if not found:
        raise ValueError("the call in progress has no tenant")
    return found
