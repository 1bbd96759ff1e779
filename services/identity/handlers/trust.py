"""soma.identity.v1.Trust."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from soma.identity.v1 import resources_pb2, service_pb2, service_pb2_grpc

from mesh.runtime.context import current
from services.identity import errors
from services.identity.domain.keys import KeyRotation
from services.identity.domain.trust import TrustHub
from services.identity.events import key_message
from services.identity.handlers.conversion import trust_message
from services.identity.signing import jwks


class Trust(service_pb2_grpc.TrustServicer):
    """What verifiers need."""

    def __init__(self, hub: TrustHub, rotation: KeyRotation) -> None:
        """Serve what the hub knows."""
        self._hub = hub
        self._rotation = rotation

    async def GetJwks(self, _message: service_pb2.GetJwksRequest, _context: Any) -> HttpBody:
        """Return the public keys."""
        keys = self._hub.everything().keys
        if not keys:
            raise errors.no_signing_key()
        return HttpBody(content_type="application/json", data=jwks(keys))

    async def WatchTrust(
        self, _message: service_pb2.WatchTrustRequest, _context: Any
    ) -> AsyncIterator[service_pb2.WatchTrustResponse]:
        """Stream keys and revocations."""
        async with contextlib.aclosing(self._hub.watch()) as updates:
            async for update in updates:
                yield trust_message(update)

    async def RotateSigningKey(
        self, _message: service_pb2.RotateSigningKeyRequest, _context: Any
    ) -> resources_pb2.VerificationKey:
        """Make a new signing key."""
        key = await self._rotation.rotate(current().caller)
        return key_message(key.public())
