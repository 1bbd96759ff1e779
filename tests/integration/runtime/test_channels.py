"""Channels between workloads: who is who, what travels with a call, rotation."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from mesh.pki.folder import PkiFolder
from mesh.pki.workloads import workload
from mesh.runtime.certificates import Certificates
from mesh.runtime.channels import MeshChannel
from mesh.runtime.status import read
from tests.support.echo.serving import Served, pb, pb_grpc, serving

READER = (("authorization", "Bearer reader"),)


async def test_a_server_with_another_name_is_not_talked_to(served: Served, stub_to: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub_to(served, server="audit").Wave(pb.WaveRequest(), timeout=3)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_of_another_authority_is_not_let_in(served: Served, tmp_path: Path) -> None:
    PkiFolder(tmp_path).initialise()
    strange = Certificates(tmp_path / "gateway").current
    honest = Certificates(served.process.settings.pki_dir).current
    credentials = grpc.ssl_channel_credentials(honest.authority, strange.key, strange.chain)
    options = (("grpc.ssl_target_name_override", "memory.soma"),)
    async with grpc.aio.secure_channel(served.target, credentials, options) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await pb_grpc.EchoStub(channel).Wave(pb.WaveRequest(), timeout=3)


@pytest.mark.parametrize("tls", [True, False], ids=["no certificate", "no TLS"])
async def test_a_client_without_a_certificate_is_not_let_in(tls: bool, served: Served) -> None:
    options = (("grpc.ssl_target_name_override", "memory.soma"),)
    honest = Certificates(served.process.settings.pki_dir).current
    channel = (
        grpc.aio.secure_channel(served.target, grpc.ssl_channel_credentials(honest.authority), options)
        if tls
        else grpc.aio.insecure_channel(served.target)
    )
    async with channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await pb_grpc.EchoStub(channel).Wave(pb.WaveRequest(), timeout=3)


async def test_token_request_id_and_deadline_go_on_to_the_next_service(
    pki: Path, served: Served, stub_to: Any
) -> None:
    async with serving(pki, "orchestrator", peers={"memory": served.target}) as first:
        stub = stub_to(first, server="orchestrator")
        answer = await stub.Hear(pb.HearRequest(what="onward"), metadata=READER, timeout=2.0)
        assert answer.text == "remaining"
        assert 0.5 < answer.remaining <= 2.0
        metadata = (*READER, ("x-request-id", "the-one"))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.Hear(pb.HearRequest(what="onward:not_found"), metadata=metadata)
        told = read(failed.value)
        assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
        assert told.metadata["request_id"] == "the-one"


async def test_a_rotation_cuts_no_call_and_new_calls_take_the_new_certificate(tmp_path: Path) -> None:
    authority = PkiFolder(tmp_path)
    authority.initialise()
    certificates = Certificates(tmp_path / "gateway")
    async with serving(tmp_path) as served:
        channel = MeshChannel(
            target=served.target, workload="memory", certificates=certificates, max_message_bytes=1 << 22
        )
        watching = asyncio.ensure_future(certificates.watch())
        stub = pb_grpc.EchoStub(channel)
        running = stub.Recite(pb.ReciteRequest(count=60, pause=0.1), metadata=READER)
        await running.read()
        before = channel.generation()
        for generation in range(2):
            authority.rotate([workload("gateway"), workload("memory")])
            async with asyncio.timeout(8):
                while channel.generation() is before:
                    await stub.Hear(pb.HearRequest(what=str(generation)), metadata=READER)
                    await asyncio.sleep(0.05)
            before = channel.generation()
            await stub.Hear(pb.HearRequest(what="after"), metadata=READER)
        words = 1
        while await running.read() is not grpc.aio.EOF:
            words += 1
        assert words == 60
        presented = served.process.certificates.current.chain
        assert presented == (tmp_path / "memory" / "cert.pem").read_bytes()
        watching.cancel()
        await channel.close()


@pytest.mark.parametrize(("what", "code"), [("redis", "UNAVAILABLE"), ("gone", "CANCELLED")])
async def test_idempotent_calls_are_tried_again_where_their_server_is_away(
    what: str, code: str, served: Served, stub_to: Any
) -> None:
    series = served.process.stats.open("soma.testing.v1.Echo", "Hear", "gateway")
    before = series.codes.get(code, 0)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub_to(served).Hear(pb.HearRequest(what=what), metadata=READER)
    while served.process.inflight.calls:  # noqa: ASYNC110  a call is counted after its client was told
        await asyncio.sleep(0.01)
    assert series.codes[code] - before == 3
    assert read(failed.value).code is grpc.StatusCode.UNAVAILABLE


async def test_calls_are_shared_among_the_addresses_of_a_target(pki: Path, stub_to: Any) -> None:
    async with serving(pki) as one, serving(pki) as two:
        both = f"{one.target},{two.target.removeprefix('ipv4:')}"
        channel = MeshChannel(
            target=both,
            workload="memory",
            certificates=Certificates(pki / "gateway"),
            max_message_bytes=1 << 22,
        )
        stub = pb_grpc.EchoStub(channel)
        for _ in range(40):
            await stub.Hear(pb.HearRequest(what="x"), metadata=READER)
        counts = [
            each.process.stats.open("soma.testing.v1.Echo", "Hear", "gateway").count for each in (one, two)
        ]
        assert sum(counts) == 40
        assert min(counts) >= 10
        await channel.close()


async def test_a_closed_channel_makes_no_call(pki: Path) -> None:
    channel = MeshChannel(
        target="ipv4:127.0.0.1:1",
        workload="memory",
        certificates=Certificates(pki / "gateway"),
        max_message_bytes=1024,
    )
    await channel.close()
    with pytest.raises(grpc.aio.UsageError):
        await pb_grpc.EchoStub(channel).Wave(pb.WaveRequest())
