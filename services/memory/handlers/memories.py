"""`soma.memory.v1.Memories`."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from soma.memory.v1 import resources_pb2, service_pb2, service_pb2_grpc

from mesh.runtime.hooks import ServicerContext
from services.memory.handlers.requests import check_storable, request_in_progress
from services.memory.messages import memory_message, recalled_message
from services.memory.remembering import Remembering
from services.memory.retrieval import Retrieval


class Memories(service_pb2_grpc.MemoriesServicer):
    """Memories of the caller's tenant."""

    def __init__(self, remembering: Remembering, retrieval: Retrieval) -> None:
        self._remembering = remembering
        self._retrieval = retrieval

    async def Remember(
        self, request: service_pb2.RememberRequest, context: ServicerContext
    ) -> resources_pb2.Memory:
        """Remember a text."""
        check_storable(text=request.text, labels=request.labels)
        memory = await self._remembering.remember(
            request.text,
            session_id=request.session_id,
            labels=request.labels,
            request=request_in_progress(),
        )
        return memory_message(memory)

    async def Recall(
        self, request: service_pb2.RecallRequest, context: ServicerContext
    ) -> service_pb2.RecallResponse:
        """Find the memories nearest to a query."""
        found = await self._retrieval.recall(
            request.query, limit=request.limit, labels=request.labels, session_id=request.session_id
        )
        return service_pb2.RecallResponse(memories=map(recalled_message, found))

    async def GetMemory(
        self, request: service_pb2.GetMemoryRequest, context: ServicerContext
    ) -> resources_pb2.Memory:
        """Give a memory."""
        return memory_message(await self._remembering.get(request.memory_id))

    async def ListMemories(
        self, request: service_pb2.ListMemoriesRequest, context: ServicerContext
    ) -> service_pb2.ListMemoriesResponse:
        """List memories, newest first."""
        page = await self._remembering.page(size=request.page_size, token=request.page_token)
        return service_pb2.ListMemoriesResponse(
            memories=map(memory_message, page.memories), next_page_token=page.next_token
        )

    async def Forget(self, request: service_pb2.ForgetRequest, context: ServicerContext) -> Empty:
        """Forget a memory."""
        await self._remembering.forget(request.memory_id)
        return Empty()

    async def RememberTurn(self, request: service_pb2.RememberTurnRequest, context: ServicerContext) -> Empty:
        """Remember a finished turn."""
        await self._remembering.remember_turn(
            session_id=request.session_id,
            turn_id=request.turn_id,
            said=request.input,
            answered=request.answer,
        )
        return Empty()
