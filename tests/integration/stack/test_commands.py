"""What the commands of the launcher print, on the stack that all tests share."""

from __future__ import annotations

import json
import subprocess

import pytest

from mesh.stack.bring_up import EVERYTHING
from tests.support.stack import CommandFailedError, Stack, soma


async def test_status_lists_every_process_by_its_name(stack: Stack) -> None:
    rows = json.loads(await soma(stack.settings, "status", "-o", "json"))
    assert {row["name"] for row in rows} >= set(EVERYTHING)
    for row in rows:
        assert row["pid"] > 1
        assert row["rss_bytes"] > 0
        assert ":" in row["address"]
    table = await soma(stack.settings, "status")
    assert all(name in table for name in EVERYTHING)
    assert "MB" in table.splitlines()[-1]


async def test_status_as_env_is_what_a_shell_exports(stack: Stack) -> None:
    lines = await soma(stack.settings, "status", "-o", "env")
    shell = subprocess.run(  # noqa: ASYNC221 - it ends at once
        ["sh", "-c", f'{lines}\nprintf "%s\\n" "$SOMA_EDGE_URL" "$SOMA_GRPC_TARGET" "$SOMA_API_KEY"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.split() == [stack.edge_url, stack.grpc_target, stack.api_key]


async def test_up_again_streams_an_answer_with_its_sources(stack: Stack) -> None:
    said = await soma(stack.settings, "up")
    assert "What happens to a turn when a worker dies?" in said
    assert "[1] " in said
    assert "docs/" in said


async def test_logs_are_printed_by_process(stack: Stack) -> None:
    lines = (await soma(stack.settings, "logs", "orchestrator", "-n", "5")).splitlines()
    assert 1 <= len(lines) <= 5
    assert all(json.loads(line)["process"] == "orchestrator" for line in lines)
    everything = await soma(stack.settings, "logs", "-n", "1")
    assert {line.split()[0] for line in everything.splitlines()} >= {"postgres", "xds", "worker-slm"}
    with pytest.raises(CommandFailedError) as refused:
        await soma(stack.settings, "logs", "nobody")
    assert refused.value.code == 2


async def test_doctor_finds_nothing_serious_on_a_healthy_stack(stack: Stack) -> None:
    await stack.ready()
    findings = json.loads(await soma(stack.settings, "doctor", "-o", "json"))
    assert not [one for one in findings if one["serious"]]
    assert all(one["cause"] and one["fix"] and one["code"] for one in findings)


async def test_the_memory_of_the_whole_stack_is_bounded(stack: Stack) -> None:
    assert sum(row.rss_bytes for row in await stack.processes()) < 3_000_000_000
