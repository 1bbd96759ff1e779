"""All SQL of slm (schema `slm`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncpg

from mesh.events import outbox
from mesh.events.records import Envelope
from mesh.storage import Database
from services.slm import errors
from services.slm.domain.model import Dialect, Fact, Model, Provider, Request, Task
from services.slm.events import audit_record

_COLUMNS: Final = (
    "name, provider, task, provider_model, base_url, dialect, context_tokens, max_output_tokens,"
    " slots, description, create_time, sealed_api_key is not null as has_api_key"
)
_ADD: Final = f"""
    insert into models (tenant, name, provider, task, provider_model, base_url, dialect, context_tokens,
                        max_output_tokens, slots, description, sealed_api_key, create_time,
                        request_id, request_digest)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
    on conflict on constraint models_request do nothing
    returning {_COLUMNS}
"""
_NAME: Final = "models_pkey"


class Models:
    """The port `ModelStore` on Postgres."""

    def __init__(self, database: Database, leave: Callable[[Envelope], None]) -> None:
        """Use `database`; `leave` gets what the outbox holds, after each commit."""
        self._database = database
        self._leave = leave

    async def model(self, tenant: str, name: str) -> Model | None:
        """Return a profile of the tenant."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            row = await connection.fetchrow(
                f"select {_COLUMNS} from models where tenant = $1 and name = $2", tenant, name
            )
        return _model_of(row) if row else None

    async def models(self, tenant: str, *, after: str, size: int) -> Sequence[Model]:
        """Return profiles by name."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            rows = await connection.fetch(
                f'select {_COLUMNS} from models where tenant = $1 and name collate "C" > $2'
                ' order by name collate "C" limit $3',
                *(tenant, after, size),
            )
        return [_model_of(row) for row in rows]

    async def add(
        self, tenant: str, request: Request, model: Model, sealed_api_key: bytes | None, fact: Fact
    ) -> Model:
        """Keep a profile (see the port)."""
        try:
            async with self._database.transaction(tenant=tenant) as connection:
                row = await connection.fetchrow(
                    _ADD,
                    *(tenant, model.name, model.provider, model.task, model.provider_model),
                    *(model.base_url, model.dialect, model.context_tokens, model.max_output_tokens),
                    *(model.slots, model.description, sealed_api_key, model.create_time),
                    *(request.id, request.digest),
                )
                if row is None:
                    return await self._made_before(connection, tenant, request)
                told = await outbox.put(connection, audit_record(fact, tenant=tenant))
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == _NAME:
                raise errors.name_taken(model.name) from error
            raise
        self._leave(told)
        return _model_of(row)

    async def delete(self, tenant: str, name: str, fact: Fact) -> bool:
        """Delete a profile with its key (see the port)."""
        async with self._database.transaction(tenant=tenant) as connection:
            gone = await connection.fetchval(
                "delete from models where tenant = $1 and name = $2 returning name", tenant, name
            )
            if gone is None:
                return False
            told = await outbox.put(connection, audit_record(fact, tenant=tenant))
        self._leave(told)
        return True

    async def sealed_api_key(self, tenant: str, name: str) -> tuple[Model, bytes | None] | None:
        """Return a profile with its provider's key, sealed."""
        async with self._database.transaction(tenant=tenant, readonly=True) as connection:
            row = await connection.fetchrow(
                f"select {_COLUMNS}, sealed_api_key from models where tenant = $1 and name = $2",
                *(tenant, name),
            )
        if row is None:
            return None
        columns = dict(row)
        sealed = columns.pop("sealed_api_key")
        return _model_of(columns), sealed

    async def _made_before(self, connection: Any, tenant: str, request: Request) -> Model:
        row = await connection.fetchrow(
            f"select request_digest, {_COLUMNS} from models where tenant = $1 and request_id = $2",
            *(tenant, request.id),
        )
        if row is None or row["request_digest"] != request.digest:
            raise errors.request_reused(request.id)
        return _model_of({name: value for name, value in row.items() if name != "request_digest"})


def _model_of(row: Any) -> Model:
    columns = dict(row)
    return Model(
        **columns
        | {
            "provider": Provider(columns["provider"]),
            "task": Task(columns["task"]),
            "dialect": Dialect(columns["dialect"]),
        }
    )
