"""`soma.gateway.v1.OpenAI`: OpenAI's bodies in, OpenAI's bodies out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.api import httpbody_pb2
from soma.gateway.v1 import service_pb2, service_pb2_grpc
from soma.orchestrator.v1 import resources_pb2 as orchestrator_pb2
from soma.orchestrator.v1 import service_pb2 as orchestrator_service_pb2
from soma.orchestrator.v1 import service_pb2_grpc as orchestrator_grpc
from soma.slm.v1 import resources_pb2 as slm_pb2
from soma.slm.v1 import service_pb2 as slm_service_pb2
from soma.slm.v1 import service_pb2_grpc as slm_grpc

from mesh.runtime.errors import NotFound
from mesh.runtime.ids import new_id
from services.gateway import chat, embeddings
from services.gateway.completions import Completion, Completions

JSON = "application/json"
EVENTS = "text/event-stream"
PAGE = 1000
CANCEL_SECONDS = 5.0
_UNKNOWN = frozenset({grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT})


class OpenAIHandlers(service_pb2_grpc.OpenAIServicer):
    """Chat completions, embeddings and the list of models."""

    def __init__(self, *, orchestrator: grpc.aio.Channel, slm: grpc.aio.Channel) -> None:
        self._completions = Completions(orchestrator)
        self._personas = orchestrator_grpc.PersonasStub(orchestrator)
        self._models = slm_grpc.ModelsStub(slm)
        self._inference = slm_grpc.InferenceStub(slm)

    async def CreateChatCompletion(
        self, request: httpbody_pb2.HttpBody, context: Any
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """Run one turn; the first message decides the content type of the answer."""
        wanted = chat.parse_chat(request.data)
        completion = await self._completions.start(wanted, request_id=_request_id(context))
        try:
            if wanted.stream:
                async for piece in self._completions.stream(completion):
                    yield httpbody_pb2.HttpBody(content_type=EVENTS, data=piece)
            else:
                yield _json(await self._completions.whole(completion))
        finally:
            await self._give_up(completion)

    async def _give_up(self, completion: Completion) -> None:
        """Cancel what nobody waits for, also while this call itself is being cancelled."""
        if not completion.ended:
            task = asyncio.create_task(self._completions.abandon(completion))
            await asyncio.wait([task], timeout=CANCEL_SECONDS)
            task.result() if task.done() else task.cancel()

    async def CreateEmbedding(self, request: httpbody_pb2.HttpBody, _context: Any) -> httpbody_pb2.HttpBody:
        """Turn texts into vectors with the slm service."""
        wanted = embeddings.parse_embedding(request.data)
        await self._must_embed(wanted.model)
        answer = await self._inference.Embed(
            slm_service_pb2.EmbedRequest(model=wanted.model, texts=wanted.texts), timeout=30
        )
        vectors = [e.values for e in answer.embeddings]
        return _json(
            embeddings.answer(
                model=wanted.model, vectors=vectors, tokens=answer.input_tokens, as_base64=wanted.base64
            )
        )

    async def _must_embed(self, name: str) -> None:
        model = await self._model(name)
        if model is None or model.task != slm_pb2.TASK_EMBED:
            raise _no_model(name)

    async def _model(self, name: str) -> slm_pb2.Model | None:
        try:
            return await self._models.GetModel(slm_service_pb2.GetModelRequest(name=name))
        except grpc.aio.AioRpcError as error:
            if error.code() in _UNKNOWN:
                return None
            raise

    async def ListModels(
        self, _request: service_pb2.ListModelsRequest, _context: Any
    ) -> httpbody_pb2.HttpBody:
        """Personas, which chat, where the caller may read them, and models that embed."""
        models = await self._models.ListModels(slm_service_pb2.ListModelsRequest(page_size=PAGE))
        data = [_persona(one) for one in await self._readable_personas()]
        data += [_embedder(m) for m in models.models if m.task == slm_pb2.TASK_EMBED]
        return _json(json.dumps({"object": "list", "data": data}).encode())

    async def _readable_personas(self) -> Sequence[orchestrator_pb2.Persona]:
        try:
            listed = await self._personas.ListPersonas(
                orchestrator_service_pb2.ListPersonasRequest(page_size=PAGE)
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                return ()
            raise
        return tuple(listed.personas)

    async def GetModel(self, request: service_pb2.GetModelRequest, _context: Any) -> httpbody_pb2.HttpBody:
        """One persona or one model that embeds."""
        try:
            persona = await self._personas.GetPersona(
                orchestrator_service_pb2.GetPersonaRequest(name=request.model)
            )
            return _json(json.dumps(_persona(persona)).encode())
        except grpc.aio.AioRpcError as error:
            if error.code() not in {*_UNKNOWN, grpc.StatusCode.PERMISSION_DENIED}:
                raise
        model = await self._model(request.model)
        if model is None or model.task != slm_pb2.TASK_EMBED:
            raise _no_model(request.model)
        return _json(json.dumps(_embedder(model)).encode())


def _request_id(context: Any) -> str:
    """The client's `Idempotency-Key`, or a fresh id."""
    for key, value in context.invocation_metadata() or ():
        if key == "idempotency-key" and value:
            return str(value)[:128]
    return new_id("req")


def _no_model(name: str) -> NotFound:
    return NotFound("MODEL_NOT_FOUND", f"the model {name[:64]!r} does not exist", metadata={"param": "model"})


def _persona(persona: orchestrator_pb2.Persona) -> chat.Json:
    return {"id": persona.name, "object": "model", "created": 0, "owned_by": "soma",
            "description": persona.description, "notice": persona.notice}  # fmt: skip


def _embedder(model: slm_pb2.Model) -> chat.Json:
    return {"id": model.name, "object": "model", "created": model.create_time.seconds, "owned_by": "soma",
            "description": model.description, "notice": ""}  # fmt: skip


def _json(data: bytes) -> httpbody_pb2.HttpBody:
    return httpbody_pb2.HttpBody(content_type=JSON, data=data)
