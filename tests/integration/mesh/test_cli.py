"""`soma mesh` against a real control plane, as a person types it."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

from tests.integration.mesh.conftest import Edge
from tests.support.real_edge import ROOT


async def soma(edge: Edge, *arguments: str) -> tuple[int, str, str]:
    """Run the command; give exit code, data and words."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mesh.cli", "mesh", *arguments),
        cwd=ROOT,
        env={
            **os.environ,
            "SOMA_HOME": str(edge.real.home),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    data, words = await process.communicate()
    assert process.returncode is not None
    return process.returncode, data.decode(), words.decode()


async def test_status_shows_processes_and_callers(edge: Edge) -> None:
    await soma(edge, "proxies")
    code, data, words = await soma(edge, "status")
    assert (code, words) == (0, "")
    assert "spiffe://soma/xds" in data
    assert "soma.mesh.v1.ControlPlane/ListProxies" in data
    assert "unreachable" in data
    code, data, _ = await soma(edge, "status", "-o", "json")
    assert code == 0
    assert {"edge", "operator"} <= {c["caller"] for p in json.loads(data)["processes"] for c in p["calls"]}


async def test_proxies_show_sent_and_acked(edge: Edge) -> None:
    code, data, _ = await soma(edge, "proxies", "-o", "json")
    assert code == 0
    proxy = next(p for p in json.loads(data)["proxies"] if p["id"] == "edge")
    assert all(r["sent_version"] == r["acked_version"] for r in proxy["resources"])
    code, table, _ = await soma(edge, "proxies")
    assert "RouteConfiguration" in table


async def test_certificates_rotate(edge: Edge) -> None:
    _, before, _ = await soma(edge, "certs", "-o", "json")
    code, rotated, _ = await soma(edge, "rotate", "memory", "-o", "json")
    assert code == 0
    assert [c["spiffe_id"] for c in json.loads(rotated)] == ["spiffe://soma/memory"]
    old = next(c for c in json.loads(before) if c["spiffe_id"] == "spiffe://soma/memory")
    assert json.loads(rotated)[0]["serial"] != old["serial"]


async def test_tap_shows_calls_as_they_happen(edge: Edge) -> None:
    tapping = asyncio.create_task(
        soma(edge, "tap", "xds", "--method", "soma.mesh.v1.ControlPlane", "-n", "1")
    )
    while not tapping.done():
        await soma(edge, "proxies")
    code, data, _ = await tapping
    assert code == 0
    assert "operator -> xds soma.mesh.v1.ControlPlane/ListProxies OK" in data


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("shift", "memory"), 2, "SERVICE=canary:PERCENT"),
        (("shift", "memory=canary:10"), 1, "has no canary"),
        (("shift", "nosuch=canary:10"), 2, "routes to no service"),
        (("drain", "nosuch"), 3, "no process nosuch"),
        (("rotate", "nosuch"), 3, "unknown workload"),
    ],
)
async def test_failures_are_one_line_and_an_exit_code(
    edge: Edge, arguments: tuple[str, ...], code: int, words: str
) -> None:
    found, data, said = await soma(edge, *arguments)
    assert (found, data) == (code, "")
    assert words in said
    assert said.count("\n") == 1


async def test_rollback_is_safe_without_a_canary(edge: Edge) -> None:
    code, data, _ = await soma(edge, "rollback", "memory", "-o", "json")
    assert (code, json.loads(data)["canary_percent"]) == (0, 0)
