"""The identity of the request in progress, as the idempotency interceptor made it."""

from __future__ import annotations

from mesh.runtime.context import current
from services.memory.store.requests import Request


def request_in_progress() -> Request:
    """Give the request's id with the digest of its method and of all else in it."""
    call = current()
    return Request(id=call.idempotency_key, digest=call.method.encode() + b"\n" + call.request_digest)
