"""soma.identity.v1.ApiKeys."""

from __future__ import annotations

from typing import Any

from soma.identity.v1 import resources_pb2, service_pb2, service_pb2_grpc

from services.identity.domain.accounts import Accounts, NewApiKey
from services.identity.handlers.conversion import api_key_message, caller, next_page, page, request


class ApiKeys(service_pb2_grpc.ApiKeysServicer):
    """API keys."""

    def __init__(self, accounts: Accounts) -> None:
        """Serve these accounts."""
        self._accounts = accounts

    async def CreateApiKey(
        self, message: service_pb2.CreateApiKeyRequest, _context: Any
    ) -> service_pb2.CreateApiKeyResponse:
        """Create a key and show its secret."""
        new = NewApiKey(
            display_name=message.display_name,
            subject=message.subject,
            scopes=frozenset(message.scopes),
            valid_days=message.valid_days,
        )
        key, secret = await self._accounts.create_api_key(caller(), request(), new)
        return service_pb2.CreateApiKeyResponse(api_key=api_key_message(key), secret=secret)

    async def ListApiKeys(
        self, message: service_pb2.ListApiKeysRequest, _context: Any
    ) -> service_pb2.ListApiKeysResponse:
        """List keys without their secrets."""
        wanted = page(message)
        found = await self._accounts.api_keys(caller(), wanted)
        return service_pb2.ListApiKeysResponse(
            api_keys=[api_key_message(key) for key in found], next_page_token=next_page(found, wanted)
        )

    async def RevokeApiKey(
        self, message: service_pb2.RevokeApiKeyRequest, _context: Any
    ) -> resources_pb2.ApiKey:
        """Revoke a key."""
        return api_key_message(await self._accounts.revoke_api_key(caller(), message.key_id))
