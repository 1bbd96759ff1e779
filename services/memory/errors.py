"""What goes wrong in memory, in the platform's words."""

from __future__ import annotations

from mesh.runtime.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted, Unavailable

BUSY_SECONDS = 2.0


def memory_not_found(memory_id: str) -> NotFound:
    """Another tenant's memory and one that never was are told alike."""
    return NotFound("NOT_FOUND", f"memory {memory_id} does not exist")


def document_not_found(document_id: str) -> NotFound:
    """Another tenant's document and one that never was are told alike."""
    return NotFound("NOT_FOUND", f"document {document_id} does not exist")


def request_reused(request_id: str) -> AlreadyExists:
    """The request id stands for a request with another content."""
    return AlreadyExists("REQUEST_ID_REUSED", f"request_id {request_id} was used for another request")


def document_unreadable(cause: str) -> InvalidArgument:
    """The document is not what its media type says, or passes a bound."""
    return InvalidArgument("DOCUMENT_UNREADABLE", f"the document was not read: {cause}")


def too_many_documents(waiting: int) -> ResourceExhausted:
    """The queue of documents is full."""
    return ResourceExhausted(
        "QUEUE_FULL",
        f"{waiting} documents wait already; more are taken when some of them are done",
        retry_after=BUSY_SECONDS,
    )


def bad_page_token() -> InvalidArgument:
    """The page token is not one of ours."""
    return InvalidArgument("INVALID_ARGUMENT", "field page_token: is not one that a list gave")


def nothing_to_remember() -> InvalidArgument:
    """The text is empty once its white space is gone."""
    return InvalidArgument("INVALID_ARGUMENT", "field text: holds no text")


def not_storable(field: str) -> InvalidArgument:
    """The field holds U+0000, which no text column takes."""
    return InvalidArgument("INVALID_ARGUMENT", f"field {field}: holds the character U+0000")


def nothing_to_look_for() -> InvalidArgument:
    """The query is empty once its white space is gone."""
    return InvalidArgument("INVALID_ARGUMENT", "field query: holds no text")


def index_unavailable() -> Unavailable:
    """The vector store does not answer."""
    return Unavailable(
        "DEPENDENCY_UNAVAILABLE", "the vector store does not answer; try again", retry_after=BUSY_SECONDS
    )
