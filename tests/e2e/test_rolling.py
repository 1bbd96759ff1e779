"""Processes are replaced under load: nobody who calls or streams notices."""

from __future__ import annotations

import pytest

from tests.chaos.scenarios import rolling
from tests.support.stack import CommandFailedError, Stack, soma

# Twice each: the second successor is where the first process was.
REPLACED = ("orchestrator", "worker-slm", "envoy") * 2


@pytest.mark.timeout(600)
async def test_no_call_fails_and_no_stream_is_damaged_while_processes_are_replaced(stack: Stack) -> None:
    before = {one.name: one.address for one in await stack.processes()}
    found = await rolling.replace(stack, REPLACED, seed=1)
    assert found.wrong == ()
    assert found.counts["replaced"] == len(REPLACED)
    assert {one.name: one.address for one in await stack.processes()} == before


async def test_a_server_that_holds_data_is_not_replaced(stack: Stack) -> None:
    before = await stack.process("postgres")
    with pytest.raises(CommandFailedError, match="there can be only one of it"):
        await soma(stack.settings, "restart", "--rolling", "postgres")
    assert (await stack.process("postgres")).pid == before.pid


async def test_a_restart_of_everything_has_to_be_asked_for(stack: Stack) -> None:
    with pytest.raises(CommandFailedError, match="--rolling"):
        await soma(stack.settings, "restart")


async def test_a_successor_that_does_not_become_ready_leaves_the_old_one_alone(stack: Stack) -> None:
    folder = stack.home / "overrides"
    override = folder / "audit.env"
    before = await stack.process("audit")
    override.touch(mode=0o600)
    override.write_text("SOMA_LOG_LEVEL=loud\n")
    try:
        with pytest.raises(CommandFailedError, match="audit ended with code 1"):
            await soma(stack.settings, "restart", "--rolling", "audit")
    finally:
        override.unlink()
    assert (await stack.process("audit")).pid == before.pid
    await stack.ready()
