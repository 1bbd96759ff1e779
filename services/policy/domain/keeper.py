"""Keeps the bundle in force equal to the newest stored version, and its signature fresh."""

import asyncio
from typing import Final

from mesh.policy import BundleRefusedError
from mesh.runtime.logging import get_logger
from services.policy.domain.publisher import Publisher
from services.policy.errors import RuleSetRefusedError
from services.policy.ports import RuleSetStore

_PAUSE_AFTER_FAILURE: Final = 1.0
_log = get_logger(__name__)


class Keeper:
    """Reads the store before each signature: a replica cut off from it lets its bundle run out.

    Signing on without looking would keep alive a rule that somebody took back in the meantime.
    """

    def __init__(self, *, store: RuleSetStore, publisher: Publisher, sign_every: float) -> None:
        """Take where versions are stored, who signs, and how often in seconds."""
        self._store = store
        self._publisher = publisher
        self._sign_every = sign_every

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            try:
                await self.publish_latest()
            except (RuleSetRefusedError, BundleRefusedError) as error:
                _log.error("rules not published", cause=str(error))
                await asyncio.sleep(_PAUSE_AFTER_FAILURE)
            except Exception as error:  # noqa: BLE001 - an outage of Postgres ends; the loop does not
                _log.warning("rules not read", cause=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_PAUSE_AFTER_FAILURE)
            else:
                await self._store.changed(within=self._sign_every)

    async def publish_latest(self) -> None:
        """Sign and publish the newest version.

        Raises:
            RuleSetRefusedError: there is none, or it may not be published.
        """
        latest = await self._store.latest()
        if latest is None:
            raise RuleSetRefusedError("no version is stored")
        before = self._publisher.version
        await self._publisher.publish(latest)
        if latest.version != before:
            _log.info("policy published", version=latest.version, rules=len(latest.rules))
