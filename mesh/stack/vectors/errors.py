"""What the server refuses, and the strictness that finds it."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

M = TypeVar("M", bound=Message)


class RefusedError(Exception):
    """A request that is answered with a status instead of a reply."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class FolderInUseError(Exception):
    """Another process serves the data folder."""


def unimplemented(text: str) -> RefusedError:
    """Refuse what this server does not do."""
    return RefusedError(grpc.StatusCode.UNIMPLEMENTED, f"not supported by this server: {text}")


def invalid(text: str) -> RefusedError:
    """Refuse what no server could do."""
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, text)


def missing(text: str) -> RefusedError:
    """Refuse what names something that is not there."""
    return RefusedError(grpc.StatusCode.NOT_FOUND, f"Not found: {text}")


def from_engine(error: Exception) -> RefusedError:
    """Read whose fault an engine's error was: it raises bare `Exception`, its text tells."""
    text = str(error)
    if type(error) is not Exception:
        return invalid(f"{type(error).__name__}: {text}")
    if text.startswith(("Service runtime error", "Blobstore", "IO error")) or "internal" in text.lower():
        return RefusedError(grpc.StatusCode.INTERNAL, text)
    if text.startswith("No point with id"):
        return missing(text)
    return invalid(text)


# Fields without meaning on one node without replicas: a write is always applied before the answer.
HARMLESS: Final = frozenset({"collection_name", "wait", "ordering", "timeout", "read_consistency"})


def only(message: M, *known: str) -> M:
    """Give the message back when every field that is set in it is known or harmless.

    Raises:
        RefusedError: a field is not, or the message is newer than this server's protocol.
    """
    for field, _ in message.ListFields():
        if field.name not in known and field.name not in HARMLESS:
            raise unimplemented(f"{message.DESCRIPTOR.name}.{field.name}")
    if len(UnknownFieldSet(message)):
        raise unimplemented(f"a field of {message.DESCRIPTOR.name} that is newer than this server's protocol")
    return message


def which(message: Message, oneof: str) -> tuple[str, Any]:
    """Give name and value of the member of a oneof that is set.

    Raises:
        RefusedError: none is.
    """
    known = (field.name for field in message.DESCRIPTOR.fields)
    kind = only(message, *known).WhichOneof(oneof)
    if kind is None:
        raise invalid(f"{message.DESCRIPTOR.name} is empty")
    return str(kind), getattr(message, kind)


def optional(message: Message, field: str) -> Any:
    """Give a field's value, or None where it is not set."""
    return getattr(message, field) if message.HasField(field) else None
