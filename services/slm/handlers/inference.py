"""soma.slm.v1.Inference."""

from __future__ import annotations

from typing import Any

from soma.slm.v1 import service_pb2, service_pb2_grpc

from mesh.inference.triton import Triton
from mesh.runtime.context import current
from services.slm import errors
from services.slm.domain.built_in import EMBED
from services.slm.domain.catalogue import Catalogue
from services.slm.domain.model import Task
from services.slm.ports import TokenCounts


class Inference(service_pb2_grpc.InferenceServicer):
    """Tokens and vectors."""

    def __init__(self, catalogue: Catalogue, counts: TokenCounts, triton: Triton) -> None:
        """Count with `counts`, embed with `triton`."""
        self._catalogue = catalogue
        self._counts = counts
        self._triton = triton

    async def CountTokens(
        self, message: service_pb2.CountTokensRequest, _context: Any
    ) -> service_pb2.CountTokensResponse:
        """Count the tokens of each text."""
        model = await self._catalogue.model(current().tenant, message.model)
        counts, exact = await self._counts.count(model, message.texts)
        return service_pb2.CountTokensResponse(counts=counts, exact=exact)

    async def Embed(self, message: service_pb2.EmbedRequest, _context: Any) -> service_pb2.EmbedResponse:
        """Turn texts into vectors."""
        model = await self._catalogue.model(current().tenant, message.model or EMBED)
        if model.task is not Task.EMBED:
            raise errors.makes_no_vectors(model.name)
        made = await self._triton.embed_counted(message.texts, model=model.provider_model)
        return service_pb2.EmbedResponse(
            embeddings=[service_pb2.Embedding(values=vector) for vector in made.vectors],
            input_tokens=made.input_tokens,
            model=model.name,
        )
