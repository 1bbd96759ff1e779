"""Steps between the servers' start and the services': certificates, roles, migrations, topics.

A step is a command in a process of its own. It is idempotent; where its inputs are files, a digest
kept beside the data that it changed lets the next start leave it out.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mesh.stack.child import open_log, tail
from mesh.stack.environment import Environment
from mesh.stack.errors import Code, failure
from mesh.stack.home import CHECKOUT, Home, write_atomically

CERTIFICATES_FRESH = 10 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of the start.

    Attributes:
        name: what others name in their `needs`.
        needs: processes and steps before it.
        module: what `python -m` runs.
        arguments: its arguments.
        inputs: files and folders that decide what it does.
        done: where the digest of the inputs is kept once it is done; None: it always runs.
        fresh: seconds for which `done` counts; None: for ever.
    """

    name: str
    needs: tuple[str, ...]
    module: str
    arguments: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()
    done: Path | None = None
    fresh: float | None = None
    environment: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def exists(self) -> bool:
        """Whether its module is in this checkout."""
        path = CHECKOUT.joinpath(*self.module.split("."))
        return path.is_dir() or path.with_suffix(".py").exists()

    def is_done(self) -> bool:
        """Tell whether it was done with the same inputs and lately enough."""
        if self.done is None or not self.done.exists():
            return False
        if self.fresh is not None and time.time() - self.done.stat().st_mtime > self.fresh:
            return False
        return self.done.read_text(encoding="ascii").strip() == digest_of(self.inputs)

    async def run(self, home: Home) -> None:
        """Run it unless it is done.

        Raises:
            StackError: it failed; the cause is the last line that it wrote.
        """
        if self.is_done():
            return
        log = home.log_of(f"step-{self.name}")
        with open_log(log) as output:
            process = await asyncio.create_subprocess_exec(
                *(str(home.python), "-m", self.module, *self.arguments),
                cwd=home.root,
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                await process.wait()
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
        if process.returncode:
            raise failure(
                f"step {self.name} failed",
                said="\n".join(tail(log, 12)),
                fix=f"read {log}",
                code=Code.STEP_FAILED,
            )
        if self.done is not None:
            write_atomically(self.done, digest_of(self.inputs) + "\n")


def digest_of(inputs: Iterable[Path]) -> str:
    """Give one digest over the names and contents of files and of all source files in folders."""
    total = hashlib.sha256()
    for path in inputs:
        files = sorted(_sources(path)) if path.is_dir() else [path]
        for file in files:
            total.update(str(file).encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()


def code_digest() -> str:
    """Give the digest of the launcher's own code, which tells an old supervisor."""
    folder = CHECKOUT / "mesh" / "stack"
    return digest_of([*sorted(folder.glob("*.py")), folder / "servers"])


def _sources(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path.suffix in (".py", ".sql", ".toml"))


def steps(environment: Environment) -> tuple[Step, ...]:
    """Give the steps of a stack."""
    settings = environment.settings
    home, external = settings.home, settings.external
    base = environment.of_python()
    migrations = tuple(sorted((CHECKOUT / "services").glob("*/migrations")))
    administrator = administration_url(environment)
    databases_done = None if "postgres" in external else home.data("postgres") / "databases.done"
    migrated = None if "postgres" in external else home.data("postgres") / "migrations.done"
    topics_done = None if "kafka" in external else home.data("kafka") / "topics.done"
    stack = CHECKOUT / "mesh" / "stack"
    return (
        Step(
            name="pki",
            needs=(),
            module="mesh.pki",
            arguments=("init", "--home", str(home.root)),
            inputs=(CHECKOUT / "mesh" / "pki",),
            done=home.pki / "init.done",
            fresh=CERTIFICATES_FRESH,
            environment=base,
        ),
        Step(
            name="databases",
            needs=_unless(external, "postgres"),
            module="mesh.stack.databases",
            inputs=(stack / "databases.py", stack / "catalogue.py"),
            done=databases_done,
            environment=base | {"SOMA_POSTGRES_ADMIN_URL": administrator},
        ),
        Step(
            name="migrations",
            needs=("databases",),
            module="mesh.storage.migrate",
            inputs=(*migrations, CHECKOUT / "mesh" / "storage"),
            done=migrated,
            environment=base | {"SOMA_POSTGRES_URL": environment.postgres_url("soma_owner")},
        ),
        Step(
            name="redis-users",
            needs=(),
            module="mesh.stack.redis_users",
            environment=base | {"SOMA_REDIS_ADMIN_URL": external.get("redis", "")},
        ),
        Step(
            name="topics",
            needs=("pki", *_unless(external, "kafka")),
            module="mesh.events.admin",
            inputs=(CHECKOUT / "mesh" / "events",),
            done=topics_done,
            environment=base
            | {
                "SOMA_KAFKA_BOOTSTRAP": external.get("kafka", settings.ports.address("kafka")),
                "SOMA_PKI_DIR": str(home.pki / "supervisor"),
                "SOMA_PROCESS": "supervisor",
                "SOMA_WORKLOAD": "supervisor",
            },
        ),
    )


def administration_url(environment: Environment) -> str:
    """Give the database's address for the superuser: the given one, where Postgres is external."""
    given = environment.settings.external.get("postgres")
    return given or environment.postgres_url("postgres")


def _unless(external: Mapping[str, str], server: str) -> tuple[str, ...]:
    return () if server in external else (server,)
