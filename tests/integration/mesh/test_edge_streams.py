"""Streams at the edge: long ones go on whatever the control plane does."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from google.protobuf import duration_pb2
from soma.mesh.v1 import service_pb2 as mesh_pb2
from soma.mesh.v1 import service_pb2_grpc as mesh_grpc
from soma.orchestrator.v1 import service_pb2, service_pb2_grpc

from mesh.pki.folder import PkiFolder
from mesh.pki.workloads import workload
from tests.integration.mesh.conftest import MEMBERS, Edge

CANARY = ("orchestrator-canary", "orchestrator", "canary", 40)


async def test_events_arrive_one_by_one_as_server_sent_events(edge: Edge) -> None:
    token = edge.issuer.token("turns.create")
    url = f"{edge.real.url}/v1/sessions/ses_1/turns:stream"
    loop = asyncio.get_running_loop()
    times = []
    async with edge.http.post(
        url, json={"input": {"text": "4 0.2"}}, headers={"authorization": f"Bearer {token}"}
    ) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        events = []
        async for line in answer.content:
            if line.startswith(b"data: "):
                events.append(json.loads(line[6:]))
                times.append(loop.time())
    assert [event["seq"] for event in events] == ["0", "1", "2", "3", "4"]
    assert "completed" in events[-1]
    assert times[3] - times[0] > 0.5


async def test_client_that_leaves_ends_the_call_upstream(edge: Edge) -> None:
    turns = edge.upstreams.turns["orchestrator"]
    before = turns.ended
    token = edge.issuer.token("turns.create")
    url = f"{edge.real.url}/v1/sessions/ses_1/turns:stream"
    async with edge.http.post(
        url, json={"input": {"text": "100 0.1"}}, headers={"authorization": f"Bearer {token}"}
    ) as answer:
        await answer.content.readline()
    for _ in range(40):
        if turns.ended > before:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the upstream call goes on")


async def test_control_plane_dies_and_returns_and_nothing_is_cut(edge: Edge) -> None:
    streams = [asyncio.create_task(_stream(edge, 60, 0.1)) for _ in range(4)]
    probe = asyncio.create_task(_unary_until(edge, streams))
    await asyncio.sleep(1)
    edge.real.kill("xds")
    await asyncio.sleep(1)
    edge.real.start_control_plane()
    await _until_connected(edge)
    assert [await stream for stream in streams] == [list(range(61))] * 4
    calls, errors = await probe
    assert calls > 20
    assert errors == []


async def test_certificates_rotate_in_flight(edge: Edge) -> None:
    before = await asyncio.to_thread(_serial, edge)
    streams = [asyncio.create_task(_stream(edge, 50, 0.1)) for _ in range(4)]
    probe = asyncio.create_task(_unary_until(edge, streams))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(PkiFolder(edge.real.home / "pki").rotate, [workload("edge"), workload("xds")])
    for _ in range(50):
        after = await asyncio.to_thread(_serial, edge)
        if after != before:
            break
        await asyncio.sleep(0.1)
    assert after != before
    assert [await stream for stream in streams] == [list(range(51))] * 4
    assert (await probe)[1] == []


@pytest.fixture
async def canary(edge: Edge) -> AsyncIterator[None]:
    """A canary of the orchestrator; gone afterwards."""
    await edge.upstreams.start(CANARY[0], CANARY[1], edge.real.address(CANARY[3]))
    edge.real.members([*MEMBERS, CANARY])
    yield
    edge.real.members(MEMBERS)
    await edge.upstreams.stop(CANARY[0])


@pytest.mark.usefixtures("canary")
async def test_canary_takes_its_share_and_gives_it_back_without_an_error(edge: Edge) -> None:
    async with edge.channel_as("operator", "xds", 15) as channel:
        operators = mesh_grpc.ControlPlaneStub(channel)
        streams = [asyncio.create_task(_stream(edge, 60, 0.1)) for _ in range(4)]
        probe = asyncio.create_task(_unary_until(edge, streams))
        await _until_canary_is_known(operators)
        assert set(await _served_by(edge, 50)) == {"orchestrator"}
        await operators.ShiftTraffic(mesh_pb2.ShiftTrafficRequest(service="orchestrator", canary_percent=30))
        await _until_in_step(operators)
        shared = await _served_by(edge, 400)
        assert 60 < shared["orchestrator-canary"] < 190
        status = await operators.GetMeshStatus(mesh_pb2.GetMeshStatusRequest())
        assert ("orchestrator", 30) in [(s.service, s.canary_percent) for s in status.splits]
        edge.real.kill("xds")
        edge.real.start_control_plane()
        await _until_connected(edge)
        assert (await _served_by(edge, 400))["orchestrator-canary"] > 60
    async with edge.channel_as("operator", "xds", 15) as channel:
        operators = mesh_grpc.ControlPlaneStub(channel)
        split = await operators.RollbackTraffic(mesh_pb2.RollbackTrafficRequest(service="orchestrator"))
        assert split.canary_percent == 0
        await _until_in_step(operators)
        assert set(await _served_by(edge, 100)) == {"orchestrator"}
    assert [await stream for stream in streams] == [list(range(61))] * 4
    assert (await probe)[1] == []


async def test_dead_endpoint_is_left_out(edge: Edge) -> None:
    second = ("orchestrator-2", "orchestrator", "stable", 40)
    await edge.upstreams.start(second[0], second[1], edge.real.address(second[3]))
    edge.real.members([*MEMBERS, second])
    for _ in range(100):
        if "orchestrator-2" in await _served_by(edge, 20):
            break
        await asyncio.sleep(0.1)
    await edge.upstreams.stop(second[0])
    served = await _served_by(edge, 100)
    assert served == {"orchestrator": 100}
    edge.real.members(MEMBERS)


async def test_drained_process_ends_in_order_while_traffic_goes_on(edge: Edge) -> None:
    streams = [asyncio.create_task(_stream(edge, 40, 0.1)) for _ in range(2)]
    async with edge.channel_as("operator", "xds", 15) as channel:
        request = mesh_pb2.DrainProcessRequest(process="xds", grace=duration_pb2.Duration(seconds=1))
        answer = await mesh_grpc.ControlPlaneStub(channel).DrainProcess(request)
    # At least the edge's own stream and this call.
    assert answer.in_flight >= 2
    assert await asyncio.to_thread(edge.real.ended, "xds", seconds=10) == 0
    edge.real.start_control_plane()
    await _until_connected(edge)
    assert [await stream for stream in streams] == [list(range(41))] * 2


async def test_proxy_took_everything_and_differs_in_nothing(edge: Edge) -> None:
    async with edge.channel_as("operator", "xds", 15) as channel:
        answer = await mesh_grpc.ControlPlaneStub(channel).ListProxies(mesh_pb2.ListProxiesRequest())
    proxy = next(p for p in answer.proxies if p.id == "edge")
    assert proxy.connected
    types = {r.type: r for r in proxy.resources}
    assert set(types) == {"Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "Secret"}
    for resource in proxy.resources:
        assert resource.nack_message == ""
        assert list(resource.differing) == []


async def _stream(edge: Edge, count: int, pause: float) -> list[int]:
    stub = service_pb2_grpc.TurnsStub(edge.channel)
    request = service_pb2.StreamTurnRequest(session_id="ses_1")
    request.input.text = f"{count} {pause}"
    metadata = (("authorization", f"Bearer {edge.issuer.token('turns.create')}"),)
    return [event.seq async for event in stub.StreamTurn(request, metadata=metadata)]


async def _unary_until(edge: Edge, tasks: list[asyncio.Task[list[int]]]) -> tuple[int, list[str]]:
    token, calls, errors = edge.issuer.token("sessions.read"), 0, []
    while not all(task.done() for task in tasks):
        answer = await edge.call("GET", "/v1/sessions/ses_1", token=token)
        calls += 1
        if answer.status != 200:
            errors.append(str(answer))
        await asyncio.sleep(0.03)
    return calls, errors


async def _served_by(edge: Edge, count: int) -> Counter[str]:
    token = edge.issuer.token("sessions.read")
    answers = [await edge.call("GET", "/v1/sessions/ses_1", token=token) for _ in range(count)]
    return Counter(answer.body["display_name"] for answer in answers)


async def _until_canary_is_known(operators: mesh_grpc.ControlPlaneStub) -> None:
    for _ in range(50):
        status = await operators.GetMeshStatus(mesh_pb2.GetMeshStatusRequest())
        if any(p.process == CANARY[0] for p in status.processes):
            return
        await asyncio.sleep(0.1)
    pytest.fail("the canary is not known")


async def _until_in_step(operators: mesh_grpc.ControlPlaneStub) -> None:
    """Wait until the edge took the newest routes, and its workers have them."""
    async with asyncio.timeout(30):
        await asyncio.sleep(0.5)
        while True:
            answer = await operators.ListProxies(mesh_pb2.ListProxiesRequest())
            if all(not r.differing for p in answer.proxies if p.connected for r in p.resources):
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)


async def _until_connected(edge: Edge) -> None:
    async with asyncio.timeout(120):
        while not await _connected(edge):  # noqa: ASYNC110 - another process says it only when asked
            await asyncio.sleep(0.1)


async def _connected(edge: Edge) -> bool:
    async with edge.channel_as("operator", "xds", 15) as channel:
        try:
            answer = await mesh_grpc.ControlPlaneStub(channel).ListProxies(mesh_pb2.ListProxiesRequest())
        except grpc.aio.AioRpcError:
            return False
    return any(p.connected and len(p.resources) == 5 for p in answer.proxies)


def _serial(edge: Edge) -> str:
    context = ssl.create_default_context(cadata=edge.real.ca.decode())
    host, port = edge.real.tls.split(":")
    with (
        socket.create_connection((host, int(port))) as raw,
        context.wrap_socket(raw, server_hostname=host) as tls,
    ):
        found = tls.getpeercert()
        assert found is not None
        return str(found["serialNumber"])
