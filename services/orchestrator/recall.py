"""Asks memory what is known about a question."""

import grpc.aio
from soma.memory.v1 import service_pb2 as memory_pb
from soma.memory.v1 import service_pb2_grpc as memory_rpc
from soma.orchestrator.v1 import resources_pb2 as pb

from services.orchestrator.domain import citations
from services.orchestrator.errors import from_remote


class Recall:
    """Memories and passages of the caller's tenant, with the caller's own token."""

    def __init__(
        self, channel: grpc.aio.Channel, *, passages: int, passages_read: int, memories: int, seconds: float
    ) -> None:
        """Bound what is asked for and how long."""
        self._stub = memory_rpc.KnowledgeStub(channel)
        self._passages = passages
        self._passages_read = passages_read
        self._memories = memories
        self._seconds = seconds

    async def consult(self, question: str, *, extract: bool) -> tuple[pb.Citation, ...]:
        """Return what was found, numbered.

        An extracted answer quotes, so of the memories only those count that somebody wrote down on
        purpose: what an agent said in a session is no source.

        Raises:
            Unavailable: memory does not answer.
            PermissionDenied: the caller may not read memories.
        """
        request = memory_pb.ConsultRequest(
            query=question,
            # A generating model reads the whole prompt before its first word; extract picks sentences.
            passage_limit=self._passages if extract else min(self._passages, self._passages_read),
            memory_limit=self._memories,
        )
        try:
            found = await self._stub.Consult(request, timeout=self._seconds)
        except grpc.aio.AioRpcError as error:
            raise from_remote("memory", error) from error
        memories = [recalled for recalled in found.memories if not (extract and recalled.memory.session_id)]
        return citations.numbered(found.passages, memories)
