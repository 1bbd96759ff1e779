"""Wait for a server that is not up yet: back-off, a bound, one line in the log.

The launcher starts everything at once, so at start a missing dependency is
normal; past the bound it is an error that ends the process.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mesh.runtime.errors import DependencyDown
from mesh.runtime.logging import get_logger

_log = get_logger(__name__)
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0

Result = TypeVar("Result")


async def until_up(
    name: str,
    attempt: Callable[[], Awaitable[Result]],
    *,
    retry_on: tuple[type[BaseException], ...],
    seconds: float,
) -> Result:
    """Run `attempt` until it succeeds and return what it returned.

    Raises:
        DependencyDown: it still failed with one of `retry_on` after `seconds`.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    pause = _FIRST_PAUSE
    told = False
    while True:
        try:
            result = await attempt()
        except retry_on as error:
            if loop.time() - start > seconds:
                raise DependencyDown(
                    f"{name} does not answer after {seconds:.0f} s: {type(error).__name__}: {error}"
                ) from error
            if not told and loop.time() - start > 0.5:
                _log.info("waiting", dependency=name, cause=f"{type(error).__name__}: {error}")
                told = True
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(_LONGEST_PAUSE, pause * 2)
        else:
            if told:
                _log.info("answers", dependency=name, seconds=round(loop.time() - start, 2))
            return result
