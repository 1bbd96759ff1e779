"""The life of a process: ready, drained, failed; seen from outside of it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from mesh.runtime.certificates import Certificates
from mesh.runtime.channels import MeshChannel
from mesh.runtime.status import read
from tests.support.echo.serving import Served, pb, serving
from tests.support.ports import free_port

READER = (("authorization", "Bearer reader"),)
PROGRAM = """
import asyncio
from mesh.runtime.process import run
from mesh.runtime.settings import ProcessSettings

async def build(process, settings):
    {body}

run(build, ProcessSettings)
"""


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 - http only
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Program:
    """A process with a `build` of a test's own."""

    def __init__(self, pki: Path, body: str, **environment: str) -> None:
        self.metrics = f"http://127.0.0.1:{free_port()}"
        self.listen = f"127.0.0.1:{free_port()}"
        given = {
            "SOMA_WORKLOAD": "memory",
            "SOMA_LISTEN": self.listen,
            "SOMA_METRICS_LISTEN": self.metrics.removeprefix("http://"),
            "SOMA_PKI_DIR": str(pki / "memory"),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PATH": os.environ["PATH"],
        }
        code = PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), "    ").strip())
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], env=given | environment, stderr=subprocess.PIPE, text=True
        )

    async def until(self, page: str, status: int) -> str:
        """Wait until a page answers with a status; return its body."""
        async with asyncio.timeout(20):
            while True:
                try:
                    found, body = await asyncio.to_thread(get, self.metrics + page)
                except OSError:
                    found, body = 0, ""
                if found == status:
                    return body
                assert self.process.poll() is None, self.process.communicate()[1]
                await asyncio.sleep(0.02)

    async def ended(self) -> tuple[int, list[dict[str, Any]]]:
        """Wait for the end; return the exit code and the log."""
        _, log = await asyncio.to_thread(self.process.communicate, timeout=20)
        return self.process.returncode, [json.loads(line) for line in log.splitlines() if line[:1] == "{"]


