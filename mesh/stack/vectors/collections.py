"""Collections on disk.

One folder each: `collection.json`, the CreateCollection request, written last on create and removed
first on delete, so that its presence is the commit; and `shard/`, the engine's. A write is safe
against the death of the process when it is answered (the engine's log), and against the death of
the machine after the next flush.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

import grpc
import qdrant_edge as edge
from google.protobuf.json_format import MessageToJson, Parse

from mesh.stack.vectors.errors import FolderInUseError, RefusedError, invalid, missing
from mesh.stack.vectors.protocol import messages as q
from mesh.stack.vectors.schema import dense_vectors, engine_config

MARKER: Final = "collection.json"
LONGEST_NAME: Final = 80
# `optimize()` reads what is left of a shard; past this size it would keep the server from starting.
OPTIMIZED_POINTS: Final = 200_000


class Collection:
    """One collection: its configuration and its shard."""

    def __init__(self, folder: Path, config: q.CreateCollection, shard: edge.EdgeShard) -> None:
        self.folder = folder
        self.config = config
        self.shard = shard
        self.dirty = False
        self._sizes = {name: params.size for name, params in dense_vectors(config).items()}
        self._sparse = set(config.sparse_vectors_config.map)

    def update(self, *operations: edge.UpdateOperation) -> None:
        """Apply operations in order."""
        self.dirty = True
        for operation in operations:
            self.shard.update(operation)

    def flush(self) -> None:
        """Write what the log still carries to its place, with fsync."""
        if self.dirty:
            self.dirty = False
            self.shard.flush()

    def checked(self, vectors: Any) -> Any:
        """Give a point's vectors back when the collection has vectors of these names and sizes.

        The engine finds out only in the middle of a batch, with half of it applied.

        Raises:
            RefusedError: it has not.
        """
        named = vectors if isinstance(vectors, dict) else {"": vectors}
        for name, vector in named.items():
            known = self._sparse if isinstance(vector, edge.SparseVector) else self._sizes
            if name not in known:
                raise invalid(f"Wrong input: Not existing vector name error: {name}")
            if isinstance(vector, edge.SparseVector):
                continue
            rows = vector if vector and isinstance(vector[0], list) else [vector]
            for row in rows:
                if len(row) != self._sizes[name]:
                    raise invalid(
                        "Wrong input: Vector dimension error: "
                        f"expected dim: {self._sizes[name]}, got {len(row)}"
                    )
        return vectors


def _locked(data: Path) -> TextIO:
    """Take the folder's lock: a second load of an open shard fails, but spoils the first one."""
    file = (data / ".lock").open("w", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise FolderInUseError(f"another process serves {data}") from None
    return file


def _synced(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Collections:
    """All collections of a data folder, which this object locks as long as it lives."""

    def __init__(self, data: Path) -> None:
        """Lock the folder, remove what a crash left unfinished, open the rest.

        Raises:
            FolderInUseError: another process serves the folder.
        """
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._data = data
        self._lock = _locked(data)
        self._open: dict[str, Collection] = {}
        for folder in sorted(path for path in data.iterdir() if path.is_dir()):
            if (folder / MARKER).exists():
                collection = _load(folder)
                self._open[collection.config.collection_name] = collection
            else:
                shutil.rmtree(folder)

    def __iter__(self) -> Iterator[Collection]:
        return iter(list(self._open.values()))

    def __contains__(self, name: str) -> bool:
        return name in self._open

    @property
    def names(self) -> list[str]:
        """Their names, in order."""
        return sorted(self._open)

    def get(self, name: str) -> Collection:
        """Give the collection with that name.

        Raises:
            RefusedError: there is none.
        """
        try:
            return self._open[name]
        except KeyError:
            raise missing(f"Collection `{name}` doesn't exist!") from None

    def create(self, request: q.CreateCollection) -> None:
        """Make a collection; it exists once its marker does.

        Raises:
            RefusedError: the name is taken or unusable, or the engine would not honour the request.
        """
        name = request.collection_name
        if not 1 <= len(name) <= LONGEST_NAME:
            raise invalid(f"a collection's name has 1 to {LONGEST_NAME} characters")
        if name in self._open:
            raise RefusedError(
                grpc.StatusCode.ALREADY_EXISTS,
                f"Wrong input: Collection `{name}` already exists!",
            )
        config = engine_config(request)
        folder = self._data / urllib.parse.quote(name, safe="").replace(".", "%2E")
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "shard").mkdir(parents=True, mode=0o700)
        shard = edge.EdgeShard.create(str(folder / "shard"), config)
        shard.flush()
        draft = folder / f"{MARKER}.draft"
        with draft.open("w", encoding="utf-8") as file:
            file.write(MessageToJson(request))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / MARKER)
        _synced(folder)
        _synced(self._data)
        self._open[name] = Collection(folder, request, shard)

    def delete(self, name: str) -> bool:
        """Remove a collection; tell whether there was one."""
        collection = self._open.pop(name, None)
        if collection is None:
            return False
        (collection.folder / MARKER).unlink()
        _synced(collection.folder)
        collection.shard.close()
        shutil.rmtree(collection.folder)
        return True

    def flush(self) -> None:
        """Flush every collection that was written to."""
        for collection in self:
            collection.flush()

    def close(self) -> None:
        """Flush and close every collection and give the folder free."""
        for collection in self:
            collection.flush()
            collection.shard.close()
        self._open.clear()
        self._lock.close()


def _load(folder: Path) -> Collection:
    config = Parse((folder / MARKER).read_text(encoding="utf-8"), q.CreateCollection())
    shard = edge.EdgeShard.load(str(folder / "shard"))
    points = shard.info().points_count
    if points <= OPTIMIZED_POINTS:
        shard.optimize()  # before listening: reclaims what was deleted, else does nothing
    else:
        sys.stderr.write(f"vectors: {config.collection_name} has {points} points: not optimized\n")
    return Collection(folder, config, shard)
