"""The few shapes that every Envoy resource is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesh.envoy.snapshot import Address

Resource = dict[str, Any]

TYPE_PREFIX = "type.googleapis.com/"
HTTP_FILTERS = "envoy.extensions.filters.http"
ADS: Resource = {"ads": {}, "resource_api_version": "V3"}


def typed(message: str, /, **fields: Any) -> Resource:
    """Give an `Any`: the message's full name and its fields."""
    return {"@type": TYPE_PREFIX + message, **fields}


def extension(name: str, message: str, /, **fields: Any) -> Resource:
    """Give an extension: its name, and its configuration as an `Any`."""
    return {"name": name, "typed_config": typed(message, **fields)}


def socket(address: Address) -> Resource:
    """Give an `envoy.config.core.v3.Address`."""
    return {"socket_address": {"address": address.host, "port_value": address.port}}