async def test_a_process_is_ready_once_its_checks_pass_and_drains_at_sigterm(
    pki: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    program = Program(
        pki,
        f"""
        async def gate():
            open({str(gate)!r}).close()
        process.ready_when("gate", gate)
        """,
    )
    body = json.loads(await program.until("/readyz", 503))
    assert body["ready"] is False
    gate.touch()
    await program.until("/readyz", 200)
    assert await program.until("/healthz", 200) == "ok\n"
    assert "process_resident_memory_bytes" in await program.until("/metrics", 200)
    assert get(program.metrics + "/nothing")[0] == 404
    program.process.send_signal(signal.SIGTERM)
    code, log = await program.ended()
    assert code == 0
    assert [line["event"] for line in log] == ["serving", "ready", "draining", "stopped"]


async def test_a_lost_dependency_makes_a_process_unready_and_it_recovers(pki: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    program = Program(
        pki,
        f"""
        async def gate():
            open({str(gate)!r}).close()
        process.ready_when("gate", gate)
        """,
    )
    await program.until("/readyz", 200)
    gate.unlink()
    assert "gate" in json.loads(await program.until("/readyz", 503))["waiting_for"]
    gate.touch()
    await program.until("/readyz", 200)
    program.process.send_signal(signal.SIGINT)
    assert (await program.ended())[0] == 0


@pytest.mark.parametrize(
    ("body", "event", "words"),
    [
        (
            """
            async def dies():
                await asyncio.sleep(0.2)
                raise ValueError("at postgresql://u:s3cret@h/d")
            process.own(dies(), name="doomed")
            """,
            "background task ended",
            "doomed",
        ),
        (
            """
            async def ends():
                await asyncio.sleep(0.2)
            process.own(ends(), name="doomed")
            """,
            "background task ended",
            "doomed",
        ),
        (
            """
            async def dies():
                raise ValueError("early")
            process.own(dies(), name="doomed")
            await asyncio.sleep(60)
            """,
            "background task ended",
            "doomed",
        ),
        ("process.channel('audit')", "cannot start", "audit"),
        ("raise RuntimeError('built wrongly')", "process failed", "built wrongly"),
        (
            """
            from mesh.storage import Database
            await process.enter(Database.open("postgresql://u:s3cret@127.0.0.1:1/d", start_seconds=1))
            """,
            "cannot start",
            "postgres does not answer",
        ),
    ],
    ids=["task fails", "task ends", "task fails in the start", "no such peer", "build fails", "no database"],
)
async def test_a_failure_ends_the_process_with_its_cause(
    body: str, event: str, words: str, pki: Path
) -> None:
    code, log = await Program(pki, body).ended()
    assert code == 1
    assert log[-1]["event"] == event
    assert words in json.dumps(log[-1])
    assert "s3cret" not in json.dumps(log)


async def test_wrong_settings_and_a_taken_port_are_said_in_one_line(pki: Path) -> None:
    program = Program(pki, "pass", SOMA_LISTEN="nonsense")
    _, errors = await asyncio.to_thread(program.process.communicate)
    assert program.process.returncode == 1
    assert "SOMA_LISTEN" in errors
    holder = Program(pki, "pass")
    await holder.until("/readyz", 200)
    code, log = await Program(pki, "pass", SOMA_LISTEN=holder.listen).ended()
    assert code == 1
    assert holder.listen in log[-1]["cause"]
    holder.process.terminate()
    await holder.ended()


async def test_a_stop_during_the_start_is_obeyed(pki: Path) -> None:
    program = Program(pki, "await asyncio.sleep(60)")
    await program.until("/healthz", 200)
    program.process.terminate()
    assert (await program.ended())[0] == 0


async def test_a_drain_lets_calls_end_and_cuts_streams_after_their_grace(pki: Path, stub_to: Any) -> None:
    async with serving(pki, stream_grace_seconds=0.3, drain_seconds=3.0) as served:
        stub = stub_to(served)
        call = stub.Hear(pb.HearRequest(what="half_second"), metadata=READER)
        stream = stub.Recite(pb.ReciteRequest(count=1000, pause=0.05), metadata=READER)
        await stream.read()
        await served.echo.running.wait()
        loop = asyncio.get_running_loop()
        begin = loop.time()
        served.process.stop.request()
        assert (await call).text == "half_second"

        async def read_on() -> None:
            while await stream.read() is not grpc.aio.EOF:
                pass

        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await read_on()
        assert cut.value.code() is grpc.StatusCode.UNAVAILABLE
        assert read(cut.value).message == "this process is stopping"
        await served.ended.wait()
        assert loop.time() - begin < 2.5


async def test_a_call_that_its_client_gives_up_is_cancelled(served: Served, stub_to: Any) -> None:
    served.echo.running.clear()
    call = stub_to(served).Hear(pb.HearRequest(what="slow"), metadata=READER)
    running = asyncio.ensure_future(served.echo.running.wait())
    await asyncio.wait((asyncio.ensure_future(asyncio.sleep(5)), running), return_when="FIRST_COMPLETED")
    call.cancel()
    series = served.process.stats.open("soma.testing.v1.Echo", "Hear", "gateway")
    async with asyncio.timeout(2):
        while not series.codes.get("CANCELLED"):  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)
    assert not any(each.method.endswith("Hear") for each in served.process.inflight.calls)


async def test_the_deadline_ends_a_call(served: Served, stub_to: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await stub_to(served).Hear(pb.HearRequest(what="slow"), metadata=READER, timeout=0.2)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_an_operator_sees_and_drains_a_process(pki: Path, stub_to: Any) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from soma.mesh.v1 import service_pb2, service_pb2_grpc

    async with serving(pki) as served:
        await stub_to(served).Hear(pb.HearRequest(what="x"), metadata=READER)
        channel = MeshChannel(
            target=served.target,
            workload="memory",
            certificates=Certificates(pki / "operator"),
            max_message_bytes=1 << 22,
        )
        operator = service_pb2_grpc.IntrospectionStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        state = (await operator.GetStats(service_pb2.GetStatsRequest())).process
        assert (state.process, state.ready, state.version) == ("memory", True, "stable")
        assert state.certificate.spiffe_id == "spiffe://soma/memory"
        hear = next(each for each in state.calls if each.method.endswith("Echo/Hear"))
        assert (hear.caller, hear.calls, hear.errors) == ("gateway", 1, 0)

        tap = operator.TapCalls(service_pb2.TapCallsRequest(method_prefix="soma.testing"))
        tapped = asyncio.ensure_future(tap.read())
        async with asyncio.timeout(5):
            while not served.process.taps.listening:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        await stub_to(served).Hear(pb.HearRequest(what="x"), metadata=READER)
        record = await tapped
        assert (record.caller, record.tenant, record.code) == ("gateway", "ten_a", "OK")
        tap.cancel()

        answer = await health.Check(health_pb2.HealthCheckRequest(service="soma.testing.v1.Echo"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await operator.Drain(service_pb2.DrainRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await channel.close()
        await asyncio.wait_for(served.ended.wait(), 5)


async def test_reflection_lists_what_is_served(served: Served, pki: Path) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    channel = MeshChannel(
        target=served.target,
        workload="memory",
        certificates=Certificates(pki / "edge"),
        max_message_bytes=1 << 22,
    )
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
    answer = await call.read()
    assert "soma.testing.v1.Echo" in {each.name for each in answer.list_services_response.service}
    await channel.close()
