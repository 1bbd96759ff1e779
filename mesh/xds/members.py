"""Which processes there are: `$SOMA_HOME/run/endpoints.json`, which the launcher replaces atomically."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesh.envoy.snapshot import Address, Endpoint
from mesh.xds.errors import UnreadableStateError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A process of the mesh, as the launcher lists it."""

    process: str
    service: str
    version: str
    address: Address

    def endpoint(self, *, draining: bool) -> Endpoint:
        """The process as the edge sees it."""
        return Endpoint(self.process, self.service, self.version, self.address, draining)


def read_members(path: Path) -> tuple[Member, ...]:
    """Read the file.

    Raises:
        UnreadableStateError: it is absent or not what the launcher writes.
    """
    try:
        rows = json.loads(path.read_bytes())
        return tuple(
            sorted(
                Member(
                    process=row["process"],
                    service=row["service"],
                    version=row["version"],
                    address=Address.parse(row["address"]),
                )
                for row in rows
            )
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableStateError(path, error) from error
