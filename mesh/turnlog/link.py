"""The shared way to Redis: one ordered connection, made again when it is lost, and scripts."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import hiredis

from mesh.runtime.interceptors.errors import REDIS_PASSING
from mesh.runtime.waiting import until_up
from mesh.turnlog.connection import Argument, Connection, Reply
from mesh.turnlog.errors import LogDamaged, LogUnavailable

_ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest that Redis knows it by."""

    text: str
    digest: str

    @classmethod
    def of(cls, text: str) -> "Script":
        """Name a script."""
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class Link:
    """Finds the present connection."""

    def __init__(self, url: str) -> None:
        """Take the address; it connects when first used."""
        self.url = url
        self._present: Connection | None = None
        self._connecting = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, start_seconds: float = 60.0) -> AsyncIterator["Link"]:
        """Connect, waiting for a server that is still starting; close at the end.

        Raises:
            mesh.runtime.errors.DependencyDown: no answer within `start_seconds`.
        """
        link = cls(url)
        await until_up("redis", link.ping, retry_on=(LogUnavailable,), seconds=start_seconds)
        try:
            yield link
        finally:
            link.close()

    async def connection(self) -> Connection:
        """Return the present connection, or a new one.

        Raises:
            LogUnavailable: Redis does not answer.
        """
        present = self._present
        if present is not None and present.open_now:
            return present
        async with self._connecting:
            if self._present is None or not self._present.open_now:
                self._present = await Connection.open(self.url)
            return self._present

    async def ping(self) -> None:
        """Raise LogUnavailable unless Redis answers."""
        await self.call("PING")

    async def call(self, *arguments: Argument) -> Reply:
        """Run one command.

        Raises:
            LogUnavailable: no answer in time; the command may have happened.
            LogDamaged: Redis refused the command.
        """
        connection = await self.connection()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await connection.send(*arguments)
        except TimeoutError as error:
            connection.close()
            raise LogUnavailable("redis does not answer") from error
        except hiredis.ReplyError as error:
            raise self.explain(error) from error

    async def run(
        self, script: Script, *, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> tuple[Reply, Connection]:
        """Run a script; return its answer and the connection that it ran on.

        Raises:
            LogUnavailable: no answer in time; the script may have run.
            LogDamaged: the script met a key of another type.
        """
        connection = await self.connection()
        tail: tuple[Argument, ...] = (len(keys), *keys, *arguments)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                try:
                    reply = await connection.send("EVALSHA", script.digest, *tail)
                except hiredis.ReplyError as error:
                    if not str(error).startswith("NOSCRIPT"):
                        raise
                    reply = await connection.send("EVAL", script.text, *tail)
        except TimeoutError as error:
            connection.close()
            raise LogUnavailable("redis does not answer") from error
        except hiredis.ReplyError as error:
            raise self.explain(error) from error
        return reply, connection

    @staticmethod
    def explain(error: hiredis.ReplyError) -> LogUnavailable | LogDamaged:
        """Tell an error of the moment from one that stays."""
        words = str(error)
        if words.startswith(REDIS_PASSING):
            return LogUnavailable(words)
        return LogDamaged(words)

    def close(self) -> None:
        """Close the connection."""
        if self._present is not None:
            self._present.close()
