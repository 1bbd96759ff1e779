"""The launcher on real servers: it starts, refuses with a reason, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from mesh.stack.processes import all_stats, read_stat
from mesh.stack.settings import StackSettings
from tests.support.stack import (
    ROOT,
    CommandFailedError,
    OwnStacks,
    ProcessRow,
    environment_of,
    processes,
    soma,
)

PATIENCE = 60.0
LIGHT = ("redis", "postgres", "temporal")


async def up(settings: StackSettings, *names: str) -> dict[str, ProcessRow]:
    await soma(settings, "up", "--only", ",".join(names))
    return {row.name: row for row in await processes(settings)}


async def starting(settings: StackSettings, *names: str) -> asyncio.subprocess.Process:
    """An `up` that is still at work."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mesh.cli", "up", "--only", ",".join(names)),
        cwd=ROOT,
        env=environment_of(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    until = time.monotonic() + PATIENCE
    while not any(settings.home.pids.glob("*.json")):
        assert process.returncode is None
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    return process


def at_work(settings: StackSettings) -> list[int]:
    """Every process that has this home in its environment or its arguments."""
    home = str(settings.home.root).encode()
    found = []
    for stat in all_stats():
        if stat.zombie or stat.pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            for part in ("environ", "cmdline"):
                if home in Path(f"/proc/{stat.pid}/{part}").read_bytes():
                    found.append(stat.pid)
                    break
    return found


async def nothing_left(settings: StackSettings) -> None:
    until = time.monotonic() + PATIENCE
    while left := at_work(settings):
        assert time.monotonic() < until, f"left behind: {left}"
        await asyncio.sleep(0.1)


async def all_ready(
    settings: StackSettings, *, unlike: dict[str, ProcessRow] | None = None
) -> dict[str, ProcessRow]:
    """Wait until all are ready, under other pids than before where that is asked for."""
    old = {row.pid for row in (unlike or {}).values()}
    until = time.monotonic() + PATIENCE
    while True:
        rows = await processes(settings)
        if all(row.state == "ready" and row.pid not in old for row in rows):
            return {row.name: row for row in rows}
        assert time.monotonic() < until, rows
        await asyncio.sleep(0.2)


async def test_a_part_starts_twice_without_change_and_ends_whole(own: OwnStacks) -> None:
    settings = own.settings()
    first = await up(settings, *LIGHT)
    again = await up(settings, *LIGHT)
    assert {name: row.pid for name, row in first.items()} == {name: row.pid for name, row in again.items()}
    assert set(first) == set(LIGHT)
    assert all(row.state == "ready" and row.rss_bytes > 1_000_000 for row in first.values())
    await soma(settings, "down")
    await nothing_left(settings)
    with pytest.raises(CommandFailedError, match="NOT_RUNNING"):
        await soma(settings, "status")


async def test_two_homes_run_side_by_side(own: OwnStacks) -> None:
    one, other = own.settings(), own.settings()
    rows = await asyncio.gather(up(one, *LIGHT), up(other, *LIGHT))
    assert not {row.pid for row in rows[0].values()} & {row.pid for row in rows[1].values()}
    await soma(one, "down")
    assert set(await all_ready(other)) == set(LIGHT)


async def test_a_port_that_is_taken_is_named_and_nothing_is_left(own: OwnStacks) -> None:
    settings = own.settings()
    taken = socket.create_server(("127.0.0.1", settings.ports.of("redis")))
    with taken, pytest.raises(CommandFailedError) as refused:
        await up(settings, *LIGHT)
    said = refused.value.output.strip().splitlines()[-1]
    assert refused.value.code == 1
    assert f"port {settings.ports.of('redis')} (redis) for redis is taken" in said
    assert f"pid {os.getpid()}" in said
    assert said.endswith("[PORT_TAKEN]")
    await nothing_left(settings)
    await up(settings, *LIGHT)


async def test_a_server_that_dies_in_start_is_told_and_nothing_is_left(own: OwnStacks) -> None:
    settings = own.settings()
    await up(settings, "redis")
    await soma(settings, "down")
    manifest = settings.home.data("redis") / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("this is no manifest\n")
    with pytest.raises(CommandFailedError) as refused:
        await up(settings, *LIGHT)
    said = refused.value.output.strip().splitlines()[-1]
    assert "redis ended with code 1 while it started" in said
    assert str(settings.home.log_of("redis")) in said
    assert said.endswith("[DIED_IN_START]")
    await nothing_left(settings)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_an_interrupted_start_leaves_nothing(own: OwnStacks, number: signal.Signals) -> None:
    settings = own.settings()
    process = await starting(settings, "postgres", "redis", "kafka", "temporal")
    process.send_signal(number)
    await process.wait()
    assert process.returncode != 0
    await nothing_left(settings)
    await up(settings, *LIGHT)


async def test_a_second_start_at_the_same_time_is_refused(own: OwnStacks) -> None:
    settings = own.settings()
    first = await starting(settings, "postgres", "kafka")
    with pytest.raises(CommandFailedError, match=f"pid {first.pid}.*LOCKED"):
        await up(settings, "redis")
    await first.communicate()
    assert first.returncode == 0
    assert set(await all_ready(settings)) == {"postgres", "kafka"}


@pytest.mark.timeout(300)
async def test_every_server_comes_back_after_kill_9(own: OwnStacks) -> None:
    settings = own.settings()
    servers = ("postgres", "redis", "kafka", "temporal", "triton", "vectors")
    before = await up(settings, *servers)
    for name in servers:
        pid = before[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    after = await all_ready(settings, unlike=before)
    assert {name: row.restarts for name, row in after.items()} == dict.fromkeys(servers, 1)
    said = await soma(settings, "doctor")
    assert all(f"WARN  {name}: it died" in said for name in servers)


async def test_what_a_killed_supervisor_left_is_ended_before_the_next_start(own: OwnStacks) -> None:
    settings = own.settings()
    before = await up(settings, *LIGHT)
    stat = read_stat(before["redis"].pid or 0)
    assert stat is not None
    os.kill(stat.parent, signal.SIGKILL)
    after = await up(settings, *LIGHT)
    assert not {row.pid for row in before.values()} & {row.pid for row in after.values()}
    assert all(row.state == "ready" for row in after.values())
    left = {row.pid for row in before.values()} & set(at_work(settings))
    assert not left


async def test_down_ends_what_a_killed_supervisor_left(own: OwnStacks) -> None:
    settings = own.settings()
    rows = await up(settings, "redis", "temporal")
    stat = read_stat(rows["redis"].pid or 0)
    assert stat is not None
    os.kill(stat.parent, signal.SIGKILL)
    await soma(settings, "down")
    await nothing_left(settings)


async def test_up_heals_what_was_given_up(own: OwnStacks) -> None:
    settings = own.settings()
    await up(settings, "redis", "temporal")
    manifest = settings.home.data("redis") / "appendonlydir" / "appendonly.aof.manifest"
    whole = manifest.read_text()
    manifest.write_text("this is no manifest\n")
    row = {one.name: one for one in await processes(settings)}["redis"]
    os.kill(row.pid or 0, signal.SIGKILL)
    until = time.monotonic() + 2 * PATIENCE  # ten starts, with growing pauses: 43 s of them
    while {one.name: one for one in await processes(settings)}["redis"].state != "failed":
        assert time.monotonic() < until
        await asyncio.sleep(0.5)
    with pytest.raises(CommandFailedError, match="GAVE_UP"):
        await soma(settings, "doctor")
    manifest.write_text(whole)
    assert (await up(settings, "redis", "temporal"))["redis"].state == "ready"


async def test_one_process_is_restarted_and_one_is_stopped(own: OwnStacks) -> None:
    settings = own.settings()
    before = await up(settings, "redis", "temporal")
    await soma(settings, "restart", "redis")
    after = await all_ready(settings)
    assert after["redis"].pid != before["redis"].pid
    assert after["temporal"].pid == before["temporal"].pid
    await soma(settings, "down", "redis")
    states = {row.name: row.state for row in await processes(settings)}
    assert states == {"redis": "stopped", "temporal": "ready"}


async def test_servers_that_run_elsewhere_are_used_and_not_started(own: OwnStacks) -> None:
    there, here = own.settings(), own.settings()
    await up(there, "redis", "postgres")
    passwords = {
        name: (there.home.secrets / name).read_text().strip()
        for name in ("redis-supervisor", "postgres-postgres")
    }
    elsewhere = {
        "SOMA_REDIS_URL": f"redis://supervisor:{passwords['redis-supervisor']}@127.0.0.1:{there.ports.of('redis')}",
        "SOMA_POSTGRES_URL": f"postgresql://postgres:{passwords['postgres-postgres']}"
        f"@127.0.0.1:{there.ports.of('postgres')}/postgres",
    }
    await soma(here, "up", "--only", "identity,gateway", extra=elsewhere)
    rows = {row.name: row for row in await processes(here)}
    assert {"identity", "policy", "gateway"} <= set(rows)
    assert not {"redis", "postgres"} & set(rows)
    assert all(row.state == "ready" for row in rows.values())


async def test_an_unknown_process_is_refused(own: OwnStacks) -> None:
    settings = own.settings()
    with pytest.raises(CommandFailedError, match="UNKNOWN_PROCESS"):
        await up(settings, "rediss")
    await nothing_left(settings)


@pytest.mark.parametrize(("size", "names"), [("64k", "redis"), ("24m", "redis,postgres")])
async def test_a_full_disk_is_told_and_nothing_is_left(own: OwnStacks, size: str, names: str) -> None:
    settings = own.settings()
    small = settings.home.root
    Path(small).mkdir(mode=0o711)  # noqa: ASYNC240 - at once, and on the local disk
    namespace = ("--mount",) if os.geteuid() == 0 else ("--user", "--map-root-user", "--mount")
    command = (
        f"mount -t tmpfs -o size={size},mode=0711 tmpfs {small}"
        f" && exec {sys.executable} -m mesh.cli up --only {names}"
    )
    process = await asyncio.create_subprocess_exec(
        *("unshare", *namespace, "sh", "-c", command),
        cwd=ROOT,
        env=environment_of(settings),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 1
    assert said.decode().strip().splitlines()[-1].endswith("[DISK_FULL]"), said.decode()
    await nothing_left(settings)
