"""The mesh policy: unlisted is refused, whatever the form of the file."""

from dataclasses import replace
from pathlib import Path

import pytest
from soma.options.v1 import options_pb2

from mesh.runtime.authorization import Authorization
from mesh.runtime.contract import service_contracts
from mesh.runtime.errors import ConfigurationError
from mesh.runtime.interceptors.workload import workload_of
from tests.support.echo.contract import SERVICE, modules

modules()
SAY = service_contracts(SERVICE)["Say"]
RELAY = service_contracts(SERVICE)["Relay"]


def test_callers_of_a_service_and_of_a_method_add_up() -> None:
    policy = Authorization.parse(
        f"""
        [[allow]]
        callers = ["gateway"]
        methods = ["{SERVICE}/*"]
        [[allow]]
        callers = ["memory"]
        methods = ["{SERVICE}/Say"]
        """
    )
    assert policy.callers_of(SAY) == {"gateway", "memory"}
    assert policy.callers_of(RELAY) == {"gateway"}


def test_an_absent_file_allows_nobody(tmp_path: Path) -> None:
    assert Authorization.load(tmp_path / "absent.toml").callers_of(SAY) == frozenset()


def test_the_edge_never_reaches_a_method_for_workloads() -> None:
    policy = Authorization.parse(f'[[allow]]\ncallers = ["edge", "orchestrator"]\nmethods = ["{SERVICE}/*"]')
    assert policy.callers_of(RELAY) == {"orchestrator"}
    assert policy.callers_of(SAY) == {"edge", "orchestrator"}


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("grpc.health.v1.Health", None),
        ("grpc.reflection.v1alpha.ServerReflection", None),
        ("grpc.channelz.v1.Channelz", {"operator", "supervisor", "xds"}),
    ],
)
def test_grpcs_own_services_have_their_rule(service: str, expected: set[str] | None) -> None:
    contract = replace(SAY, service=service, access=options_pb2.ACCESS_PUBLIC)
    assert Authorization({}).callers_of(contract) == expected


@pytest.mark.parametrize(
    "text",
    [
        '[[allow]]\ncallers = ["a"]\nmethods = ["*"]',
        '[[allow]]\ncallers = ["a"]\nmethods = ["soma.*/x"]',
        '[[allow]]\ncallers = ["a"]\nmethods = ["soma.S/"]',
        '[[allow]]\nmethods = ["soma.S/*"]',
        '[[allow]]\ncallers = ["a"]\nmethods = ["soma.S/*"]\nexcept = ["b"]',
        "[[deny]]\ncallers = []",
        "not toml",
    ],
)
def test_a_malformed_policy_stops_the_process(text: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError):
        Authorization.load(file)


@pytest.mark.parametrize(
    ("names", "workload"),
    [
        ((b"spiffe://soma/gateway", b"gateway.soma"), "gateway"),
        ((b"gateway.soma",), None),
        ((b"spiffe://other/gateway",), None),
        ((b"spiffe://soma/gateway", b"spiffe://soma/operator"), None),
        ((b"spiffe://soma/gateway", b"spiffe://other/x"), None),
        ((b"spiffe://soma/",), None),
        ((), None),
    ],
)
def test_a_caller_is_known_by_exactly_one_spiffe_id(names: tuple[bytes, ...], workload: str | None) -> None:
    assert workload_of(names) == workload
