"""Which client answers for a model profile."""

import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from soma.slm.v1 import resources_pb2 as models_pb

from mesh.inference.anthropic import Anthropic
from mesh.inference.http import ProviderHttp
from mesh.inference.openai import OpenAI
from mesh.inference.ports import Chunk, Dialect, GenerationRequest, Generator
from mesh.runtime.errors import FailedPrecondition

_DIALECTS: Final = {
    models_pb.DIALECT_UNSPECIFIED: Dialect.VLLM,
    models_pb.DIALECT_VLLM: Dialect.VLLM,
    models_pb.DIALECT_TRTLLM: Dialect.TRTLLM,
    models_pb.DIALECT_TRTLLM_LLMAPI: Dialect.TRTLLM_LLMAPI,
}
KeyOf = Callable[[models_pb.Model], Awaitable[str]]


class Backends:
    """Every client that this worker has."""

    def __init__(self, *, triton: Generator, http: ProviderHttp, key_of: KeyOf) -> None:
        """Take the clients and who tells a provider's key."""
        self._triton = triton
        self._http = http
        self._key_of = key_of

    async def stream(self, model: models_pb.Model, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """Stream an answer of the model; failures are those of `mesh.inference.ports`."""
        generator = await self._generator(model)
        asked = dataclasses.replace(
            request, model=model.provider_model or model.name, dialect=_DIALECTS[model.dialect]
        )
        return generator.stream(asked)

    async def _generator(self, model: models_pb.Model) -> Generator:
        match model.provider:
            case models_pb.PROVIDER_TRITON:
                return self._triton
            case models_pb.PROVIDER_OPENAI:
                return OpenAI(http=self._http, base_url=model.base_url, api_key=await self._key_of(model))
            case models_pb.PROVIDER_ANTHROPIC:
                return Anthropic(http=self._http, base_url=model.base_url, api_key=await self._key_of(model))
            case unknown:
                raise FailedPrecondition(
                    "MODEL_UNAVAILABLE", f"model {model.name} has the unknown provider {unknown}"
                )
