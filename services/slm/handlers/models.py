"""soma.slm.v1.Models."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import empty_pb2
from soma.slm.v1 import resources_pb2, service_pb2, service_pb2_grpc

from mesh.runtime.context import current
from services.slm.domain.catalogue import Catalogue
from services.slm.domain.model import Page, Request
from services.slm.handlers.conversion import health_message, model_message, model_of

_DEFAULT_SIZE: Final = 50


class Models(service_pb2_grpc.ModelsServicer):
    """Model profiles."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Serve this catalogue."""
        self._catalogue = catalogue

    async def GetModel(self, message: service_pb2.GetModelRequest, _context: Any) -> resources_pb2.Model:
        """Return a profile."""
        return model_message(await self._catalogue.model(current().tenant, message.name))

    async def ListModels(
        self, message: service_pb2.ListModelsRequest, _context: Any
    ) -> service_pb2.ListModelsResponse:
        """List profiles, built-in ones first."""
        page = Page(message.page_size or _DEFAULT_SIZE, message.page_token)
        found, after = await self._catalogue.models(current().tenant, page)
        return service_pb2.ListModelsResponse(
            models=[model_message(model) for model in found], next_page_token=after
        )

    async def CreateModel(
        self, message: service_pb2.CreateModelRequest, _context: Any
    ) -> resources_pb2.Model:
        """Make a profile."""
        call = current()
        made = await self._catalogue.create(
            call.tenant,
            _actor(),
            Request(call.idempotency_key, call.request_digest),
            model_of(message.model),
            message.api_key,
        )
        return model_message(made)

    async def DeleteModel(self, message: service_pb2.DeleteModelRequest, _context: Any) -> empty_pb2.Empty:
        """Delete a profile."""
        await self._catalogue.delete(current().tenant, _actor(), message.name)
        return empty_pb2.Empty()

    async def CheckModel(
        self, message: service_pb2.CheckModelRequest, _context: Any
    ) -> resources_pb2.ModelHealth:
        """Tell whether a model answers."""
        return health_message(await self._catalogue.check(current().tenant, message.name))


def _actor() -> str:
    principal = current().principal
    return principal.subject if principal is not None else ""
