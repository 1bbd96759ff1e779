"""Encoding a route configuration in parts, because it is large and one part of it changes often.

`from_dict` takes 4 ms for a route and 0.2 ms for a revoked token. Routes and filter settings are
therefore encoded one by one and remembered, and put together as protobuf allows: the bytes of a
message are the bytes of its fields, one after the other, in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy_data_plane.envoy.config.route.v3 import Route, RouteConfiguration, VirtualHost
from envoy_data_plane.envoy.extensions.filters.http.rbac.v3 import RbacPerRoute
from envoy_data_plane.google.protobuf import Any as AnyMessage

from mesh.envoy.access import REVOCATIONS_FILTER
from mesh.envoy.typed import Resource

if TYPE_CHECKING:
    from collections.abc import Callable

# Field numbers of envoy.config.route.v3.
_VIRTUAL_HOSTS: Final = 2
_ROUTES: Final = 3


class RouteEncoder:
    """Encodes route configurations; remembers the routes of the last one."""

    def __init__(self, digest: Callable[[Resource], str]) -> None:
        self._digest = digest
        self._routes: dict[str, bytes] = {}

    def encode(self, resource: Resource) -> bytes:
        """Encode one `RouteConfiguration`."""
        fresh: dict[str, bytes] = {}
        rest = {key: value for key, value in resource.items() if key != "virtual_hosts"}
        encoded = bytes(RouteConfiguration.from_dict(rest))
        for host in resource["virtual_hosts"]:
            encoded += _field(_VIRTUAL_HOSTS, self._host(host, fresh))
        self._routes = fresh
        return encoded

    def _host(self, host: Resource, fresh: dict[str, bytes]) -> bytes:
        settings = dict(host["typed_per_filter_config"])
        revoked = settings.pop(REVOCATIONS_FILTER, None)
        rest = {key: value for key, value in host.items() if key != "routes"}
        message = VirtualHost.from_dict({**rest, "typed_per_filter_config": settings})
        if revoked is not None:
            message.typed_per_filter_config[REVOCATIONS_FILTER] = _revocations(revoked)
        parts = [bytes(message)]
        for route in host["routes"]:
            digest = self._digest(route)
            known = self._routes.get(digest) or bytes(Route.from_dict(route))
            fresh[digest] = known
            parts.append(_field(_ROUTES, known))
        return b"".join(parts)


def _revocations(settings: Resource) -> AnyMessage:
    """Encode the deny list: every token has the same action, which is read once."""
    tree: dict[str, Any] = settings["rbac"]["matcher"]["matcher_tree"]
    actions: dict[str, Any] = tree["exact_match_map"]["map"]
    first = next(iter(actions))
    sample = {**tree, "exact_match_map": {"map": {first: actions[first]}}}
    matcher = {**settings["rbac"]["matcher"], "matcher_tree": sample}
    message = RbacPerRoute.from_dict({"rbac": {"matcher": matcher}})
    entries = message.rbac.matcher.matcher_tree.exact_match_map.map  # type: ignore[union-attr]  # set above
    entries.update(dict.fromkeys(actions, entries[first]))
    return AnyMessage(type_url=settings["@type"], value=bytes(message))


def _field(number: int, content: bytes) -> bytes:
    """Encode a length-delimited field (protobuf encoding, wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
