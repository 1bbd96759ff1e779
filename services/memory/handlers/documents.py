"""`soma.memory.v1.Documents`."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from soma.memory.v1 import resources_pb2, service_pb2, service_pb2_grpc

from mesh.runtime.hooks import ServicerContext
from services.memory.handlers.requests import check_storable, request_in_progress
from services.memory.ingestion import Given, Ingestion
from services.memory.messages import document_message, passage_message
from services.memory.retrieval import Retrieval


class Documents(service_pb2_grpc.DocumentsServicer):
    """Documents of the caller's tenant."""

    def __init__(self, ingestion: Ingestion, retrieval: Retrieval) -> None:
        self._ingestion = ingestion
        self._retrieval = retrieval

    async def IngestDocument(
        self, request: service_pb2.IngestDocumentRequest, context: ServicerContext
    ) -> resources_pb2.Document:
        """Ingest a document."""
        check_storable(title=request.title, source=request.source, labels=request.labels)
        given = Given(
            title=request.title,
            source=request.source,
            media_type=request.media_type,
            content=request.content,
            labels=dict(request.labels),
        )
        return document_message(await self._ingestion.ingest(given, request=request_in_progress()))

    async def GetDocument(
        self, request: service_pb2.GetDocumentRequest, context: ServicerContext
    ) -> resources_pb2.Document:
        """Give a document."""
        return document_message(await self._ingestion.get(request.document_id))

    async def ListDocuments(
        self, request: service_pb2.ListDocumentsRequest, context: ServicerContext
    ) -> service_pb2.ListDocumentsResponse:
        """List documents, newest first."""
        page = await self._ingestion.page(size=request.page_size, token=request.page_token)
        return service_pb2.ListDocumentsResponse(
            documents=map(document_message, page.documents), next_page_token=page.next_token
        )

    async def DeleteDocument(
        self, request: service_pb2.DeleteDocumentRequest, context: ServicerContext
    ) -> Empty:
        """Delete a document with its passages."""
        await self._ingestion.delete(request.document_id)
        return Empty()

    async def Retrieve(
        self, request: service_pb2.RetrieveRequest, context: ServicerContext
    ) -> service_pb2.RetrieveResponse:
        """Find the passages nearest to a query."""
        found = await self._retrieval.retrieve(
            request.query,
            limit=request.limit,
            labels=request.labels,
            document_ids=list(request.document_ids),
        )
        return service_pb2.RetrieveResponse(passages=map(passage_message, found))
