"""Writes to points and payload indexes. All of a request is read before any of it is applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import qdrant_edge as edge

from mesh.stack.vectors import filters
from mesh.stack.vectors.collections import Collection, Collections
from mesh.stack.vectors.conversion import payload, point_id, vectors
from mesh.stack.vectors.errors import invalid, only, optional, unimplemented, which
from mesh.stack.vectors.protocol import messages as q
from mesh.stack.vectors.schema import index_parameters

Operation = edge.UpdateOperation
Reader = Callable[[Collection, Any], edge.UpdateOperation]
# A thousand points hold the event loop for 66 to 150 ms; a real Qdrant takes more.
LARGEST_BATCH: Final = 250
_MODES: Final[Mapping[int, edge.UpdateMode]] = {
    q.UpdateMode.Upsert: edge.UpdateMode.Upsert,
    q.UpdateMode.InsertOnly: edge.UpdateMode.InsertOnly,
    q.UpdateMode.UpdateOnly: edge.UpdateMode.UpdateOnly,
}


def _bounded(points: Any) -> Any:
    if len(points) > LARGEST_BATCH:
        raise invalid(f"{len(points)} points in one request, the bound is {LARGEST_BATCH}")
    return points


def _upsert(collection: Collection, message: q.UpsertPoints) -> edge.UpdateOperation:
    only(message, "points", "update_filter", "update_mode")
    points = []
    for one in _bounded(message.points):
        only(one, "id", "payload", "vectors")
        content = collection.checked(vectors(one.vectors)) if one.HasField("vectors") else {}
        points.append(edge.Point(point_id(one.id), content, payload(one.payload)))
    condition = filters.read_optional(message, "update_filter")
    return Operation.upsert_points(points, condition, _MODES[message.update_mode])


def _selected(
    selector: q.PointsSelector,
    by_ids: Callable[..., edge.UpdateOperation],
    by_filter: Callable[..., edge.UpdateOperation],
    *rest: Any,
) -> edge.UpdateOperation:
    kind, content = which(selector, "points_selector_one_of")
    if kind == "points":
        return by_ids([point_id(one) for one in only(content, "ids").ids], *rest)
    return by_filter(filters.read(content), *rest)


def _delete(_: Collection, message: q.DeletePoints) -> edge.UpdateOperation:
    only(message, "points")
    return _selected(message.points, Operation.delete_points, Operation.delete_points_by_filter)


def _payload_writer(
    by_ids: Callable[..., edge.UpdateOperation], by_filter: Callable[..., edge.UpdateOperation]
) -> Reader:
    def read(_: Collection, message: q.SetPayloadPoints) -> edge.UpdateOperation:
        only(message, "payload", "points_selector", "key")
        content = payload(message.payload)
        return _selected(message.points_selector, by_ids, by_filter, content, optional(message, "key"))

    return read


def _delete_payload(_: Collection, message: q.DeletePayloadPoints) -> edge.UpdateOperation:
    only(message, "keys", "points_selector")
    return _selected(
        message.points_selector,
        Operation.delete_payload,
        Operation.delete_payload_by_filter,
        list(message.keys),
    )


def _clear_payload(_: Collection, message: q.ClearPayloadPoints) -> edge.UpdateOperation:
    only(message, "points")
    return _selected(message.points, Operation.clear_payload, Operation.clear_payload_by_filter)


def _update_vectors(collection: Collection, message: q.UpdatePointVectors) -> edge.UpdateOperation:
    only(message, "points", "update_filter")
    points = [
        edge.PointVectors(point_id(one.id), collection.checked(vectors(one.vectors)))
        for one in _bounded(message.points)
    ]
    return Operation.update_vectors(points, filters.read_optional(message, "update_filter"))


def _delete_vectors(_: Collection, message: q.DeletePointVectors) -> edge.UpdateOperation:
    only(message, "points_selector", "vectors")
    return _selected(
        message.points_selector,
        Operation.delete_vectors,
        Operation.delete_vectors_by_filter,
        list(message.vectors.names),
    )


def _create_index(_: Collection, message: q.CreateFieldIndexCollection) -> edge.UpdateOperation:
    only(message, "field_name", "field_type", "field_index_params")
    return Operation.create_field_index(message.field_name, index_parameters(message))


def _delete_index(_: Collection, message: q.DeleteFieldIndexCollection) -> edge.UpdateOperation:
    only(message, "field_name")
    return Operation.delete_field_index(message.field_name)


_SET = _payload_writer(Operation.set_payload, Operation.set_payload_by_filter)
_OVERWRITE = _payload_writer(Operation.overwrite_payload, Operation.overwrite_payload_by_filter)
_READERS: Final[Mapping[str, Reader]] = {
    "Upsert": _upsert,
    "Delete": _delete,
    "SetPayload": _SET,
    "OverwritePayload": _OVERWRITE,
    "DeletePayload": _delete_payload,
    "ClearPayload": _clear_payload,
    "UpdateVectors": _update_vectors,
    "DeleteVectors": _delete_vectors,
    "CreateFieldIndex": _create_index,
    "DeleteFieldIndex": _delete_index,
}


def _read_batch_delete(collection: Collection, message: Any) -> edge.UpdateOperation:
    only(message, "points")
    return _delete(collection, q.DeletePoints(points=message.points))


_IN_BATCH: Final[Mapping[str, Reader]] = {
    "upsert": _upsert,
    "delete_points": _read_batch_delete,
    "set_payload": _SET,
    "overwrite_payload": _OVERWRITE,
    "delete_payload": _delete_payload,
    "clear_payload": _clear_payload,
    "update_vectors": _update_vectors,
    "delete_vectors": _delete_vectors,
}


def _done() -> q.UpdateResult:
    return q.UpdateResult(operation_id=0, status=q.UpdateStatus.Completed)


def _handler(reader: Reader) -> Callable[[Collections, Any], q.PointsOperationResponse]:
    def handle(collections: Collections, request: Any) -> q.PointsOperationResponse:
        collection = collections.get(request.collection_name)
        collection.update(reader(collection, request))
        return q.PointsOperationResponse(result=_done())

    return handle


def update_batch(collections: Collections, request: q.UpdateBatchPoints) -> q.UpdateBatchResponse:
    """Apply several writes in order."""
    collection = collections.get(only(request, "operations").collection_name)
    operations = []
    for one in request.operations:
        kind, content = which(one, "operation")
        if kind not in _IN_BATCH:
            raise unimplemented(f"PointsUpdateOperation.{kind}")
        operations.append(_IN_BATCH[kind](collection, content))
    collection.update(*operations)
    return q.UpdateBatchResponse(result=[_done() for _ in operations])


HANDLERS: Final[Mapping[str, Callable[[Collections, Any], Any]]] = {
    **{f"qdrant.Points/{name}": _handler(reader) for name, reader in _READERS.items()},
    "qdrant.Points/UpdateBatch": update_batch,
}
