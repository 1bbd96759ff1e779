"""From Envoy-shaped dictionaries to protobuf, once for each content.

Encoding takes milliseconds for a cluster and half a second for all routes, so every resource is kept
by the hash of its content; the version of a resource is that hash, equal over restarts and replicas.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envoy_data_plane.google.protobuf import Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mesh.envoy.typed import Resource
    from mesh.xds.encoded_store import EncodedStore
    from mesh.xds.messages import MessageEncoder


@dataclass(frozen=True, slots=True)
class Encoded:
    """One resource as it goes over the wire."""

    name: str
    version: str
    resource: Any


class Encoder:
    """Encodes resources and remembers them for as long as the newest state of the world needs them."""

    def __init__(self, store: EncodedStore | None = None) -> None:
        self._store = store
        self._known: dict[tuple[str, str], Encoded] = {}
        self._messages: MessageEncoder | None = None

    def encode(self, kind: str, resources: Iterable[Resource]) -> dict[str, Encoded]:
        """Encode all resources of one type and forget what it held before."""
        fresh: dict[tuple[str, str], Encoded] = {}
        for resource in resources:
            name = resource.get("name") or resource["cluster_name"]
            digest = _digest(resource)
            known = self._known.get((kind, digest))
            fresh[kind, digest] = known or self._make(kind, name, digest, resource)
        forgotten = {key for key in self._known if key[0] == kind} - set(fresh)
        if self._store is not None and (forgotten or not self._known):
            self._store.retain(kind, [digest for _, digest in fresh])
        self._known = {key: value for key, value in self._known.items() if key[0] != kind} | fresh
        return {encoded.name: encoded for encoded in fresh.values()}

    def _make(self, kind: str, name: str, digest: str, resource: Resource) -> Encoded:
        content = self._store.get(kind, digest) if self._store is not None else None
        if content is None:
            content = self._encoder().encode(kind, resource)
            if self._store is not None:
                self._store.put(kind, digest, content)
        return Encoded(name, digest, Any(type_url=kind, value=content))

    def _encoder(self) -> MessageEncoder:
        if self._messages is None:
            from mesh.xds.messages import MessageEncoder

            self._messages = MessageEncoder(_digest)
        return self._messages


def _digest(resource: Resource) -> str:
    text = json.dumps(resource, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
