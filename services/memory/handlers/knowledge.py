"""`soma.memory.v1.Knowledge`."""

from __future__ import annotations

from soma.memory.v1 import service_pb2, service_pb2_grpc

from mesh.runtime.hooks import ServicerContext
from services.memory.messages import passage_message, recalled_message
from services.memory.retrieval import Retrieval


class Knowledge(service_pb2_grpc.KnowledgeServicer):
    """Memories and passages in one call."""

    def __init__(self, retrieval: Retrieval) -> None:
        self._retrieval = retrieval

    async def Consult(
        self, request: service_pb2.ConsultRequest, context: ServicerContext
    ) -> service_pb2.ConsultResponse:
        """Find memories and passages for a turn."""
        found = await self._retrieval.consult(
            request.query, memories=request.memory_limit, passages=request.passage_limit
        )
        return service_pb2.ConsultResponse(
            memories=map(recalled_message, found.memories),
            passages=map(passage_message, found.passages),
        )
