"""Both dialects of ADS against a proxy that behaves as Envoy does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from envoy_data_plane.envoy.service.discovery.v3 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from envoy_data_plane.google.protobuf import Any
from envoy_data_plane.google.rpc import Status
from hypothesis import given
from hypothesis import strategies as st

from mesh.xds.dialogue import Incremental, StateOfTheWorld
from mesh.xds.encoding import Encoded
from mesh.xds.kinds import CLUSTER, ENDPOINTS, LISTENER, ROUTES
from mesh.xds.registry import Proxy
from mesh.xds.world import World

UNKNOWN = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"


def world(**kinds: dict[str, str]) -> World:
    """A world of names and versions; a type's version is made from its content."""
    types = {"clusters": CLUSTER, "endpoints": ENDPOINTS, "listeners": LISTENER, "routes": ROUTES}
    resources = {
        types[kind]: {
            name: Encoded(name, version, Any(types[kind], version.encode()))
            for name, version in found.items()
        }
        for kind, found in kinds.items()
    }
    return World(
        resources,
        {kind: str(sorted((e.name, e.version) for e in found.values())) for kind, found in resources.items()},
    )


def proxy() -> Proxy:
    return Proxy("edge", "edge", "1.40.0", datetime.now(UTC))


def ack(response: DiscoveryResponse, *names: str) -> DiscoveryRequest:
    return DiscoveryRequest(
        type_url=response.type_url,
        version_info=response.version_info,
        response_nonce=response.nonce,
        resource_names=list(names),
    )


class TestStateOfTheWorld:
    def test_first_request_gets_everything_and_the_ack_gets_nothing(self) -> None:
        here = proxy()
        talk = StateOfTheWorld(here)
        now = world(clusters={"a": "1", "b": "1"})
        (response,) = talk.answer(DiscoveryRequest(type_url=CLUSTER), now)
        assert len(response.resources) == 2
        assert here.delivery(CLUSTER).acked_version == ""
        assert talk.answer(ack(response), now) == []
        assert here.delivery(CLUSTER).acked_version == response.version_info
        assert here.differing(CLUSTER, now) == []

    def test_second_request_with_the_same_nonce_is_answered(self) -> None:
        """A changed cluster warms for 15 s unless its load assignment comes once more."""
        talk = StateOfTheWorld(proxy())
        now = world(endpoints={"a": "1"})
        (response,) = talk.answer(DiscoveryRequest(type_url=ENDPOINTS, resource_names=["a"]), now)
        assert talk.answer(ack(response, "a"), now) == []
        (again,) = talk.answer(ack(response, "a"), now)
        assert [r.value for r in again.resources] == [b"1"]

    def test_stale_nonce_is_not_answered(self) -> None:
        talk = StateOfTheWorld(proxy())
        (first,) = talk.answer(DiscoveryRequest(type_url=CLUSTER), world(clusters={"a": "1"}))
        (second,) = talk.changed(world(clusters={"a": "2"}))
        assert talk.answer(ack(first), world(clusters={"a": "2"})) == []
        assert talk.answer(ack(second), world(clusters={"a": "2"})) == []

    def test_refusal_is_kept_and_not_repeated(self) -> None:
        here = proxy()
        talk = StateOfTheWorld(here)
        now = world(listeners={"l": "bad"})
        (response,) = talk.answer(DiscoveryRequest(type_url=LISTENER), now)
        refusal = ack(response)
        refusal.error_detail = Status(code=13, message="cannot bind")
        assert talk.answer(refusal, now) == []
        assert here.delivery(LISTENER).nack_message == "cannot bind"
        assert here.differing(LISTENER, now) == ["l"]
        assert talk.changed(now) == []

    def test_changed_names_are_a_new_subscription(self) -> None:
        talk = StateOfTheWorld(proxy())
        now = world(routes={"edge": "1", "other": "1"})
        (response,) = talk.answer(DiscoveryRequest(type_url=ROUTES, resource_names=["edge"]), now)
        assert len(response.resources) == 1
        (both,) = talk.answer(ack(response, "edge", "other"), now)
        assert len(both.resources) == 2

    def test_change_goes_out_in_order_and_only_what_changed(self) -> None:
        talk = StateOfTheWorld(proxy())
        old = world(clusters={"a": "1"}, endpoints={"a": "1"}, routes={"edge": "1"})
        for kind, names in ((ROUTES, ["edge"]), (CLUSTER, []), (ENDPOINTS, ["a"])):
            talk.answer(DiscoveryRequest(type_url=kind, resource_names=names), old)
        new = world(clusters={"a": "2"}, endpoints={"a": "1"}, routes={"edge": "2"})
        assert [r.type_url for r in talk.changed(new)] == [CLUSTER, ROUTES]

    def test_unknown_type_is_answered_with_nothing(self) -> None:
        talk = StateOfTheWorld(proxy())
        (response,) = talk.answer(DiscoveryRequest(type_url=UNKNOWN), world())
        assert response.resources == []


