"""`soma ask` and `soma chat`: streams, breaks, cancels."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import Any

from tests.support.stack import Stack
from tests.support.terminal import Soma, Terminal

LONG = ("--persona", "bootstrap", "--max-tokens", "600", "--min-tokens", "600")
# The bootstrap model ends its answers when it likes: one that ended too soon shows nothing.
ATTEMPTS = 10


async def newest_turn(soma: Soma) -> dict[str, Any]:
    """The one turn of the newest session."""
    listed = await soma("session", "list", "-n", "1", "-o", "json")
    (turn,) = (await soma("session", "turns", listed.data[0]["id"], "-o", "json")).data
    found: dict[str, Any] = turn
    return found


async def test_an_answer_streams_to_stdout_and_its_sources_to_stderr(owner: Soma) -> None:
    ran = await owner("ask", "What happens to a turn when a worker dies?")
    assert ran.code == 0, ran.err
    cited = set(re.findall(r"\[\d+\]", ran.out))
    assert cited
    assert {line.split()[0] for line in ran.err.splitlines()} == cited


async def test_a_whole_turn_is_printed_as_json(soma: Soma) -> None:
    ran = await soma("ask", "-", "--persona", "bootstrap", "-o", "json", typed="Once upon a time")
    assert ran.code == 0, ran.err
    assert ran.data["state"] == "TURN_STATE_COMPLETED"
    assert ran.data["input"]["text"] == "Once upon a time"
    again = await soma("ask", "And then?", "--session", ran.data["session_id"], "-o", "yaml")
    assert "number: 2" in again.out


async def test_an_answer_goes_on_when_the_orchestrator_is_killed_in_the_middle(
    stack: Stack, soma: Soma
) -> None:
    for _ in range(ATTEMPTS):
        pid = (await stack.process("orchestrator")).pid
        assert pid is not None
        process = await soma.start("ask", "Tell me everything about systems.", *LONG)
        assert process.stdout is not None
        first = await asyncio.wait_for(process.stdout.read(1), 30)
        os.kill(pid, signal.SIGKILL)
        rest, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, err.decode()
        await stack.ready()
        turn = await newest_turn(soma)
        assert (first + rest).decode() == turn["text"] + "\n"
        if b"taking it up again" in err:
            return
    raise AssertionError("every answer had ended before the kill")


async def test_an_interrupt_cancels_the_turn(soma: Soma) -> None:
    for _ in range(ATTEMPTS):
        process = await soma.start("ask", "Tell me everything.", *LONG)
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.read(1), 30)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 30)
        if process.returncode == 130 and (await newest_turn(soma))["state"] == "TURN_STATE_CANCELLED":
            assert b"cancelled" in err
            return
    raise AssertionError("every answer had ended before the interrupt")


async def test_a_conversation_is_typed_and_left(owner: Soma) -> None:
    ran = await owner("chat", typed="What is the turn log?\n/session\n/help\n/new\n/quit\nnot read\n")
    assert ran.code == 0, ran.err
    assert ran.out.strip()
    assert ran.err.count("session ses_") == 2
    assert "/quit leaves" in ran.err


async def test_a_failure_in_a_conversation_does_not_end_it(soma: Soma) -> None:
    ran = await soma("chat", "--session", "ses_" + "0" * 32, typed="hello\n/session\n")
    assert ran.code == 0
    assert "NOT_FOUND" in ran.err
    assert ran.err.rstrip().endswith("ses_" + "0" * 32)


async def test_on_a_terminal_ctrl_c_stops_the_answer_and_ctrl_d_leaves(soma: Soma) -> None:
    said = "Tell me a very long story about everything there is."
    for _ in range(ATTEMPTS):
        async with Terminal.running(soma, "chat", *LONG) as terminal:
            await terminal.until(lambda screen: "> " in screen)
            terminal.type(said + "\n")
            screen = await terminal.until(lambda screen: bool(screen.partition(said + "\r\n")[2]))
            terminal.type("\x03")
            if screen.endswith("> "):  # the answer had ended: at the prompt it leaves
                assert await terminal.ended() == 0
                continue
            screen = await terminal.until(lambda screen: screen.endswith("> "))
            if "cancelled" in screen:
                terminal.type("\x04")
                assert await terminal.ended() == 0
                return
    raise AssertionError("every answer had ended before the interrupt")
