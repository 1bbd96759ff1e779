"""Servers and loops of ours: calls come in beside one another, also where the loop has much else to do."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import grpc.aio
import pytest

from mesh.runtime.accepting import AT_ONCE, AcceptingServer
from mesh.runtime.eventloop import Loop
from tests.support.ports import free_port

SERVICE = "soma.testing.v1.Plain"
CALLS, AT_A_TIME = 480, 48


def handlers(**methods: Callable[[bytes, Any], Coroutine[Any, Any, bytes]]) -> dict[str, Any]:
    return {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}


@contextlib.asynccontextmanager
async def serving(methods: dict[str, Any], *, most_calls: int = 1000) -> AsyncIterator[grpc.aio.Channel]:
    server = AcceptingServer(options=(), most_calls=most_calls)
    server.add_registered_method_handlers(SERVICE, methods)
    address = f"127.0.0.1:{free_port()}"
    server.add_insecure_port(address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield channel
    finally:
        await server.stop(1.0)


async def echo(request: bytes, _context: Any) -> bytes:
    return request


async def test_methods_answer_beside_one_another_and_unknown_ones_are_refused() -> None:
    async with serving(handlers(Say=echo, Repeat=echo)) as channel:
        say, repeat = (channel.unary_unary(f"/{SERVICE}/{name}") for name in ("Say", "Repeat"))
        words = [b"%d" % number for number in range(10 * AT_ONCE)]
        answers = await asyncio.gather(*(each(word) for word in words for each in (say, repeat)))
        assert answers == [word for word in words for _ in range(2)]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(f"/{SERVICE}/Whisper")(b"")
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert await say(b"still") == b"still"
    assert not [task for task in asyncio.all_tasks() if "_accept" in repr(task.get_coro())]


async def test_calls_past_the_bound_are_refused_and_those_below_it_end() -> None:
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def wait(request: bytes, _context: Any) -> bytes:
        begun.release()
        await go_on.wait()
        return request

    async with serving(handlers(Wait=wait, Say=echo), most_calls=3) as channel:
        say, wait_for = channel.unary_unary(f"/{SERVICE}/Say"), channel.unary_unary(f"/{SERVICE}/Wait")
        waiting = [asyncio.ensure_future(wait_for(b"%d" % number)) for number in range(3)]
        for _ in waiting:
            await begun.acquire()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await say(b"one more")
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        go_on.set()
        assert await asyncio.gather(*waiting) == [b"0", b"1", b"2"]
        assert await _at_last(say, b"in") == b"in"


async def _at_last(call: Any, word: bytes) -> bytes:
    """What is answered once there is room."""
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                return bytes(await call(word))


async def test_a_call_that_its_client_cancels_ends() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(request: bytes, _context: Any) -> bytes:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return request

    async with serving(handlers(Wait=wait)) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Wait")(b"")
        await begun.wait()
        call.cancel()
        async with asyncio.timeout(5):
            await ended.wait()


async def rounds_of(calls: int, *, at_a_time: int) -> int:
    """Rounds of a busy loop in which a server and its client in it get so many calls done."""
    rounds = 0

    async def busy() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    async with serving(handlers(Say=echo)) as channel:
        say = channel.unary_unary(f"/{SERVICE}/Say")
        await say(b"")
        counting = asyncio.ensure_future(busy())
        # A round takes its time, so that what came meanwhile is there at the next one.
        working = [asyncio.ensure_future(_working()) for _ in range(4)]
        before = rounds

        async def some() -> None:
            for _ in range(calls // at_a_time):
                await say(b"word")

        await asyncio.gather(*(some() for _ in range(at_a_time)))
        used = rounds - before
        for task in (counting, *working):
            task.cancel()
        return used


async def _working() -> None:
    while True:
        threading.Event().wait(0.00025)  # as a handler that computes: nothing else of the loop runs
        await asyncio.sleep(0)


def test_a_busy_loop_handles_all_events_of_a_round() -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        used = runner.run(rounds_of(CALLS, at_a_time=AT_A_TIME))
    # One event a round, as a stalled socket lets through, would take some four rounds a call.
    assert used < CALLS
