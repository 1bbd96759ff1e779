"""The two dialects of ADS as state machines: requests in, responses out, no network.

Rules beyond Envoy's documentation, each learnt from a real one:

- In the state-of-the-world dialect the first request with our last nonce is the ACK (or NACK); a
  second one with the same nonce is a new subscription and must be answered.
- A cluster that changed stays warming for 15 s unless its load assignment is sent once more. The
  state-of-the-world dialect asks for it, the incremental one does not: there, whatever cluster goes
  out, its load assignment follows.
- What is pointed to goes out before what points to it (`world.ORDER`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Protocol, TypeVar

from envoy_data_plane.envoy.service.discovery.v3 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
    Resource,
)

from mesh.xds.kinds import CLUSTER, ENDPOINTS
from mesh.xds.world import ORDER, WILDCARD, World

if TYPE_CHECKING:
    from mesh.xds.registry import Proxy

Request_contra = TypeVar("Request_contra", contravariant=True)
Response = TypeVar("Response")


class Dialogue(Protocol[Request_contra, Response]):
    """One stream with one proxy."""

    def answer(self, request: Request_contra, world: World) -> list[Response]:
        """Take a request; give what must be sent because of it."""

    def changed(self, world: World) -> list[Response]:
        """Give what must be sent because the world changed."""


@dataclass(slots=True)
class _Subscription:
    names: set[str] = field(default_factory=set)
    nonce: str = ""
    answered: str = ""
    version: str = ""
    known: dict[str, str] = field(default_factory=dict)


class StateOfTheWorld:
    """`StreamAggregatedResources`: each response holds all subscribed resources of a type."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._nonces = count(1)
        self._subscriptions: dict[str, _Subscription] = {}

    def answer(self, request: DiscoveryRequest, world: World) -> list[DiscoveryResponse]:
        """Answer a subscription; note an ACK or a NACK."""
        kind, nonce, names = request.type_url, request.response_nonce, set(request.resource_names)
        subscription = self._subscriptions.setdefault(kind, _Subscription())
        if nonce and nonce != subscription.nonce:
            return []
        refused = request.error_detail
        again = bool(nonce) and nonce == subscription.answered and refused is None
        if nonce:
            subscription.answered = nonce
            delivery = self._proxy.delivery(kind)
            if refused is not None:
                delivery.nacked(nonce, refused.message)
            else:
                delivery.acked(nonce)
        if nonce and not again and names == subscription.names:
            return []
        subscription.names = names
        return [self._response(kind, world)]

    def changed(self, world: World) -> list[DiscoveryResponse]:
        """Send every subscribed type whose version changed."""
        return [
            self._response(kind, world)
            for kind in ORDER
            if kind in self._subscriptions and self._subscriptions[kind].version != world.version(kind)
        ]

    def _response(self, kind: str, world: World) -> DiscoveryResponse:
        subscription, found = self._subscriptions[kind], world.of(kind)
        everything = (kind in WILDCARD and not subscription.names) or "*" in subscription.names
        chosen = {
            name: encoded for name, encoded in found.items() if everything or name in subscription.names
        }
        subscription.nonce = str(next(self._nonces))
        subscription.version = world.version(kind)
        content: dict[str, str | None] = dict.fromkeys(self._proxy.delivery(kind).held)
        content.update({name: encoded.version for name, encoded in chosen.items()})
        self._proxy.delivery(kind).sent(
            nonce=subscription.nonce, version=subscription.version, content=content
        )
        return DiscoveryResponse(
            version_info=subscription.version,
            resources=[encoded.resource for encoded in chosen.values()],
            type_url=kind,
            nonce=subscription.nonce,
        )


class Incremental:
    """`DeltaAggregatedResources`: each response holds what changed."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._nonces = count(1)
        self._subscriptions: dict[str, _Subscription] = {}

    def answer(self, request: DeltaDiscoveryRequest, world: World) -> list[DeltaDiscoveryResponse]:
        """Answer a subscription; note an ACK or a NACK."""
        kind = request.type_url
        self._note(request)
        first = kind not in self._subscriptions
        if first:
            self._subscriptions[kind] = _Subscription(known=dict(request.initial_resource_versions))
            self._proxy.delivery(kind).held.update(request.initial_resource_versions)
        subscription = self._subscriptions[kind]
        self._subscribe(subscription, request, first=first)
        if not (first or request.resource_names_subscribe):
            return []
        response = self._difference(kind, world, always=first)
        return [] if response is None else [response]

    def changed(self, world: World) -> list[DeltaDiscoveryResponse]:
        """Send the differences of every subscribed type."""
        found = (self._difference(kind, world, always=False) for kind in ORDER if kind in self._subscriptions)
        return [response for response in found if response is not None]

    def _note(self, request: DeltaDiscoveryRequest) -> None:
        if not request.response_nonce:
            return
        delivery = self._proxy.delivery(request.type_url)
        if request.error_detail is not None:
            delivery.nacked(request.response_nonce, request.error_detail.message)
        else:
            delivery.acked(request.response_nonce)

    def _subscribe(self, subscription: _Subscription, request: DeltaDiscoveryRequest, *, first: bool) -> None:
        wanted = set(request.resource_names_subscribe)
        if first and request.type_url in WILDCARD and not wanted:
            wanted = {"*"}
        subscription.names |= wanted
        subscription.names -= set(request.resource_names_unsubscribe)
        for name in request.resource_names_unsubscribe:
            subscription.known.pop(name, None)
        if not first:
            for name in wanted:
                subscription.known.pop(name, None)

    def _difference(self, kind: str, world: World, *, always: bool) -> DeltaDiscoveryResponse | None:
        subscription, found = self._subscriptions[kind], world.of(kind)
        names = set(found) if "*" in subscription.names else subscription.names
        changed = {
            name: found[name]
            for name in sorted(names)
            if name in found and subscription.known.get(name) != found[name].version
        }
        removed = [name for name in subscription.known if name not in found]
        if not (changed or removed or always):
            return None
        for name, encoded in changed.items():
            subscription.known[name] = encoded.version
        for name in removed:
            del subscription.known[name]
        if kind == CLUSTER and ENDPOINTS in self._subscriptions:
            for name in changed:
                self._subscriptions[ENDPOINTS].known.pop(name, None)
        nonce = str(next(self._nonces))
        content: dict[str, str | None] = dict.fromkeys(removed)
        content.update({name: encoded.version for name, encoded in changed.items()})
        version = world.version(kind)
        self._proxy.delivery(kind).sent(nonce=nonce, version=version, content=content)
        return DeltaDiscoveryResponse(
            system_version_info=version,
            resources=[
                Resource(name=name, version=encoded.version, resource=encoded.resource)
                for name, encoded in changed.items()
            ],
            removed_resources=removed,
            type_url=kind,
            nonce=nonce,
        )
