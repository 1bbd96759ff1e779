"""What the snapshot is made of, and the watch that sees it change.

Files are looked at five times a second by their modification time: a handful of `stat` calls, and
no more for a mesh that stands still.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mesh.envoy.contract import Contract, read_contract
from mesh.envoy.snapshot import Credentials, Snapshot
from mesh.pki.errors import UnreadableIdentityError
from mesh.pki.files import Identity, read_identity
from mesh.runtime.logging import get_logger
from mesh.xds.errors import UnreadableStateError
from mesh.xds.members import Member, read_members
from mesh.xds.revocations import Revocations
from mesh.xds.splits import Splits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mesh.xds.config import Settings

_log = get_logger(__name__)
_LOOK_SECONDS = 0.2
EDGE = "edge"
Stamp = tuple[int, int] | None


class Sources:
    """The parts of the snapshot; `changed` is called after each change of any."""

    def __init__(self, settings: Settings) -> None:
        """Read everything once.

        Raises:
            UnreadableIdentityError: the edge has no certificate.
            UnreadableStateError: the splits of a former run cannot be read.
            ContractError: the contracts do not say who may call what.
        """
        self._settings = settings
        self._edge_pki = settings.home / "pki" / EDGE
        self._members_file = settings.home / "run" / "endpoints.json"
        self._contract: Contract = read_contract(settings.descriptors.read_bytes())
        self._identity: Identity = read_identity(self._edge_pki)
        self._draining: frozenset[str] = frozenset()
        self.members: tuple[Member, ...] = ()
        self.splits = Splits(settings.home / "data" / "xds" / "state.json")
        self.revocations = Revocations(bound=settings.revocation_bound)
        self._members_stamp: Stamp = None
        self._identity_stamp = _stamp(self._edge_pki / "cert.pem")
        self._read_members()

    def snapshot(self) -> Snapshot:
        """Put the parts together."""
        own = self._identity
        return Snapshot(
            contract=self._contract,
            edge=self._settings.edge,
            credentials=Credentials(own.chain_pem, own.key_pem, own.ca_pem),
            endpoints=tuple(
                member.endpoint(draining=member.process in self._draining) for member in self.members
            ),
            canary_percent=self.splits.percents(),
            revoked=self.revocations.ids(),
        )

    def drain(self, process: str) -> None:
        """Take a process out of the traffic."""
        self._draining |= {process}

    def undrain(self, process: str) -> None:
        """Let it take calls again."""
        self._draining -= {process}

    async def watch(self, changed: Callable[[], None]) -> None:
        """Look for changed files for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._read_members() | self._read_identity():
                changed()

    def _read_members(self) -> bool:
        """Read the endpoints if they changed; an absent file (the launcher stops) changes nothing."""
        stamp = _stamp(self._members_file)
        if stamp is None or stamp == self._members_stamp:
            return False
        self._members_stamp = stamp
        try:
            members = read_members(self._members_file)
        except UnreadableStateError as error:
            _log.error("endpoints not readable; the last ones stay", cause=str(error))
            return False
        changed, self.members = members != self.members, members
        return changed

    def _read_identity(self) -> bool:
        stamp = _stamp(self._edge_pki / "cert.pem")
        if stamp is None or stamp == self._identity_stamp:
            return False
        try:
            self._identity = read_identity(self._edge_pki)
        except UnreadableIdentityError as error:
            _log.warning("the edge's certificate is not readable yet", cause=str(error))
            return False
        self._identity_stamp = stamp
        _log.info("the edge's certificate was rotated")
        return True


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
