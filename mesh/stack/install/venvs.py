"""The two virtual environments, from hash-locked requirements: `venv` and `triton`.

An environment is keyed by the digest of its lock: the same one costs nothing, another is synced. An
environment that was made for development stays one, and packages in an environment that this module
did not make are never removed. Standard library only (see `mesh.stack.errors`).
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mesh.stack.errors import Code, StackError
from mesh.stack.home import CHECKOUT, Home
from mesh.stack.install import marker, uv

REQUIREMENTS = CHECKOUT / "requirements"
OLDEST, NEWEST = (3, 11), (3, 13)
SELF_CONTAINED = (3, 13)
DEVELOPMENT = "development"
ASK = (
    "import sys,sysconfig,pathlib as p;v=sysconfig.get_config_var;"
    "d,n=v('LIBDIR') or '',v('INSTSONAME') or '';m=v('MULTIARCH') or '';"
    "print(sys.version_info[0],sys.version_info[1],"
    "int(n.endswith('.a')),int(any(p.Path(f).joinpath(n).exists() for f in (d,d+'/'+m))))"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python on this machine.

    Attributes:
        path: the program.
        version: major and minor.
        shared: its shared library is there, which Triton's stub of that version is linked to.
    """

    path: str
    version: tuple[int, int]
    shared: bool

    @property
    def runs_platform(self) -> bool:
        """Whether the platform's own processes run on it."""
        return self.version >= OLDEST

    @property
    def runs_triton(self) -> bool:
        """Whether Triton's Python backend runs on it (3.13's stub brings its own library)."""
        return OLDEST <= self.version <= NEWEST and (self.shared or self.version == SELF_CONTAINED)


def read_interpreter(path: str, output: str) -> Interpreter:
    """Read what a Python printed for `ASK`."""
    major, minor, static, there = output.split()
    shared = static == "0" and there == "1"
    return Interpreter(path, (int(major), int(minor)), shared)


@functools.cache
def interpreters() -> tuple[Interpreter, ...]:
    """Ask every Python of a fitting name on PATH, the running one first."""
    return tuple(_asked())


def _asked() -> Iterator[Interpreter]:
    names = [getattr(sys, "_base_executable", sys.executable)]
    names += [f"python3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)] + ["python3"]
    seen: set[str] = set()
    for name in names:
        path = shutil.which(name)
        if path is None or str(Path(path).resolve()) in seen:
            continue
        seen.add(str(Path(path).resolve()))
        asked = subprocess.run([path, "-I", "-c", ASK], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            yield read_interpreter(path, asked.stdout)


def ensure_platform(home: Home, *, development: bool = False) -> None:
    """Make `$SOMA_LIB/venv` from soma.lock, or from dev.lock, which holds all of soma.lock.

    Raises:
        StackError: it cannot be made.
    """
    runtime, everything = REQUIREMENTS / "soma.lock", REQUIREMENTS / "dev.lock"
    grown = development or DEVELOPMENT in marker.marks(home.venv)
    locks = (everything, runtime) if grown else (runtime,)
    if _satisfied(home.venv, locks):
        return
    chosen = next((one for one in interpreters() if one.runs_platform), None)
    if chosen is None:
        raise StackError(
            "no Python 3.11 or newer is on PATH",
            fix="install one, or put it on PATH",
            code=Code.PYTHON_TOO_OLD,
        )
    _ensure(home, home.venv, chosen, locks)


def ensure_triton(home: Home) -> None:
    """Make `$SOMA_LIB/triton` from triton.lock.

    Raises:
        StackError: it cannot be made, or no Python here can serve Triton's stub.
    """
    lock = REQUIREMENTS / "triton.lock"
    if _satisfied(home.triton, (lock,)):
        return
    chosen = next((one for one in interpreters() if one.runs_triton), None)
    if chosen is None:
        versions = ", ".join(f"{one.version[0]}.{one.version[1]}" for one in interpreters())
        raise StackError(
            f"no Python here can run Triton's models (found {versions}; 3.11 and 3.12 need their"
            " shared library libpython)",
            fix="install libpython3.11 (Debian, Ubuntu), or a Python 3.13, and run again",
            code=Code.LIBRARY_MISSING,
        )
    _ensure(home, home.triton, chosen, (lock,))


def _key(lock: Path) -> str:
    return marker.digest(lock.name, lock.read_bytes())


def _satisfied(venv: Path, locks: tuple[Path, ...]) -> bool:
    return _key(locks[0]) in marker.marks(venv) and (venv / "bin" / "python").exists()


def _ensure(home: Home, venv: Path, python: Interpreter, locks: tuple[Path, ...]) -> None:
    if _satisfied(venv, locks):
        return
    with marker.lock(home.lib, venv.name):
        if _satisfied(venv, locks):
            return
        program = uv.find(home)
        ours = bool(marker.marks(venv))
        marker.unmark(venv)
        if not _works(venv):
            ours = True
            shutil.rmtree(venv, ignore_errors=True)
            uv.run(program, "venv", "--python", python.path, str(venv))
        uv.run(
            *(program, "pip", *(("sync",) if ours else ("install", "--requirements"))),
            *(str(locks[0]), "--require-hashes", "--python", str(venv / "bin" / "python")),
        )
        marker.mark(venv, *map(_key, locks), *((DEVELOPMENT,) if len(locks) > 1 else ()))


def _works(venv: Path) -> bool:
    python = venv / "bin" / "python"
    if not python.exists():
        return False
    return not subprocess.run([python, "-I", "-c", "1"], capture_output=True, check=False).returncode
