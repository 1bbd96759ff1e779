"""The workload's certificate as Kafka's client takes it, followed through rotations."""

import asyncio
import ssl
from pathlib import Path
from typing import Final

from mesh.runtime.certificates import Certificates

_LOOK_EVERY: Final = 5.0


class KafkaIdentity:
    """A TLS context that always holds the present certificate: reconnects take it."""

    def __init__(self, folder: Path) -> None:
        """Read the workload's folder."""
        self._certificates = Certificates(folder)
        self.context: ssl.SSLContext = self._certificates.client_tls()

    async def follow(self) -> None:
        """Put rotated certificates into the context, for ever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if self._certificates.refresh():
                self._certificates.reload_into(self.context)