class DeltaProxy:
    """Holds what increments made of it, as Envoy would."""

    def __init__(self) -> None:
        self.record = proxy()
        self.talk = Incremental(self.record)
        self.held: dict[str, dict[str, bytes]] = {}
        self.log: list[tuple[str, list[str], list[str]]] = []

    def subscribe(self, now: World, kind: str, *names: str, initial: dict[str, str] | None = None) -> None:
        request = DeltaDiscoveryRequest(
            type_url=kind, resource_names_subscribe=list(names), initial_resource_versions=initial or {}
        )
        self.take(self.talk.answer(request, now), now)

    def change(self, now: World) -> None:
        self.take(self.talk.changed(now), now)

    def take(self, responses: list[DeltaDiscoveryResponse], now: World) -> None:
        for response in responses:
            held = self.held.setdefault(response.type_url, {})
            for resource in response.resources:
                assert resource.resource is not None
                held[resource.name] = resource.resource.value
            for name in response.removed_resources:
                held.pop(name, None)
            names = [r.name for r in response.resources]
            self.log.append((response.type_url, names, list(response.removed_resources)))
            ok = DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
            assert self.talk.answer(ok, now) == []


class TestIncremental:
    def test_only_differences_go_out(self) -> None:
        edge = DeltaProxy()
        edge.subscribe(world(clusters={"a": "1", "b": "1"}), CLUSTER)
        edge.change(world(clusters={"a": "1", "b": "2", "c": "1"}))
        edge.change(world(clusters={"b": "2", "c": "1"}))
        edge.change(world(clusters={"b": "2", "c": "1"}))
        assert edge.log == [(CLUSTER, ["a", "b"], []), (CLUSTER, ["b", "c"], []), (CLUSTER, [], ["a"])]

    def test_load_assignment_follows_a_changed_cluster(self) -> None:
        edge = DeltaProxy()
        now = world(clusters={"a": "1", "b": "1"}, endpoints={"a": "1", "b": "1"})
        edge.subscribe(now, CLUSTER)
        edge.subscribe(now, ENDPOINTS, "a", "b")
        edge.log.clear()
        edge.change(world(clusters={"a": "2", "b": "1"}, endpoints={"a": "1", "b": "1"}))
        assert edge.log == [(CLUSTER, ["a"], []), (ENDPOINTS, ["a"], [])]

    def test_proxy_that_comes_back_with_all_it_needs_is_sent_nothing(self) -> None:
        """The control plane returned: equal content, equal versions, nothing is cut."""
        edge = DeltaProxy()
        now = world(clusters={"a": "1"}, listeners={"l": "1"})
        edge.subscribe(now, CLUSTER, initial={"a": "1"})
        edge.subscribe(now, LISTENER, initial={"l": "1"})
        assert edge.log == [(CLUSTER, [], []), (LISTENER, [], [])]
        assert edge.record.differing(CLUSTER, now) == []

    def test_unsubscribed_resources_are_not_sent(self) -> None:
        edge = DeltaProxy()
        now = world(endpoints={"a": "1", "b": "1"})
        edge.subscribe(now, ENDPOINTS, "a", "b")
        request = DeltaDiscoveryRequest(type_url=ENDPOINTS, resource_names_unsubscribe=["b"])
        assert edge.talk.answer(request, now) == []
        edge.log.clear()
        edge.change(world(endpoints={"a": "2", "b": "2"}))
        assert edge.log == [(ENDPOINTS, ["a"], [])]

    @given(
        st.lists(
            st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"), max_size=4),
            min_size=1,
            max_size=8,
        )
    )
    def test_whatever_happens_the_proxy_holds_the_world(self, worlds: list[dict[str, str]]) -> None:
        edge = DeltaProxy()
        first = world(clusters=worlds[0], endpoints=worlds[0])
        edge.subscribe(first, CLUSTER)
        edge.subscribe(first, ENDPOINTS, *"abcd")
        for names in worlds[1:]:
            now = world(clusters=names, endpoints=dict(reversed(names.items())))
            edge.change(now)
            for kind in (CLUSTER, ENDPOINTS):
                assert edge.held[kind] == {name: version.encode() for name, version in names.items()}
                assert edge.record.differing(kind, now) == []


@pytest.mark.parametrize("streams", [1, 2])
def test_registry_counts_streams(streams: int) -> None:
    from mesh.xds.registry import Registry

    registry = Registry()
    opened = [registry.opened(id="edge", cluster="edge", version="1") for _ in range(streams)]
    assert [p.connected for p in registry.proxies()] == [True]
    for one in opened:
        assert next(iter(registry.proxies())).connected
        registry.closed(one)
    assert [p.connected for p in registry.proxies()] == [False]
