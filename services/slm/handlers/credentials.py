"""soma.slm.v1.Credentials."""

from __future__ import annotations

from typing import Any

from soma.slm.v1 import service_pb2, service_pb2_grpc

from mesh.runtime.context import current
from services.slm.domain.catalogue import Catalogue


class Credentials(service_pb2_grpc.CredentialsServicer):
    """Keys of providers, for the workers that speak to them."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Serve this catalogue's keys."""
        self._catalogue = catalogue

    async def GetCredential(
        self, message: service_pb2.GetCredentialRequest, _context: Any
    ) -> service_pb2.GetCredentialResponse:
        """Return the key of a model's provider."""
        key = await self._catalogue.credential(current().tenant, message.name, message.base_url)
        return service_pb2.GetCredentialResponse(api_key=key)
