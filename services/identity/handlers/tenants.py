"""soma.identity.v1.Tenants."""

from __future__ import annotations

from typing import Any

from soma.identity.v1 import resources_pb2, service_pb2, service_pb2_grpc

from services.identity.domain.accounts import Accounts, NewTenant
from services.identity.events import tenant_message
from services.identity.handlers.conversion import caller, request, user_message


class Tenants(service_pb2_grpc.TenantsServicer):
    """Tenants."""

    def __init__(self, accounts: Accounts) -> None:
        """Serve these accounts."""
        self._accounts = accounts

    async def CreateTenant(
        self, message: service_pb2.CreateTenantRequest, _context: Any
    ) -> service_pb2.CreateTenantResponse:
        """Create a tenant with its owner."""
        tenant, owner = await self._accounts.create_tenant(
            caller(),
            request(),
            NewTenant(
                display_name=message.display_name,
                owner_email=message.owner_email,
                owner_password=message.owner_password,
            ),
        )
        return service_pb2.CreateTenantResponse(tenant=tenant_message(tenant), owner=user_message(owner))

    async def GetTenant(self, message: service_pb2.GetTenantRequest, _context: Any) -> resources_pb2.Tenant:
        """Return the caller's tenant."""
        return tenant_message(await self._accounts.tenant(caller(), message.tenant_id))
