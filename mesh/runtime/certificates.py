"""The workload's own certificate: read from SOMA_PKI_DIR, again whenever it changes.

The folder holds cert.pem (leaf and intermediate), key.pem and ca.pem. Whoever
rotates replaces the files; servers take the new ones at the next handshake,
channels and brokers when the watch tells them.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh.runtime.errors import ConfigurationError
from mesh.runtime.logging import get_logger

_log = get_logger(__name__)
_LOOK_EVERY: Final = 2.0
_FILES: Final = ("cert.pem", "key.pem", "ca.pem")
Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """One generation of the workload's certificate, as PEM."""

    chain: bytes
    key: bytes
    authority: bytes


class Certificates:
    """Reads the folder and tells subscribers of a change."""

    def __init__(self, folder: Path) -> None:
        """Read the folder once.

        Raises:
            ConfigurationError: a file is missing or unreadable.
        """
        self.folder = folder
        self._subscribers: list[Callable[[Certificate], None]] = []
        self._stamp = self._look()
        self._current = self._read()

    @property
    def current(self) -> Certificate:
        """The certificate as last read."""
        return self._current

    def subscribe(self, changed: Callable[[Certificate], None]) -> None:
        """Call `changed` in the event loop after each rotation."""
        self._subscribers.append(changed)

    def refresh(self) -> bool:
        """Read the folder again if its files changed; True where they did.

        A rotation in progress (files that do not fit together yet) is left for the next look.
        """
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            fresh = self._read()
            self._check_pair()
        except (ConfigurationError, ssl.SSLError) as error:
            _log.warning("certificate not readable yet", cause=str(error))
            return False
        self._stamp, self._current = stamp, fresh
        return True

    async def watch(self) -> None:
        """Look for changes for ever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if self.refresh():
                _log.info("certificate rotated")
                for changed in self._subscribers:
                    changed(self._current)

    def client_tls(self) -> ssl.SSLContext:
        """Return a TLS context for a client that is not gRPC (Kafka): the mesh's root only."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=self._current.authority.decode("ascii"))
        context.load_cert_chain(self.folder / "cert.pem", self.folder / "key.pem")
        return context

    def reload_into(self, context: ssl.SSLContext) -> None:
        """Put the present certificate into a context that is in use: new connections take it."""
        context.load_cert_chain(self.folder / "cert.pem", self.folder / "key.pem")

    def _look(self) -> Stamp:
        try:
            stats = [(self.folder / name).stat() for name in _FILES]
        except OSError as error:
            raise ConfigurationError(f"SOMA_PKI_DIR: {error}") from error
        return tuple((found.st_mtime_ns, found.st_ino, found.st_size) for found in stats)

    def _read(self) -> Certificate:
        try:
            chain, key, authority = ((self.folder / name).read_bytes() for name in _FILES)
        except OSError as error:
            raise ConfigurationError(f"SOMA_PKI_DIR: {error}") from error
        return Certificate(chain, key, authority)

    def _check_pair(self) -> None:
        self.reload_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
