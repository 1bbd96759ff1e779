"""Who may talk to the control plane, and what operators see and do."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from google.protobuf import duration_pb2
from soma.mesh.v1 import service_pb2, service_pb2_grpc

from mesh.pki.files import read_identity
from mesh.runtime.status import read
from tests.integration.mesh.conftest import Edge

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"


@pytest.mark.parametrize("caller", ["orchestrator", "operator", "gateway"])
async def test_only_the_edge_gets_configuration(edge: Edge, caller: str) -> None:
    async with edge.channel_as(caller, "xds", 15) as channel:
        call = channel.stream_stream(ADS)()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert read(caught.value).reason == "WORKLOAD_DENIED"


@pytest.mark.parametrize("caller", ["edge", "orchestrator", "gateway"])
async def test_only_operators_operate(edge: Edge, caller: str) -> None:
    async with edge.channel_as(caller, "xds", 15) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service_pb2_grpc.ControlPlaneStub(channel).ListProxies(service_pb2.ListProxiesRequest())
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_nobody_without_a_certificate(edge: Edge) -> None:
    credentials = grpc.ssl_channel_credentials(edge.real.ca)
    options = (("grpc.ssl_target_name_override", "xds.soma"),)
    async with grpc.aio.secure_channel(edge.real.address(15), credentials, options=options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service_pb2_grpc.ControlPlaneStub(channel).ListProxies(service_pb2.ListProxiesRequest())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_status_tells_processes_callers_and_who_does_not_answer(edge: Edge) -> None:
    async with _operator(edge) as channel:
        stub = service_pb2_grpc.ControlPlaneStub(channel)
        await stub.ListProxies(service_pb2.ListProxiesRequest())
        status = await stub.GetMeshStatus(service_pb2.GetMeshStatusRequest())
    processes = {p.process: p for p in status.processes}
    own = processes["xds"]
    assert own.reachable
    assert own.ready
    assert own.certificate.spiffe_id == "spiffe://soma/xds"
    calls = {(c.caller, c.method) for c in own.calls}
    assert ("operator", "soma.mesh.v1.ControlPlane/ListProxies") in calls
    # The test's upstreams serve no introspection.
    assert not processes["memory"].reachable
    assert "UNIMPLEMENTED" in processes["memory"].message


async def test_certificates_are_listed_and_rotated(edge: Edge) -> None:
    async with _operator(edge) as channel:
        stub = service_pb2_grpc.ControlPlaneStub(channel)
        before = await stub.ListCertificates(service_pb2.ListCertificatesRequest())
        names = {c.spiffe_id for c in before.certificates}
        assert {"spiffe://soma/edge", "spiffe://soma/operator", "SomaAgent root"} <= names
        rotated = await stub.RotateCertificates(service_pb2.RotateCertificatesRequest(workloads=["audit"]))
        assert [c.spiffe_id for c in rotated.certificates] == ["spiffe://soma/audit"]
        old = next(c for c in before.certificates if c.spiffe_id == "spiffe://soma/audit")
        assert rotated.certificates[0].serial != old.serial
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.RotateCertificates(service_pb2.RotateCertificatesRequest(workloads=["nosuch"]))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    folder = edge.real.home / "pki" / "audit"
    assert f"{read_identity(folder).certificate.serial_number:x}" == rotated.certificates[0].serial


async def test_shift_needs_a_service_and_its_canary(edge: Edge) -> None:
    async with _operator(edge) as channel:
        stub = service_pb2_grpc.ControlPlaneStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as nobody:
            await stub.ShiftTraffic(service_pb2.ShiftTrafficRequest(service="nosuch", canary_percent=1))
        assert nobody.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as alone:
            await stub.ShiftTraffic(service_pb2.ShiftTrafficRequest(service="memory", canary_percent=1))
        assert alone.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        with pytest.raises(grpc.aio.AioRpcError) as much:
            await stub.ShiftTraffic(service_pb2.ShiftTrafficRequest(service="memory", canary_percent=101))
        assert much.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_tap_shows_live_calls(edge: Edge) -> None:
    async with _operator(edge) as channel:
        stub = service_pb2_grpc.ControlPlaneStub(channel)
        tap = stub.TapMesh(
            service_pb2.TapMeshRequest(processes=["xds"], method_prefix="soma.mesh.v1.ControlPlane/List")
        )
        waiting = asyncio.ensure_future(tap.read())
        for _ in range(50):
            await stub.ListProxies(service_pb2.ListProxiesRequest())
            if waiting.done():
                break
            await asyncio.sleep(0.1)
        record = await waiting
        tap.cancel()
    assert (record.process, record.caller, record.code) == ("xds", "operator", "OK")
    assert record.method.endswith("ControlPlane/ListProxies")


async def test_process_that_does_not_answer_is_not_drained(edge: Edge) -> None:
    async with _operator(edge) as channel:
        stub = service_pb2_grpc.ControlPlaneStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.DrainProcess(
                service_pb2.DrainProcessRequest(process="memory", grace=duration_pb2.Duration(seconds=1))
            )
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.DrainProcess(service_pb2.DrainProcessRequest(process="nosuch"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


def _operator(edge: Edge) -> grpc.aio.Channel:
    return edge.channel_as("operator", "xds", 15)
