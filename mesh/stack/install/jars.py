"""`python -m mesh.stack.install.jars <folder>`: Kafka's jars from Maven Central, by digest.

jgo serves as a library that knows where artifacts lie. Nothing is resolved: `kafka.lock` names each
jar with its digest, and a jar whose digest differs is refused.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "kafka.lock"
SIDE_BY_SIDE = 8


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.artifact}-{self.version}.jar"

    def is_in(self, folder: Path) -> bool:
        """Tell whether the folder holds it, unharmed."""
        path = folder / self.file
        return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


def read_lock(text: str) -> list[Jar]:
    """Read lines of `group:artifact:version sha256:<hex>`."""
    jars = []
    for line in text.split("\n"):
        if line.strip():
            coordinates, _, sha256 = line.strip().partition(" sha256:")
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return jars


def fetch(jars: list[Jar], folder: Path) -> None:
    """Bring all jars into the folder, and nothing else.

    Raises:
        RuntimeError: one cannot be had, or its digest differs.
    """
    from jgo.maven import MavenContext

    folder.mkdir(parents=True, exist_ok=True)
    cache = folder.with_name("maven")
    context = MavenContext(repo_cache=cache)

    def one(jar: Jar) -> None:
        if jar.is_in(folder):
            return
        project = context.project(jar.group, jar.artifact)
        found = project.at_version(jar.version).artifact().resolve()
        if hashlib.sha256(found.read_bytes()).hexdigest() != jar.sha256:
            found.unlink()
            raise RuntimeError(f"{jar.file}: its digest is not the locked one")
        found.replace(folder / jar.file)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as workers:
        list(workers.map(one, jars))
    wanted = {jar.file for jar in jars}
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink()
    shutil.rmtree(cache, ignore_errors=True)


def main() -> int:
    """Fetch what the folder lacks; a failure is one line on stderr and exit code 1."""
    try:
        fetch(read_lock(LOCK.read_text(encoding="utf-8")), Path(sys.argv[1]))
    except Exception as error:  # noqa: BLE001 - jgo raises whatever its HTTP client does
        print(f"jars: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
