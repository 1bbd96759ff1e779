"""Where the stack keeps its things: `$SOMA_HOME` and `$SOMA_LIB`.

Owns the names of files and folders and their modes. `lib` holds what is installed: immutable,
keyed by digests, shared by several homes. Standard library only (see `errors.py`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDERS = ("run", "run/pids", "log", "pki", "secrets", "data", "overrides")


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of one stack."""

    root: Path
    lib: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Home:
        """Read `SOMA_HOME` and `SOMA_LIB`; by default `.soma` of the checkout, else `~/.soma`."""
        given = environment.get("SOMA_HOME")
        inside = (CHECKOUT / "requirements").is_dir()
        root = Path(given) if given else (CHECKOUT if inside else Path.home()) / ".soma"
        root = root.expanduser().absolute()
        lib = environment.get("SOMA_LIB")
        return cls(root=root, lib=Path(lib).expanduser().absolute() if lib else root / "lib")

    @property
    def run(self) -> Path:
        """Socket, locks, pid files, endpoints."""
        return self.root / "run"

    @property
    def socket(self) -> Path:
        """The supervisor's control socket."""
        return self.run / "supervisor.sock"

    @property
    def endpoints(self) -> Path:
        """Who listens where; the control plane reads it."""
        return self.run / "endpoints.json"

    @property
    def peers(self) -> Path:
        """What the processes find each other by."""
        return self.run / "peers.json"

    @property
    def pids(self) -> Path:
        """One file for each child, so that a later start can clean up after a crash."""
        return self.run / "pids"

    @property
    def log(self) -> Path:
        """One file for each process."""
        return self.root / "log"

    @property
    def pki(self) -> Path:
        """Certificates (see `mesh.pki`)."""
        return self.root / "pki"

    @property
    def secrets(self) -> Path:
        """One file for each secret."""
        return self.root / "secrets"

    @property
    def overrides(self) -> Path:
        """What an operator adds to the environment of single processes (see `overrides.py`)."""
        return self.root / "overrides"

    @property
    def client(self) -> Path:
        """What the CLI needs to speak to the edge."""
        return self.root / "client.json"

    @property
    def remembered(self) -> Path:
        """The settings with which this home was started last."""
        return self.root / "stack.json"

    @property
    def venv(self) -> Path:
        """The virtual environment of the platform's own processes and of most servers."""
        return self.lib / "venv"

    @property
    def python(self) -> Path:
        """The interpreter of the platform's own processes."""
        return self.venv / "bin" / "python"

    @property
    def triton(self) -> Path:
        """Triton's virtual environment."""
        return self.lib / "triton"

    @property
    def jars(self) -> Path:
        """Kafka's jars."""
        return self.lib / "jars"

    @property
    def models(self) -> Path:
        """What `models.build` made; `current/repository` in it is Triton's."""
        return self.lib / "models"

    @property
    def cds(self) -> Path:
        """Kafka's class-data archives, which halve its start."""
        return self.lib / "cds"

    def data(self, server: str) -> Path:
        """Give a server's data folder."""
        return self.root / "data" / server

    def log_of(self, process: str) -> Path:
        """Give a process's log file."""
        return self.log / f"{process}.log"

    def make(self) -> None:
        """Create the folders. Root's are traversable, because Postgres refuses to run as root."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.lib.mkdir(parents=True, exist_ok=True)
        passage = 0o711 if os.geteuid() == 0 else 0o700
        self.root.chmod(passage)
        for name in FOLDERS:
            folder = self.root / name
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(passage if name == "data" else 0o700)


def site_packages(venv: Path) -> Path:
    """Give a virtual environment's package folder.

    Raises:
        FileNotFoundError: it is no virtual environment.
    """
    found = sorted((venv / "lib").glob("python3.*/site-packages"))
    if not found:
        raise FileNotFoundError(f"{venv} holds no site-packages")
    return found[-1]


def write_atomically(path: Path, content: str, *, mode: int = 0o600) -> None:
    """Replace a file with one rename: a reader sees the old content or the new, whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    draft.replace(path)
