"""Where the other workloads are: SOMA_PEERS, and from then on the file that the launcher keeps.

A process that is replaced gives its place to a successor at another address. The launcher then
replaces `SOMA_PEERS_FILE`, and every channel sends its next call to the new address while the calls
that run end at the old one. In a cluster the names of SOMA_PEERS are resolved by DNS and there is no
such file.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mesh.runtime.errors import ConfigurationError
from mesh.runtime.logging import get_logger

_log = get_logger(__name__)
LOOK_SECONDS: Final = 0.5
Stamp = tuple[int, int] | None
Moved = Callable[[str], None]


class Peers:
    """The gRPC target of every workload, now."""

    def __init__(self, given: Mapping[str, str], file: Path | None = None) -> None:
        """Begin with what the environment gives, and what the file says where there is one."""
        self._given = given
        self._file = file
        self._moved: list[tuple[str, Moved]] = []
        self._stamp: Stamp = None
        self._told: Mapping[str, str] = {}
        self._look()

    def target(self, workload: str) -> str:
        """Return the gRPC target of a workload.

        Raises:
            ConfigurationError: nobody names it.
        """
        found = self._told.get(workload) or self._given.get(workload)
        if found is None:
            raise ConfigurationError(
                f"SOMA_PEERS names no address of {workload}; it names {sorted(self._given)}"
            )
        return found

    def subscribe(self, workload: str, moved: Moved) -> None:
        """Call `moved` with the new target each time that the workload moves."""
        self._moved.append((workload, moved))

    async def watch(self) -> None:
        """Look for a changed file for ever; without a file nothing ever changes."""
        if self._file is None:
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._look():
                for workload, moved in self._moved:
                    moved(self.target(workload))

    def _look(self) -> bool:
        """Read the file if it changed; an absent one (the launcher stops) changes nothing."""
        stamp = _stamp(self._file)
        if self._file is None or stamp is None or stamp == self._stamp:
            return False
        try:
            told = json.loads(self._file.read_bytes())
            if not isinstance(told, dict) or not all(isinstance(one, str) for one in told.values()):
                raise ValueError("no object of targets")
        except (OSError, ValueError) as error:
            _log.error("peers not readable; the last ones stay", cause=str(error))
            return False
        changed, self._told, self._stamp = told != self._told, told, stamp
        return changed


def _stamp(path: Path | None) -> Stamp:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
