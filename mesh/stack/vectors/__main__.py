"""Starts the vector server: `python -m mesh.stack.vectors --listen 127.0.0.1:18014 --data DIR`."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import signal
import sys
from pathlib import Path

from mesh.runtime import eventloop
from mesh.stack.vectors.collections import Collections
from mesh.stack.vectors.errors import FolderInUseError
from mesh.stack.vectors.server import build

# A flush bounds the log that a start replays and guards against the death of the machine; the death
# of the process needs none. It holds the event loop for about 100 ms, hence rarely.
FLUSH_SECONDS = 60.0
STOP_SECONDS = 2.0
KEY_VARIABLE = "SOMA_QDRANT_API_KEY"


def _loopback(text: str) -> str:
    host, _, port = text.rpartition(":")
    try:
        allowed = ipaddress.ip_address(host).is_loopback and 0 < int(port) < 65536
    except ValueError:
        allowed = False
    if not allowed:
        raise argparse.ArgumentTypeError(f"{text} is no address and port of the loopback interface")
    return text


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mesh.stack.vectors", description=__doc__)
    parser.add_argument("--listen", type=_loopback, default=os.environ.get("SOMA_LISTEN"))
    parser.add_argument("--data", type=Path, required=True, help="data folder")
    parser.add_argument("--api-key-file", type=Path, help=f"else ${KEY_VARIABLE}")
    parser.add_argument("--flush-seconds", type=float, default=FLUSH_SECONDS)
    given = parser.parse_args()
    if given.listen is None:
        parser.error("--listen or SOMA_LISTEN is required")
    return given


async def _serve(collections: Collections, *, listen: str, key: str, flush_seconds: float) -> None:
    server = await build(collections, key=key)
    server.add_insecure_port(listen)
    await server.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), flush_seconds)
        except TimeoutError:
            collections.flush()
    await server.stop(STOP_SECONDS)


def main() -> int:
    """Serve until SIGTERM or SIGINT; give the exit status."""
    given = _arguments()
    key = os.environ.get(KEY_VARIABLE, "")
    if given.api_key_file is not None:
        key = given.api_key_file.read_text(encoding="utf-8").strip()
    if not key:
        sys.stderr.write(f"vectors: no API key: set {KEY_VARIABLE} or --api-key-file\n")
        return 2
    try:
        collections = Collections(given.data)
    except FolderInUseError as error:
        sys.stderr.write(f"vectors: {error}\n")
        return 1
    try:
        eventloop.run(_serve(collections, listen=given.listen, key=key, flush_seconds=given.flush_seconds))
    except RuntimeError as error:  # the port is taken: grpc has nothing narrower
        sys.stderr.write(f"vectors: cannot listen on {given.listen}: {error}\n")
        return 1
    finally:
        collections.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
