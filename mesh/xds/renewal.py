"""Keeps every leaf of one machine young: renewed at half of its life, while calls go on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mesh.pki.errors import PkiError
from mesh.runtime.logging import get_logger

if TYPE_CHECKING:
    from mesh.pki.folder import PkiFolder

_log = get_logger(__name__)
_LOOK_SECONDS = 60.0


async def renew_for_ever(folder: PkiFolder) -> None:
    """Renew what is due, now and every minute.

    A failure is logged and tried again: the leaves still have half of their life left.
    """
    while True:
        try:
            renewed = await asyncio.to_thread(folder.initialise, now=datetime.now(UTC))
            if renewed:
                _log.info("certificates renewed", workloads=renewed)
        except (PkiError, OSError) as error:
            _log.error("certificates not renewed", cause=str(error))
        await asyncio.sleep(_LOOK_SECONDS)
