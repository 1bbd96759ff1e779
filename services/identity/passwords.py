"""Argon2id (RFC 9106) off the event loop, few at once.

One hash takes 19 MiB and some tens of milliseconds by design. A bounded number wait
for a thread; past it a sign-in is refused at once rather than late.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

from services.identity import errors

_THREADS: Final = 2
_WAITING: Final = 32
Result = TypeVar("Result")


class Argon2Passwords:
    """The port `Passwords`. The parameters are OWASP's (Password Storage Cheat Sheet): 19 MiB, 2 passes."""

    def __init__(self) -> None:
        """Make the threads and the hash that unknown users are compared with."""
        self._hasher = PasswordHasher(
            time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")
        self._in_use = 0
        self._nobody = self._hasher.hash(secrets.token_urlsafe(32))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Return a hash with today's parameters.

        Raises:
            ResourceExhausted: too many are being hashed.
        """
        return await self._off_loop(lambda: self._hasher.hash(password))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Tell whether the password fits; with None it works as long and says no.

        Raises:
            ResourceExhausted: too many are being verified.
        """
        fits = await self._off_loop(lambda: self._fits(password, hashed or self._nobody))
        return fits and hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Tell whether the hash was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(hashed)

    def _fits(self, password: str, hashed: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (Argon2Error, InvalidHashError):
            return False

    async def _off_loop(self, work: Callable[[], Result]) -> Result:
        if self._in_use >= _THREADS + _WAITING:
            raise errors.too_many_at_once()
        self._in_use += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # Counted until the thread is done: a caller who leaves does not free it.
        future.add_done_callback(self._done)
        return await asyncio.shield(future)

    def _done(self, _future: asyncio.Future[Result]) -> None:
        self._in_use -= 1
