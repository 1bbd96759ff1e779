"""The tenant of a call: from the token, or from a workload that acts for one; never from a body."""

from typing import Final

from google.protobuf.message import Message
from soma.options.v1 import options_pb2

from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract, tenants_named
from mesh.runtime.errors import ConfigurationError, PermissionDenied
from mesh.runtime.hooks import NOTHING, Hooks, Metadata, ServicerContext, text

HEADER: Final = "x-soma-tenant"


class TenantCheck:
    """Sets the tenant; refuses an empty one and a request that names another."""

    def bind(self, contract: MethodContract) -> Hooks:
        """Choose the source that the contract names."""
        if contract.tenant == options_pb2.TENANT_NONE:
            return NOTHING
        if contract.tenant == options_pb2.TENANT_FROM_TOKEN:
            if contract.access != options_pb2.ACCESS_TOKEN:
                raise ConfigurationError(f"{contract.path}: a tenant from a token needs a token")
            admit = _from_token
        elif contract.tenant == options_pb2.TENANT_FROM_WORKLOAD:
            if contract.access != options_pb2.ACCESS_WORKLOAD:
                raise ConfigurationError(f"{contract.path}: a workload's tenant needs a workload")
            admit = _from_workload
        else:
            raise ConfigurationError(f"{contract.path} has no known tenant source: refuse")
        if not contract.tenant_fields:
            return Hooks(admit=admit)
        agrees = tenants_named(contract.tenant_fields)

        def inspect(call: CallContext, request: Message) -> None:
            if not agrees(request, call.tenant):
                raise PermissionDenied(
                    "TENANT_MISMATCH", "the request names another tenant than the caller's"
                )

        return Hooks(admit=admit, inspect=inspect)


def _from_token(call: CallContext, metadata: Metadata, _context: ServicerContext) -> None:
    tenant = call.principal.tenant if call.principal is not None else ""
    if not tenant:
        raise PermissionDenied("TENANT_MISMATCH", "the token names no tenant")
    if metadata.get(HEADER, tenant) != tenant:
        raise PermissionDenied("TENANT_MISMATCH", f"{HEADER} is not accepted on this method")
    call.tenant = tenant


def _from_workload(call: CallContext, metadata: Metadata, _context: ServicerContext) -> None:
    tenant = text(metadata, HEADER)
    if not tenant:
        raise PermissionDenied("TENANT_MISMATCH", f"{HEADER} is missing")
    call.tenant = tenant
    call.acting = True
