"""Annotations as the runtime reads them."""

from typing import Any

import grpc_health.v1.health_pb2
import pytest
import soma.orchestrator.v1.service_pb2  # its descriptors are looked up by name
from google.protobuf import descriptor_pool
from soma.options.v1 import options_pb2

from mesh.runtime.contract import (
    idempotent_by_path,
    method_by_path,
    sensitive_fields,
    service_contracts,
    tenants_named,
)
from mesh.runtime.errors import ConfigurationError
from tests.support.echo.contract import SERVICE, modules

pb, _ = modules()


def test_a_method_says_who_may_call_it_and_what_a_repeat_does() -> None:
    say = service_contracts(SERVICE)["Say"]
    assert (say.access, say.scope) == (options_pb2.ACCESS_TOKEN, "echo.write")
    assert say.takes_request_id
    assert say.idempotent
    assert say.validated


def test_methods_without_rules_need_no_validator() -> None:
    assert not service_contracts(SERVICE)["Hear"].validated


@pytest.mark.parametrize(
    ("request_", "agrees"),
    [
        (pb.SayRequest(), True),
        (pb.SayRequest(tenant="a", parts=[pb.Part(tenant="a"), pb.Part()]), True),
        (pb.SayRequest(tenant="b"), False),
        (pb.SayRequest(tenant="a", parts=[pb.Part(), pb.Part(tenant="a"), pb.Part(tenant="b")]), False),
    ],
)
def test_every_tenant_that_a_request_names_is_compared(request_: Any, agrees: bool) -> None:
    named = tenants_named(service_contracts(SERVICE)["Say"].tenant_fields)
    assert named(request_, "a") is agrees


def test_sensitive_fields_are_known_by_name() -> None:
    assert sensitive_fields(pb.SayRequest.DESCRIPTOR) == {"password"}


@pytest.mark.parametrize("path", ["/no.such.Service/M", "/grpc.health.v1.Health/Check", "nonsense"])
def test_what_is_not_ours_has_no_contract(path: str) -> None:
    assert method_by_path(path) is None
    assert not idempotent_by_path(path)


def test_a_service_without_annotations_is_refused() -> None:
    assert grpc_health.v1.health_pb2.DESCRIPTOR
    with pytest.raises(ConfigurationError, match="lacks"):
        service_contracts("grpc.health.v1.Health")
    with pytest.raises(ConfigurationError, match="no descriptor"):
        service_contracts("no.such.Service")


def test_every_method_of_the_product_is_annotated() -> None:
    file = descriptor_pool.Default().FindFileByName("soma/orchestrator/v1/service.proto")
    assert soma.orchestrator.v1.service_pb2.DESCRIPTOR.name == file.name
    for service in file.services_by_name.values():
        assert service_contracts(service.full_name)
