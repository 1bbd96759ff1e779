"""The same turn by gRPC over TLS, from Python and from Node, and reflection through the edge."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.stack import Stack

ROOT = Path(__file__).resolve().parents[2]


async def run(*command: str, stack: Stack) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "gen" / "python"),
        "SOMA_CA_FILE": str(stack.ca_file),
        "SOMA_API_KEY": stack.api_key,
        "SOMA_GRPC_TARGET": stack.grpc_target,
    }
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_the_python_example_streams_a_turn(stack: Stack) -> None:
    out = await run(sys.executable, "examples/python/turn.py", "What is the outbox worker for?", stack=stack)
    assert "[stop, seq " in out
    assert len(out) > 40


async def test_the_node_example_streams_a_turn(stack: Stack) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.fail("this test needs node and npm on PATH")
    await run(npm, "--prefix", "examples/node", "ci", "--no-audit", "--no-fund", stack=stack)
    out = await run(node, "examples/node/turn.mjs", "What is the outbox worker for?", stack=stack)
    assert "[stop, seq " in out


async def test_reflection_lists_every_service_of_the_edge(stack: Stack) -> None:
    described = json.loads((ROOT / "gen/openapi/openapi.json").read_text())
    expected = {tag["name"] for tag in described["tags"]}
    credentials = grpc.ssl_channel_credentials(stack.ca_file.read_bytes())
    async with grpc.aio.secure_channel(stack.grpc_target, credentials) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        metadata = (("authorization", f"Bearer {stack.api_key}"),)
        call = stub.ServerReflectionInfo(metadata=metadata, timeout=10)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        await call.done_writing()
        answer = await call.read()
    listed = {s.name for s in answer.list_services_response.service}
    assert len(expected) > 10
    assert expected <= listed
