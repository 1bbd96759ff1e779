"""What the echo service does; `Hear` fails in every way that a handler can."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import redis.exceptions
from aiokafka.errors import KafkaConnectionError

from mesh.runtime.context import current
from mesh.runtime.errors import Cancelled, Internal, NotFound, ResourceExhausted
from tests.support.echo.contract import modules

pb, _ = modules()
FAILURES: dict[str, Exception] = {
    "not_found": NotFound("NOT_FOUND", "word wrd_1 does not exist", metadata={"word": "wrd_1"}),
    "exhausted": ResourceExhausted("QUEUE_FULL", "9 words wait, the bound is 8", retry_after=1.5),
    "internal": Internal("INTERNAL", "the secret cause"),
    "unexpected": ZeroDivisionError("secret text of a driver"),
    "postgres": asyncpg.CannotConnectNowError("the database system is starting up at secret-host"),
    "pool": asyncpg.InterfaceError("connection is closed: secret-host"),
    "redis": redis.exceptions.ConnectionError("Error 111 connecting to secret-host"),
    "kafka": KafkaConnectionError("secret-host:9092"),
    "socket": ConnectionRefusedError("secret-host"),
    "timeout": TimeoutError(),
    "gone": Cancelled("CANCELLED", "the server ended the call"),
}


class Echo:
    """The servicer."""

    def __init__(self, *, peer: Any = None) -> None:
        self.peer = peer
        self.running = asyncio.Event()

    async def Say(self, request: Any, context: Any) -> Any:
        call = current()
        principal = call.principal
        return pb.SayResponse(
            text=request.text,
            tenant=call.tenant,
            subject=principal.subject if principal else "",
            request_id=call.idempotency_key,
            digest=call.request_digest,
            caller=call.caller,
            trace_id=call.trace.trace_id,
            call_id=call.request_id,
        )

    async def Hear(self, request: Any, context: Any) -> Any:
        self.running.set()
        if request.what in FAILURES:
            raise FAILURES[request.what]
        if request.what == "slow":
            await asyncio.sleep(30)
        if request.what == "half_second":
            await asyncio.sleep(0.5)
        if request.what == "onward":
            return await self.peer.Hear(pb.HearRequest(what="remaining"))
        if request.what.startswith("onward:"):
            return await self.peer.Hear(pb.HearRequest(what=request.what[7:]))
        return pb.HearResponse(text=request.what, remaining=current().remaining() or -1.0)

    async def Wave(self, request: Any, context: Any) -> Any:
        return pb.WaveResponse()

    async def Relay(self, request: Any, context: Any) -> Any:
        return pb.RelayResponse(tenant=current().tenant, caller=current().caller)

    async def Recite(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.running.set()
        for number in range(request.count):
            yield pb.ReciteResponse(text=f"word {number}")
            if request.pause:
                await asyncio.sleep(request.pause)
        if request.then:
            raise FAILURES[request.then]

    async def ReciteRaw(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        for number in range(request.count):
            yield pb.ReciteRawResponse(text=f"word {number}").SerializeToString()

    async def Converse(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield pb.ConverseResponse(text=request.text)

    async def Gather(self, requests: AsyncIterator[Any], context: Any) -> Any:
        words = [request.text async for request in requests]
        return pb.GatherResponse(text=" ".join(words))
