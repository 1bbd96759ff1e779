"""Request ids: which request made what, so that a repeat has one effect."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.storage.database import Connection
from services.memory.errors import request_reused

_CLAIM = """
    insert into requests (tenant, request_id, request_digest, resource_id)
    values ($1, $2, $3, $4)
    on conflict (tenant, request_id) do nothing
    returning resource_id
"""
_FIND = "select request_digest, resource_id from requests where tenant = $1 and request_id = $2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request by its id and the digest of all else in it."""

    id: str
    digest: bytes


async def find(connection: Connection, *, tenant: str, request: Request) -> str | None:
    """Give what the request made, or None where it has made nothing yet.

    Raises:
        AlreadyExists: the id stands for another request.
    """
    row = await connection.fetchrow(_FIND, tenant, request.id)
    if row is None:
        return None
    if bytes(row["request_digest"]) != request.digest:
        raise request_reused(request.id)
    return str(row["resource_id"])


async def claim(connection: Connection, *, tenant: str, request: Request, resource_id: str) -> str | None:
    """Write down what the request makes; give what it made before instead, if it did.

    Waits for another transaction with the same id to end.

    Raises:
        AlreadyExists: the id stands for another request.
    """
    made = await connection.fetchval(_CLAIM, tenant, request.id, request.digest, resource_id)
    if made is not None:
        return None
    return await find(connection, tenant=tenant, request=request)
