"""One connection to Redis: commands go out in the order of `send`, answers come back in it.

redis-py hands each command to any connection of a pool and awaits the answer
before the next one; a writer of a turn log needs neither. Parsing and packing
are hiredis's, the address is read by redis-py.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import parse_url

from mesh.turnlog.errors import LogUnavailable

Reply = Any
Argument = str | bytes | int | float
_CONNECT_SECONDS: Final = 5.0
# hiredis's stub says "a tuple of one"; it takes any number.
_pack = cast("Callable[[tuple[Argument, ...]], bytes]", hiredis.pack_command)


class Connection(asyncio.Protocol):
    """An open connection; once lost it stays lost."""

    def __init__(self, pushed: Callable[[list[Any]], None] | None = None) -> None:
        """Take who gets published messages; without it every answer has a question."""
        self._pushed = pushed
        self._parser = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._transport: asyncio.Transport | None = None
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, url: str, *, pushed: Callable[[list[Any]], None] | None = None) -> "Connection":
        """Connect and authenticate.

        Raises:
            LogUnavailable: nobody answers there, or the user is refused.
        """
        target = cast("dict[str, Any]", parse_url(url))
        host, port = target.get("host", "127.0.0.1"), target.get("port", 6379)
        context = ssl.create_default_context() if url.startswith("rediss:") else None
        connection = cls(pushed)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: connection, host, port, ssl=context)
                await connection._greet(target)
        except (OSError, TimeoutError, hiredis.ReplyError) as error:
            connection.close()
            raise LogUnavailable(f"redis at {host}:{port}: {type(error).__name__}: {error}") from error
        return connection

    async def _greet(self, target: dict[str, Any]) -> None:
        if password := target.get("password"):
            # RESP2: a subscribed connection then knows messages by their form.
            await self.send("AUTH", target.get("username") or "default", password)
        if database := target.get("db"):
            await self.send("SELECT", database)

    @property
    def open_now(self) -> bool:
        """Whether it still stands."""
        return self._transport is not None and not self._lost.done()

    def send(self, *arguments: Argument) -> asyncio.Future[Reply]:
        """Queue a command and return the future of its answer.

        The future raises `hiredis.ReplyError` for an error of Redis and
        `LogUnavailable` when the connection is lost first.
        """
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if self._transport is None or self._lost.done():
            answer.set_exception(LogUnavailable("the connection to redis was lost"))
            return answer
        self._waiting.append(answer)
        self._transport.write(_pack(arguments))
        return answer

    def post(self, *arguments: Argument) -> None:
        """Send a command of the subscriber kind, whose answers are pushed."""
        if self._transport is None or self._lost.done():
            raise LogUnavailable("the connection to redis was lost")
        self._transport.write(_pack(arguments))

    async def wait_lost(self) -> None:
        """Return when the connection is gone."""
        await asyncio.shield(self._lost)

    def close(self) -> None:
        """Close it; what still waits fails."""
        if self._transport is not None:
            self._transport.abort()
        self._fail()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits for an answer."""
        self._fail()

    def data_received(self, data: bytes) -> None:
        """Match answers to questions."""
        self._parser.feed(data)
        while True:
            try:
                reply = self._parser.gets()
            except hiredis.ProtocolError:
                self.close()
                return
            if reply is False:
                return
            if self._pushed is not None and isinstance(reply, list) and not self._waiting:
                self._pushed(reply)
                continue
            self._settle(reply)

    def _settle(self, reply: Reply) -> None:
        answer = self._waiting.popleft()
        if answer.done():
            return  # who asked went away
        if isinstance(reply, hiredis.ReplyError):
            answer.set_exception(reply)
        else:
            answer.set_result(reply)

    def _fail(self) -> None:
        if not self._lost.done():
            self._lost.set_result(None)
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(LogUnavailable("the connection to redis was lost"))
