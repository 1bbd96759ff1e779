"""`soma.audit.v1.Records`."""

import base64
import binascii
from typing import Final

from soma.audit.v1 import resources_pb2 as pb
from soma.audit.v1 import service_pb2, service_pb2_grpc

from mesh.policy import Decisions
from mesh.runtime.context import current
from mesh.runtime.hooks import ServicerContext
from services.audit.domain.chain import Link
from services.audit.domain.log import Log
from services.audit.errors import page_token_invalid
from services.audit.ports import Filter

_PAGE_SIZE: Final = 50
_LARGEST_INDEX: Final = 2**63 - 1


class Records(service_pb2_grpc.RecordsServicer):
    """Append for the mesh's workers; read and verify for the tenant itself."""

    def __init__(self, *, log: Log, decisions: Decisions) -> None:
        """Take the log and who decides."""
        self._log = log
        self._decisions = decisions

    async def AppendRecords(
        self, request: service_pb2.AppendRecordsRequest, context: ServicerContext
    ) -> service_pb2.AppendRecordsResponse:
        """Append records of the tenant that the caller acts for."""
        del context
        links = await self._log.append(current().tenant, request.records)
        return service_pb2.AppendRecordsResponse(records=map(_chained, links))

    async def GetRecord(
        self, request: service_pb2.GetRecordRequest, context: ServicerContext
    ) -> pb.ChainedRecord:
        """Give a record with its place."""
        del context
        await self._decisions.decide(action="audit.read", attributes={"resource.record": request.record_id})
        return _chained(await self._log.get(current().tenant, request.record_id))

    async def ListRecords(
        self, request: service_pb2.ListRecordsRequest, context: ServicerContext
    ) -> service_pb2.ListRecordsResponse:
        """List records, oldest first."""
        del context
        links, last = await self._log.page(
            current().tenant,
            Filter(resource=request.resource, action=request.action),
            after=_index(request.page_token),
            size=request.page_size or _PAGE_SIZE,
        )
        return service_pb2.ListRecordsResponse(records=map(_chained, links), next_page_token=_token(last))

    async def VerifyChain(
        self, request: service_pb2.VerifyChainRequest, context: ServicerContext
    ) -> service_pb2.VerifyChainResponse:
        """Recompute the chain."""
        del request, context
        found = await self._log.verify(current().tenant)
        return service_pb2.VerifyChainResponse(
            valid=found.valid,
            record_count=found.record_count,
            first_invalid_index=found.first_invalid_index,
            head_hash=found.head_hash,
        )


def _chained(link: Link) -> pb.ChainedRecord:
    return pb.ChainedRecord(
        record=pb.AuditRecord.FromString(link.record),
        index=link.index,
        hash=link.hash,
        previous_hash=link.previous_hash,
    )


def _token(last: int) -> str:
    return base64.urlsafe_b64encode(f"after {last}".encode()).decode() if last else ""


def _index(token: str) -> int:
    if not token:
        return 0
    try:
        word, _, number = base64.urlsafe_b64decode(token.encode()).decode().partition(" ")
    except (binascii.Error, UnicodeDecodeError):
        raise page_token_invalid() from None
    if word != "after" or not (number.isascii() and number.isdigit()) or int(number) > _LARGEST_INDEX:
        raise page_token_invalid()
    return int(number)
