"""The Triton client against a real Triton."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from mesh.inference.ports import Chunk, GenerationRequest, Sampling
from mesh.inference.triton import Triton
from mesh.runtime.errors import SomaError
from mesh.stack.settings import StackSettings
from tests.support.ports import free_port


@pytest.fixture
async def triton(settings: StackSettings) -> AsyncIterator[Triton]:
    async with Triton.open(settings.ports.address("triton")) as opened:
        yield opened


def asked(
    *, model: str = "slm", timeout: float = 60, max_tokens: int = 40, seed: int | None = None
) -> GenerationRequest:
    return GenerationRequest(
        model=model,
        prompt="Return the ",
        sampling=Sampling(max_tokens=max_tokens, seed=seed, stream_interval_ms=30),
        timeout_seconds=timeout,
    )


async def collected(triton: Triton, request: GenerationRequest) -> list[Chunk]:
    return [chunk async for chunk in triton.stream(request)]


async def test_an_answer_is_streamed_with_its_counts(triton: Triton) -> None:
    chunks = await collected(triton, asked())
    assert "".join(chunk.text for chunk in chunks)
    assert [bool(chunk.finish_reason) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    last = chunks[-1]
    assert last.finish_reason in {"stop", "length"}
    assert last.usage is not None
    assert last.usage.output_tokens == sum(chunk.output_tokens for chunk in chunks) <= 40
    assert last.usage.input_tokens > 0


async def test_greedy_answers_are_equal_and_seeds_repeat(triton: Triton) -> None:
    async def text(request: GenerationRequest) -> str:
        return "".join([chunk.text async for chunk in triton.stream(request)])

    assert await text(asked()) == await text(asked())
    assert await text(asked(seed=7)) == await text(asked(seed=7))


async def test_many_answers_at_once(triton: Triton) -> None:
    answers = await asyncio.gather(*(collected(triton, asked(max_tokens=20)) for _ in range(24)))
    assert all(answer[-1].finish_reason for answer in answers)


async def test_closing_the_stream_frees_the_model(triton: Triton) -> None:
    for _ in range(40):  # more than it has slots
        stream = triton.stream(asked(max_tokens=400))
        async with contextlib.aclosing(stream):
            await anext(stream)
    start = time.monotonic()
    assert (await collected(triton, asked(max_tokens=5)))[-1].finish_reason
    assert time.monotonic() - start < 5


async def test_a_cancelled_reader_ends_the_call(triton: Triton) -> None:
    reading = asyncio.Event()

    async def read() -> None:
        async for _ in triton.stream(asked(max_tokens=400)):
            reading.set()
            await asyncio.sleep(60)

    task = asyncio.ensure_future(read())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await collected(triton, asked(max_tokens=5)))[-1].finish_reason


class Calls(grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]  # without types
    """Keeps the calls that a channel makes."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    async def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        call = await continuation(details, requests)
        self.made.append(call)
        return call


async def test_an_answered_call_ends_by_itself(settings: StackSettings) -> None:
    """Triton never gets back what a cancelled call took."""
    calls = Calls()
    async with grpc.aio.insecure_channel(settings.ports.address("triton"), interceptors=[calls]) as channel:
        async for chunk in (answer := Triton(channel).stream(asked(max_tokens=5))):
            if chunk.finish_reason:
                break  # as the worker does: nobody waits for what comes after the last chunk
        await answer.aclose()
        async with asyncio.timeout(5):
            assert [await call.code() for call in calls.made] == [grpc.StatusCode.OK]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (asked(model="nosuch"), "MODEL_NOT_FOUND"),
        (asked(timeout=0.001), "DEADLINE_EXCEEDED"),
    ],
)
async def test_failures_have_a_reason(triton: Triton, request_: GenerationRequest, reason: str) -> None:
    with pytest.raises(SomaError) as caught:
        await collected(triton, request_)
    assert caught.value.reason == reason


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with Triton.open(f"127.0.0.1:{free_port()}") as nobody:
        for call in (
            collected(nobody, asked()),
            nobody.embed(["x"]),
            nobody.embed(["x"] * 100),
            nobody.check("slm", timeout_seconds=1),
            nobody.ready(),
        ):
            with pytest.raises(SomaError) as caught:
                await call
            assert caught.value.reason == "MODEL_UNAVAILABLE"


async def test_no_texts_give_no_vectors(triton: Triton) -> None:
    assert await triton.embed([]) == []
