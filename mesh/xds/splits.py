"""How traffic is shared between stable and canary: kept in `$SOMA_HOME/data/xds/state.json`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mesh.xds.errors import UnreadableStateError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Split:
    """The share of one service's calls that goes to its canary, and since when."""

    service: str
    canary_percent: int
    set_time: datetime


class Splits:
    """The splits; every change is on disk before it is told to anybody."""

    def __init__(self, path: Path) -> None:
        """Read what a former run left.

        Raises:
            UnreadableStateError: the file is damaged.
        """
        self._path = path
        self._splits = _read(path)

    def all(self) -> list[Split]:
        """The splits, by service."""
        return [self._splits[service] for service in sorted(self._splits)]

    def percents(self) -> tuple[tuple[str, int], ...]:
        """Service and percent, as a snapshot holds them."""
        return tuple((split.service, split.canary_percent) for split in self.all())

    def set(self, service: str, canary_percent: int) -> Split:
        """Share a service's calls."""
        split = Split(service, canary_percent, datetime.now(UTC))
        changed = {**self._splits, service: split}
        self._write(changed)
        self._splits = changed
        return split

    def _write(self, splits: dict[str, Split]) -> None:
        rows = [{**asdict(s), "set_time": s.set_time.isoformat()} for s in splits.values()]
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump({"splits": rows}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


def _read(path: Path) -> dict[str, Split]:
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_bytes())["splits"]
        found = [
            Split(row["service"], int(row["canary_percent"]), datetime.fromisoformat(row["set_time"]))
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableStateError(path, error) from error
    return {split.service: split for split in found}
