"""soma.identity.v1.ServiceAccounts."""

from __future__ import annotations

from typing import Any

from soma.identity.v1 import resources_pb2, service_pb2, service_pb2_grpc

from services.identity.domain.accounts import Accounts
from services.identity.handlers.conversion import (
    caller,
    next_page,
    page,
    request,
    service_account_message,
)


class ServiceAccounts(service_pb2_grpc.ServiceAccountsServicer):
    """Service accounts."""

    def __init__(self, accounts: Accounts) -> None:
        """Serve these accounts."""
        self._accounts = accounts

    async def CreateServiceAccount(
        self, message: service_pb2.CreateServiceAccountRequest, _context: Any
    ) -> resources_pb2.ServiceAccount:
        """Create a service account."""
        made = await self._accounts.create_service_account(
            caller(), request(), message.display_name, message.scopes
        )
        return service_account_message(made)

    async def ListServiceAccounts(
        self, message: service_pb2.ListServiceAccountsRequest, _context: Any
    ) -> service_pb2.ListServiceAccountsResponse:
        """List service accounts."""
        wanted = page(message)
        found = await self._accounts.service_accounts(caller(), wanted)
        return service_pb2.ListServiceAccountsResponse(
            service_accounts=[service_account_message(account) for account in found],
            next_page_token=next_page(found, wanted),
        )
