"""Certificates are rotated under load: no call fails, no stream is cut, every process takes each new one."""

from __future__ import annotations

import asyncio
import time

import grpc.aio
from soma.mesh.v1 import service_pb2, service_pb2_grpc

from tests.chaos.fault import Outcome
from tests.chaos.scenarios.load import load
from tests.support.replicas import mesh_channel
from tests.support.stack import Stack

NAME = "certificate rotation"
QUICK, LONG = 10, 100
TAKEN_SECONDS, LOOK_SECONDS, CALL_SECONDS = 60.0, 0.2, 20.0


async def run(stack: Stack, *, seed: int, quick: bool) -> Outcome:
    """Rotate every workload's certificate a hundred times, ten times in the quick form."""
    return await rotate(stack, QUICK if quick else LONG, seed=seed)


async def rotate(stack: Stack, rotations: int, *, seed: int) -> Outcome:
    """Rotate so many times, each time until every process shows its new certificate."""
    wrong: list[str] = []
    slowest, handshakes = 0.0, 0
    async with load(stack, seed=seed) as tally:
        for number in range(rotations):
            begun = time.monotonic()
            issued = await _issue(stack)
            late = await _not_taken(stack, issued)
            slowest = max(slowest, time.monotonic() - begun)
            handshakes += len(issued)
            wrong += [f"rotation {number}: {name} still shows its old certificate" for name in late]
    if tally.breaks:
        wrong.append(f"{tally.breaks} streams were cut")
    return Outcome(
        name=NAME,
        counts={"rotations": rotations, "certificates": handshakes, **tally.counts()},
        figures={"taken_slowest_s": round(slowest, 2)},
        wrong=(*wrong, *tally.wrong),
    )


async def _issue(stack: Stack) -> dict[str, str]:
    """Issue new leaves; give their serials by identity."""
    async with _control_plane(stack) as channel:
        stub = service_pb2_grpc.ControlPlaneStub(channel)
        answer = await stub.RotateCertificates(
            service_pb2.RotateCertificatesRequest(), timeout=CALL_SECONDS, wait_for_ready=True
        )
    return {one.spiffe_id: one.serial for one in answer.certificates}


async def _not_taken(stack: Stack, issued: dict[str, str]) -> list[str]:
    """Wait until every process shows the leaf that was issued for it; give those that do not."""
    until = time.monotonic() + TAKEN_SECONDS
    while True:
        async with _control_plane(stack) as channel:
            stub = service_pb2_grpc.ControlPlaneStub(channel)
            status = await stub.GetMeshStatus(
                service_pb2.GetMeshStatusRequest(), timeout=CALL_SECONDS, wait_for_ready=True
            )
        late = [
            one.process
            for one in status.processes
            if one.certificate.serial != issued.get(one.certificate.spiffe_id, "")
        ]
        if not late or time.monotonic() > until:
            return late
        await asyncio.sleep(LOOK_SECONDS)


def _control_plane(stack: Stack) -> grpc.aio.Channel:
    """A channel with the operator's present certificate, which is rotated too."""
    return mesh_channel(stack.settings, "operator", "xds", stack.settings.ports.of("xds"))
