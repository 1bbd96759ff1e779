"""What handlers ask of a request: its identity, and that its texts can be stored."""

from __future__ import annotations

from collections.abc import Mapping

from mesh.runtime.context import current
from services.memory.errors import not_storable
from services.memory.store.requests import Request


def check_storable(**fields: str | Mapping[str, str]) -> None:
    """Refuse what no text column takes.

    Raises:
        InvalidArgument: a field holds U+0000.
    """
    for name, content in fields.items():
        held = content if isinstance(content, str) else "".join(content.values())
        if "\x00" in held:
            raise not_storable(name)


def request_in_progress() -> Request:
    """Give the request's id with the digest of its method and of all else in it."""
    call = current()
    return Request(id=call.idempotency_key, digest=call.method.encode() + b"\n" + call.request_digest)
