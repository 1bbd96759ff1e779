"""Settings of memory."""

from __future__ import annotations

from pydantic import Field

from mesh.runtime.settings import ProcessSettings


class Settings(ProcessSettings):
    """What memory is told."""

    qdrant_api_key: str = Field(default="", repr=False, description="What the vector store asks for.")
    qdrant_prefix: str = Field(
        default="", pattern=r"^[a-z0-9_-]{0,32}$", description="Before the names of collections."
    )
    query_cache: int = Field(default=2048, ge=0, description="Embeddings of queries that are kept.")
    document_seconds: float = Field(default=30.0, gt=0, description="Bound on reading one document.")
    document_characters: int = Field(default=4_000_000, ge=1, description="Bound on a document's text.")
    document_pages: int = Field(default=2_000, ge=1, description="Bound on a PDF's pages.")
    document_passages: int = Field(default=5_000, ge=1, description="Bound on a document's passages.")
    document_lanes: int = Field(
        default=2, ge=1, description="Documents read at once; one tenant's leave a lane to others."
    )
    documents_waiting: int = Field(default=32, ge=1, description="Documents ingested at once, at most.")
    # A document of 16 MiB and what is around it.
    max_message_bytes: int = Field(default=20 * 1024 * 1024, ge=1024)
