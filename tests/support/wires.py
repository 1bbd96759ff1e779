"""A client of turns over either wire, gRPC or server-sent events, with the same events of both."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import grpc
import grpc.aio
from soma.orchestrator.v1 import resources_pb2 as pb
from soma.orchestrator.v1 import service_pb2 as rpc_pb
from soma.orchestrator.v1 import service_pb2_grpc as rpc


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream, as either wire tells it."""

    seq: int | None
    kind: str
    text: str = ""
    turn_id: str = ""
    detail: str = ""

    @classmethod
    def of_json(cls, body: dict[str, Any]) -> "Event":
        """Read an SSE event's data."""
        seq = int(body["seq"]) if "seq" in body else None
        kind = next(key for key in body if key != "seq")
        content = body[kind]
        detail = content.get("finish_reason", "") or content.get("reason", "")
        return cls(seq, kind, content.get("text", ""), content.get("turn_id", ""), detail)

    @classmethod
    def of_message(cls, event: pb.TurnEvent) -> "Event":
        """Read a gRPC message."""
        kind = event.WhichOneof("event") or ""
        detail = event.completed.finish_reason or event.failed.message
        return cls(
            event.seq if event.HasField("seq") else None, kind, event.delta.text,
            event.accepted.turn_id, detail,
        )  # fmt: skip


class Client(Protocol):
    """What both wires can do."""

    async def create_session(self, persona: str) -> str:
        """Return the id of a new session."""
        ...

    def stream(
        self, session_id: str, text: str, *, request_id: str, **options: Any
    ) -> AsyncGenerator[Event, None]:
        """Run a turn."""
        ...

    def resume(self, session_id: str, turn_id: str, from_seq: int) -> AsyncGenerator[Event, None]:
        """Go on with a turn."""
        ...

    async def stored(self, session_id: str, turn_id: str) -> tuple[str, str]:
        """Return a turn's state and text."""
        ...


class GrpcClient:
    """Over gRPC; `channel` decides how."""

    def __init__(self, channel: grpc.aio.Channel, api_key: str) -> None:
        """Call with a key."""
        self.channel = channel
        self.sessions = rpc.SessionsStub(channel)
        self.turns = rpc.TurnsStub(channel)
        self.metadata = (("authorization", f"Bearer {api_key}"),)

    async def create_session(self, persona: str) -> str:
        """Return the id of a new session."""
        request = rpc_pb.CreateSessionRequest(persona=persona)
        session = await self.sessions.CreateSession(request, metadata=self.metadata, timeout=10)
        return str(session.id)

    async def stream(
        self, session_id: str, text: str, *, request_id: str, **options: Any
    ) -> AsyncGenerator[Event, None]:
        """Run a turn."""
        request = rpc_pb.StreamTurnRequest(
            session_id=session_id,
            input=rpc_pb.TurnInput(text=text),
            request_id=request_id,
            options=rpc_pb.GenerationOptions(**options),
        )
        async for event in self._events(self.turns.StreamTurn(request, metadata=self.metadata)):
            yield event

    async def resume(self, session_id: str, turn_id: str, from_seq: int) -> AsyncGenerator[Event, None]:
        """Go on with a turn."""
        request = rpc_pb.ResumeTurnRequest(session_id=session_id, turn_id=turn_id, from_seq=from_seq)
        async for event in self._events(self.turns.ResumeTurn(request, metadata=self.metadata)):
            yield event

    async def stored(self, session_id: str, turn_id: str) -> tuple[str, str]:
        """Return a turn's state and text."""
        request = rpc_pb.GetTurnRequest(session_id=session_id, turn_id=turn_id)
        turn = await self.turns.GetTurn(request, metadata=self.metadata, timeout=10)
        return pb.TurnState.Name(turn.state).removeprefix("TURN_STATE_"), turn.text

    @staticmethod
    async def _events(call: Any) -> AsyncGenerator[Event, None]:
        try:
            async for message in call:
                yield Event.of_message(message)
        finally:
            call.cancel()


class SseClient:
    """Over HTTP and server-sent events, through the edge."""

    def __init__(self, session: aiohttp.ClientSession, url: str, api_key: str) -> None:
        """Call the edge at `url` with a key."""
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {api_key}"}

    async def create_session(self, persona: str) -> str:
        """Return the id of a new session."""
        body = await self._json("POST", "/v1/sessions", {"persona": persona})
        return str(body["id"])

    async def stream(
        self, session_id: str, text: str, *, request_id: str, **options: Any
    ) -> AsyncGenerator[Event, None]:
        """Run a turn."""
        body = {"input": {"text": text}, "request_id": request_id, "options": options}
        async for event in self._events("POST", f"/v1/sessions/{session_id}/turns:stream", body):
            yield event

    async def resume(self, session_id: str, turn_id: str, from_seq: int) -> AsyncGenerator[Event, None]:
        """Go on with a turn."""
        path = f"/v1/sessions/{session_id}/turns/{turn_id}:stream?from_seq={from_seq}"
        async for event in self._events("GET", path, None):
            yield event

    async def stored(self, session_id: str, turn_id: str) -> tuple[str, str]:
        """Return a turn's state and text."""
        body = await self._json("GET", f"/v1/sessions/{session_id}/turns/{turn_id}", None)
        return str(body["state"]).removeprefix("TURN_STATE_"), str(body.get("text", ""))

    async def _json(self, method: str, path: str, body: Any) -> dict[str, Any]:
        request = self._session.request(method, self._url + path, json=body, headers=self._headers)
        async with request as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
            return found

    async def _events(self, method: str, path: str, body: Any) -> AsyncGenerator[Event, None]:
        request = self._session.request(method, self._url + path, json=body, headers=self._headers)
        async with request as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if line.startswith(b"data:"):
                    yield Event.of_json(json.loads(line[5:]))


@contextlib.asynccontextmanager
async def connect(*, over_grpc: bool) -> AsyncIterator[Client]:
    """Connect to the stack that the environment names."""
    key = os.environ["SOMA_API_KEY"]
    if over_grpc:
        root = await asyncio.to_thread(Path(os.environ["SOMA_CA_FILE"]).read_bytes)
        credentials = grpc.ssl_channel_credentials(root)
        async with grpc.aio.secure_channel(os.environ["SOMA_GRPC_TARGET"], credentials) as channel:
            yield GrpcClient(channel, key)
        return
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield SseClient(session, os.environ["SOMA_EDGE_URL"], key)
