"""What a fixed snapshot becomes, resource type by resource type."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration

from mesh.envoy.bootstrap import bootstrap, secret_files
from mesh.envoy.clusters import clusters, load_assignments
from mesh.envoy.listeners import listeners
from mesh.envoy.routes import route_configurations
from mesh.envoy.scripts import body_check_source
from mesh.envoy.secrets import secrets
from mesh.envoy.snapshot import Address, Snapshot
from mesh.envoy.typed import Resource
from mesh.xds.encoded_store import EncodedStore
from mesh.xds.encoding import Encoder
from mesh.xds.kinds import ROUTES
from mesh.xds.world import build_world
from tests.support.golden import Golden
from tests.unit.xds.snapshots import CONTRACT, SNAPSHOT

MAKERS: dict[str, Callable[[Snapshot], list[Resource]]] = {
    "clusters": clusters,
    "endpoints": load_assignments,
    "secrets": secrets,
    "listeners": lambda snapshot: listeners(snapshot)[1:],
    "routes": route_configurations,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_resources(golden: Golden, kind: str) -> None:
    made = MAKERS[kind](SNAPSHOT)
    golden.check(f"xds/{kind}.json", json.dumps(made, indent=1, sort_keys=True) + "\n")


def test_both_listeners_have_the_same_filters() -> None:
    http, tls = (one["filter_chains"][0]["filters"][0]["typed_config"] for one in listeners(SNAPSHOT))
    assert {**http, "stat_prefix": ""} == {**tls, "stat_prefix": ""}


def test_bootstrap(golden: Golden) -> None:
    folder = Path("/var/lib/soma/run/envoy")
    made = bootstrap(
        folder=folder, control_plane=Address("127.0.0.1", 18015), admin=Address("127.0.0.1", 18002)
    )
    files = {"bootstrap.json": made, **secret_files(Path("/var/lib/soma/pki/edge"))}
    golden.check("xds/bootstrap.json", json.dumps(files, indent=1, sort_keys=True) + "\n")


def test_body_check_table(golden: Golden) -> None:
    table = body_check_source(CONTRACT).split("-- Walks", maxsplit=1)[0]
    golden.check("xds/body_check_table.lua", table)


def test_equal_snapshots_have_equal_versions() -> None:
    first, second = build_world(SNAPSHOT, Encoder()), build_world(replace(SNAPSHOT), Encoder())
    assert first.versions == second.versions


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"revoked": ("tok_1",)}, {"RouteConfiguration"}),
        ({"canary_percent": ()}, {"RouteConfiguration"}),
        ({"endpoints": SNAPSHOT.endpoints[:1]}, {"ClusterLoadAssignment", "RouteConfiguration"}),
        ({"endpoints": SNAPSHOT.endpoints[:-1]}, set()),
        ({"credentials": replace(SNAPSHOT.credentials, chain_pem=b"new", key_pem=b"new")}, {"Secret"}),
    ],
    ids=["revocation", "shift", "canary leaves", "worker leaves", "rotation"],
)
def test_what_changes_often_is_no_listener(change: dict[str, object], kinds: set[str]) -> None:
    encoder = Encoder()
    before = build_world(SNAPSHOT, encoder)
    after = build_world(replace(SNAPSHOT, **change), encoder)  # type: ignore[arg-type]  # fields of the table
    changed = {k.rsplit(".", 1)[-1] for k in before.versions if before.version(k) != after.version(k)}
    assert changed == kinds


def test_unchanged_resources_are_not_encoded_again() -> None:
    encoder = Encoder()
    before = build_world(SNAPSHOT, encoder)
    after = build_world(replace(SNAPSHOT, revoked=()), encoder)
    for kind, resources in before.resources.items():
        for name, encoded in resources.items():
            if kind != ROUTES:
                assert after.of(kind)[name] is encoded


def test_next_run_finds_what_this_one_encoded_but_no_secret(tmp_path: Path) -> None:
    store = EncodedStore(tmp_path)
    first = build_world(SNAPSHOT, Encoder(store))
    kept = {path.name.split("-")[0] for path in tmp_path.rglob("*-*") if path.is_file()}
    assert kept == {"cluster", "clusterloadassignment", "listener", "routeconfiguration"}
    again = Encoder(EncodedStore(tmp_path))
    assert build_world(SNAPSHOT, again) == first
    changed = replace(SNAPSHOT, revoked=())
    assert build_world(changed, again).of(ROUTES) != first.of(ROUTES)
    assert len(list(tmp_path.rglob("routeconfiguration-*"))) == 1


def test_store_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    world = build_world(SNAPSHOT, Encoder(EncodedStore(tmp_path / "file")))
    assert world == build_world(SNAPSHOT, Encoder())


def test_routes_put_together_from_parts_are_the_whole() -> None:
    resource = route_configurations(SNAPSHOT)[0]
    encoded = build_world(SNAPSHOT, Encoder()).of(ROUTES)["edge"].resource.value
    assert RouteConfiguration.parse(encoded).to_dict() == RouteConfiguration.from_dict(resource).to_dict()


def test_canary_has_no_share_before_it_is_there() -> None:
    without = replace(SNAPSHOT, endpoints=SNAPSHOT.endpoints[:2])
    assert SNAPSHOT.canary_share("orchestrator") == 10
    assert without.canary_share("orchestrator") == 0
    assert "weighted_clusters" not in json.dumps(route_configurations(without))


def test_private_key_stands_in_the_secret_only() -> None:
    named = replace(SNAPSHOT, credentials=replace(SNAPSHOT.credentials, key_pem=b"very private"))
    for kind, make in MAKERS.items():
        text = json.dumps(make(named))
        assert ("dmVyeSBwcml2YXRl" in text) == (kind == "secrets")
