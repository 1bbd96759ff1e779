"""`soma.gateway.v1.Pages`: health, the OpenAPI description, and the documentation made of it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from google.api import httpbody_pb2
from soma.gateway.v1 import service_pb2, service_pb2_grpc

HEALTHY = b'{"status":"ok"}'


class PagesHandlers(service_pb2_grpc.PagesServicer):
    """Serves files that are read once, at start."""

    def __init__(self, *, openapi: Path) -> None:
        self._openapi = openapi.read_bytes()
        self._docs = (resources.files("services.gateway") / "pages" / "docs.html").read_bytes()

    async def GetHealth(self, _request: service_pb2.GetHealthRequest, _context: Any) -> httpbody_pb2.HttpBody:
        """Answer as long as the edge and the gateway serve."""
        return httpbody_pb2.HttpBody(content_type="application/json", data=HEALTHY)

    async def GetOpenApi(
        self, _request: service_pb2.GetOpenApiRequest, _context: Any
    ) -> httpbody_pb2.HttpBody:
        """The generated description."""
        return httpbody_pb2.HttpBody(content_type="application/json", data=self._openapi)

    async def GetDocs(self, _request: service_pb2.GetDocsRequest, _context: Any) -> httpbody_pb2.HttpBody:
        """A page that shows the description; it loads nothing from elsewhere."""
        return httpbody_pb2.HttpBody(content_type="text/html; charset=utf-8", data=self._docs)
