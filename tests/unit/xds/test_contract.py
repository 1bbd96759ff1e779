"""What the edge reads from the contracts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from soma.options.v1 import options_pb2

from mesh.envoy.contract import Binding, Contract, ContractError, read_contract
from mesh.xds.encoding import Encoder
from mesh.xds.world import build_world
from tests.unit.xds.snapshots import SNAPSHOT

DESCRIPTORS = (Path(__file__).parents[3] / "gen" / "descriptors" / "soma.binpb").read_bytes()


@pytest.fixture(scope="module")
def contract() -> Contract:
    return read_contract(DESCRIPTORS)


def test_no_method_for_workloads_is_exposed(contract: Contract) -> None:
    paths = {method.path for method in contract.methods}
    assert "/soma.identity.v1.Trust/WatchTrust" not in paths
    assert not [path for path in paths if path.startswith("/soma.mesh.")]
    assert "/soma.orchestrator.v1.Turns/StreamTurn" in paths


def test_every_exposed_method_needs_a_scope_or_is_public(contract: Contract) -> None:
    for method in contract.methods:
        assert method.public != bool(method.scope), method.path


def test_every_method_is_mapped_to_json_at_its_grpc_path(contract: Contract) -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(contract.descriptors)
    mapped = set()
    for file in files.file:
        for service in file.service:
            for method in service.method:
                rule = method.options.Extensions[annotations_pb2.http]
                mapped |= {one.post for one in (rule, *rule.additional_bindings)}
    assert {method.path for method in contract.methods} <= mapped


def test_no_two_bindings_hide_each_other(contract: Contract) -> None:
    """Each template, with plain values for its variables, matches no other pattern of its verb."""
    bindings = [binding for method in contract.methods for binding in method.bindings]
    for one in bindings:
        path = re.sub(r"\{[^}]+\}", "value", one.template)
        found = [b.template for b in bindings if b.verb == one.verb and re.fullmatch(b.pattern, path)]
        if one.exact:
            assert one.template in found
        else:
            assert found == [one.template]


@pytest.mark.parametrize(
    ("template", "matches", "other"),
    [
        ("/v1/sessions", ["/v1/sessions"], ["/v1/sessions/", "/v1/sessionsx"]),
        (
            "/v1/sessions/{id}",
            ["/v1/sessions/ses_1"],
            ["/v1/sessions/a/b", "/v1/sessions/a:b", "/v1/sessions/"],
        ),
        (
            "/v1/s/{a}/turns/{b}:stream",
            ["/v1/s/1/turns/2:stream"],
            ["/v1/s/1/turns/2", "/v1/s/1/turns/:stream"],
        ),
        ("/v1/x.json", ["/v1/x.json"], ["/v1/xyjson"]),
    ],
)
def test_pattern_of_a_template(template: str, matches: list[str], other: list[str]) -> None:
    pattern = Binding("GET", template, "").pattern
    assert all(re.fullmatch(pattern, path) for path in matches)
    assert not any(re.fullmatch(pattern, path) for path in other)


def test_shapes_name_what_json_may_hold(contract: Contract) -> None:
    turn = contract.shapes["soma.orchestrator.v1.CreateTurnRequest"]
    assert turn["input"] == "soma.orchestrator.v1.TurnInput"
    assert turn["session_id"] == turn["sessionId"] == "s"
    assert contract.shapes["soma.orchestrator.v1.TurnInput"]["history"] == "[soma.orchestrator.v1.Message"
    assert contract.shapes["soma.orchestrator.v1.Message"]["role"] == "e"
    document = contract.shapes["soma.memory.v1.IngestDocumentRequest"]
    assert (document["labels"], document["content"]) == ("{s", "s")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (options_pb2.MethodPolicy(), "does not say who may call it"),
        (options_pb2.MethodPolicy(access=options_pb2.ACCESS_TOKEN), "names no scope"),
    ],
)
def test_method_without_annotations_is_refused(policy: options_pb2.MethodPolicy, words: str) -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS)
    file = next(f for f in files.file if f.package == "soma.orchestrator.v1" and f.service)
    options = file.service[0].method[0].options
    options.ClearExtension(options_pb2.method)
    options.Extensions[options_pb2.method].CopyFrom(policy)
    with pytest.raises(ContractError, match=words):
        read_contract(files.SerializeToString())


def test_whole_contract_encodes(contract: Contract) -> None:
    from dataclasses import replace

    world = build_world(replace(SNAPSHOT, contract=contract), Encoder())
    assert set(world.of(next(k for k in world.resources if k.endswith("RouteConfiguration")))) == {"edge"}
