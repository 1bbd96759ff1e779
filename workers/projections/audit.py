"""Topic `audit.records` to the audit service."""

from collections.abc import Sequence
from typing import Final

import grpc
import grpc.aio
from soma.audit.v1 import service_pb2, service_pb2_grpc
from soma.audit.v1.resources_pb2 import AuditRecord

from mesh.events.records import Record
from mesh.runtime.context import acting_for
from mesh.runtime.errors import InvalidArgument
from workers.projections.gathering import Gathering

_SECONDS: Final = 10.0
_REFUSED: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INTERNAL,
    }
)


class AuditProjection:
    """Appends records, those of one tenant together. The audit service knows a record by its id."""

    def __init__(self, channel: grpc.aio.Channel, *, batch: int) -> None:
        """Take a channel to the audit service, and the most records of one call."""
        self._records = service_pb2_grpc.RecordsStub(channel)
        self._gathering = Gathering(self._append, most=batch, blames_items=_refused)

    async def handle(self, record: Record[AuditRecord]) -> None:
        """Return when the record is in its tenant's chain.

        Raises:
            InvalidArgument: it belongs to no tenant, or to another than its header says.
            grpc.aio.AioRpcError: the audit service refused it or does not answer.
        """
        if not record.tenant or record.message.tenant != record.tenant:
            raise InvalidArgument("INVALID_ARGUMENT", f"audit record {record.id} has no tenant, or two")
        await self._gathering.put(record.tenant, record.message)

    async def _append(self, tenant: str, records: Sequence[AuditRecord]) -> None:
        with acting_for(tenant=tenant, method="audit.records"):
            await self._records.AppendRecords(
                service_pb2.AppendRecordsRequest(records=records), timeout=_SECONDS
            )


def _refused(error: Exception) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() in _REFUSED
