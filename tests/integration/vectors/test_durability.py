"""What the vector server keeps, and whom it lets in."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from qdrant_client import AsyncQdrantClient, models

from tests.integration.vectors.server import KEY, Server

PARAMS = models.VectorParams(size=4, distance=models.Distance.COSINE)


def point(number: int) -> models.PointStruct:
    return models.PointStruct(id=number, vector=[1.0, number % 7, number % 5, 1.0], payload={"n": number})


async def test_nothing_that_was_answered_is_lost_by_kill_9(server: Server) -> None:
    acknowledged: set[int] = set()

    async def write(client: AsyncQdrantClient) -> None:
        for number in range(100_000):
            await client.upsert("c", [point(number + 1_000_000 * len(rounds))])
            acknowledged.add(number + 1_000_000 * len(rounds))

    rounds: list[int] = []
    for _ in range(3):
        async with server.client() as client:
            if not await client.collection_exists("c"):
                await client.create_collection("c", vectors_config=PARAMS)
                await client.create_payload_index("c", "n", models.PayloadSchemaType.INTEGER)
            writing = asyncio.ensure_future(write(client))
            await asyncio.sleep(0.4)
            await server.kill()
            with pytest.raises(grpc.aio.AioRpcError):
                await writing
        rounds.append(len(acknowledged))
        await server.start()
        async with server.client() as client:
            found: set[Any] = set()
            offset: Any = None
            while True:
                rows, offset = await client.scroll("c", limit=1000, offset=offset)
                found |= {row.id for row in rows if row.payload == {"n": row.id}}
                if offset is None:
                    break
            assert acknowledged <= found
            assert "n" in (await client.get_collection("c")).payload_schema
    assert rounds[0] > 10


async def test_an_order_to_stop_loses_nothing_and_ends_with_0(server: Server) -> None:
    async with server.client() as client:
        await client.create_collection("c", vectors_config=PARAMS)
        await client.upsert("c", [point(number) for number in range(200)])
        await client.delete_collection("d")
    assert await server.stop() == 0
    await server.start()
    async with server.client() as client:
        assert (await client.count("c")).count == 200


async def test_a_create_that_a_crash_cut_off_never_was(server: Server) -> None:
    await server.stop()
    (server.data / "half" / "shard").mkdir(parents=True)
    await server.start()
    async with server.client() as client:
        assert (await client.get_collections()).collections == []
    assert not (server.data / "half").exists()


async def test_a_second_server_on_the_folder_is_refused_and_the_first_unharmed(server: Server) -> None:
    async with server.client() as client:
        await client.create_collection("c", vectors_config=PARAMS)
        await client.upsert("c", [point(1)])
        second = await server.spawn(server.port + 1)
        assert "another process serves" in await server.said(second)
        assert second.returncode == 1
        await client.upsert("c", [point(2)])
    assert await server.stop() == 0
    await server.start()
    async with server.client() as client:
        assert (await client.count("c")).count == 2


async def test_a_taken_port_ends_the_start_with_one_line(server: Server) -> None:
    other = Server(data=server.data.parent / "other", port=server.port)
    process = await other.spawn(server.port)
    said = await other.said(process)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{server.port}" in said


@pytest.mark.parametrize("listen", ["0.0.0.0:26999", "10.0.0.1:26999", "127.0.0.1", "localhost:1"])
async def test_only_loopback_addresses_are_listened_on(server: Server, listen: str) -> None:
    process = await server.spawn(0, listen=listen)
    assert "loopback" in await server.said(process)
    assert process.returncode == 2


async def test_no_key_no_start(server: Server) -> None:
    process = await server.spawn(server.port + 1, key="")
    assert "no API key" in await server.said(process)
    assert process.returncode == 2


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x", KEY[:-1], KEY.upper()])
async def test_a_call_without_the_key_is_refused(server: Server, key: str) -> None:
    async with server.client(key) as client:
        for call in (client.get_collections(), client.count("c"), client.delete_collection("c")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_health_needs_no_key(server: Server) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "qdrant.Points"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_start_is_quick(server: Server) -> None:
    await server.stop()
    begin = time.monotonic()
    await server.start()
    assert (
        time.monotonic() - begin < 5.0
    )  # 0.5 s alone on two cores; the bound leaves room for a busy machine
