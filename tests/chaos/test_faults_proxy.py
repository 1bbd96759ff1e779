"""The proxy does to connections what each weather says, to open ones and to new ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import pytest

from tests.chaos.faults.proxy import Proxy, Weather

PATIENCE = 20.0
SHORT = 0.3


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """A server that gives back what it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def connect(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def said(ends: tuple[asyncio.StreamReader, asyncio.StreamWriter], what: bytes = b"hello") -> bytes:
    ends[1].write(what)
    async with asyncio.timeout(PATIENCE):
        return await ends[0].readexactly(len(what))


async def test_bytes_pass_whole_in_both_directions() -> None:
    async with echo() as upstream, Proxy.before(upstream) as proxy:
        ends, much = await connect(proxy), os.urandom(3_000_000)
        sending = asyncio.ensure_future(said(ends, much))
        assert await sending == much
        ends[1].write_eof()
        assert await asyncio.wait_for(ends[0].read(), PATIENCE) == b""
        ends[1].close()


async def test_what_is_late_arrives_all_the_same() -> None:
    async with echo() as upstream, Proxy.before(upstream) as proxy:
        ends = await connect(proxy)
        await proxy.become(Weather.LATENCY, late=SHORT)
        begun = asyncio.get_running_loop().time()
        assert await said(ends) == b"hello"
        assert asyncio.get_running_loop().time() - begun >= 2 * SHORT
        ends[1].close()


async def test_a_blackhole_swallows_nothing_for_good_and_closes_nothing() -> None:
    async with echo() as upstream, Proxy.before(upstream) as proxy:
        ends = await connect(proxy)
        assert await said(ends) == b"hello"
        await proxy.become(Weather.BLACKHOLE)
        late = await connect(proxy)
        waiting = [asyncio.ensure_future(said(one, b"anyone?")) for one in (ends, late)]
        done, _ = await asyncio.wait(waiting, timeout=SHORT)
        assert not done
        await proxy.become(Weather.CALM)
        assert await asyncio.gather(*waiting) == [b"anyone?", b"anyone?"]
        for one in (ends, late):
            one[1].close()


@pytest.mark.parametrize("weather", [Weather.RESET, Weather.REFUSED])
async def test_broken_connections_break_and_calm_ones_work_again(weather: Weather) -> None:
    async with echo() as upstream, Proxy.before(upstream) as proxy:
        ends = await connect(proxy)
        assert await said(ends) == b"hello"
        await proxy.become(weather)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await said(ends)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await said(await connect(proxy))
        await proxy.become(Weather.CALM)
        again = await connect(proxy)
        assert await said(again) == b"hello"
        again[1].close()
