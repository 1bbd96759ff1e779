"""A client of the edge for tests: JSON calls and server-sent events over plain HTTP on loopback."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Json = dict[str, Any]
LONG = "Tell me more"
LARGE = 1 << 20
ENDS = frozenset({"completed", "refused", "failed"})


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def reason(self) -> str:
        """The reason of a google.rpc.ErrorInfo; empty when there is none."""
        details = self.body.get("details", []) if isinstance(self.body, dict) else []
        return next((d["reason"] for d in details if "reason" in d), "")

    @property
    def fields(self) -> list[str]:
        """The fields that a google.rpc.BadRequest names."""
        details = self.body.get("details", []) if isinstance(self.body, dict) else []
        return [v["field"] for d in details for v in d.get("field_violations", d.get("fieldViolations", []))]


@dataclass(slots=True)
class Frames:
    """What a stream brought: events by `seq`, joined over reconnects."""

    session_id: str
    turn_id: str = ""
    events: list[Json] = field(default_factory=list)
    breaks: int = 0

    @property
    def next_seq(self) -> int:
        """The first event that is still wanted."""
        return len(self.events)

    @property
    def text(self) -> str:
        """All deltas joined."""
        return "".join(e["delta"]["text"] for e in self.events if "delta" in e)

    @property
    def end(self) -> str:
        """`completed`, `refused`, `failed`, or empty while the stream has no end."""
        return next((kind for kind in ENDS if self.events and kind in self.events[-1]), "")

    def take(self, event: Json) -> None:
        """Append an event; its number must be the next one."""
        if "ping" in event:
            assert "seq" not in event
            return
        assert int(event["seq"]) == self.next_seq, f"seq {event['seq']} after {self.next_seq - 1}"
        if "accepted" in event:
            self.turn_id = event["accepted"]["turn_id"]
        self.events.append(event)


class Edge:
    """One user of the edge."""

    def __init__(self, session: aiohttp.ClientSession, *, url: str, key: str) -> None:
        self.http = session
        self.url = url
        self.key = key

    def as_user(self, key: str) -> Edge:
        """The same edge with another key."""
        return Edge(self.http, url=self.url, key=key)

    def headers(self) -> dict[str, str]:
        """The headers of a call."""
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | io.BytesIO | None = None,
        **headers: str,
    ) -> Answer:
        """One call; `raw` sends bytes instead of JSON."""
        data: bytes | io.BytesIO | None = raw
        if raw is None and body is not None:
            data = json.dumps(body).encode()
        if isinstance(data, bytes) and len(data) > LARGE:
            data = io.BytesIO(data)  # aiohttp sends it in pieces, and warns of anything else
        sent = {"content-type": "application/json", **self.headers(), **headers}
        async with self.http.request(method, self.url + path, data=data, headers=sent) as answer:
            text = await answer.text()
            kind = answer.headers.get("content-type", "")
            parsed = json.loads(text) if kind.startswith("application/json") and text else text
            return Answer(status=answer.status, body=parsed, headers=dict(answer.headers))

    async def get(self, path: str) -> Answer:
        """GET."""
        return await self.call("GET", path)

    async def post(self, path: str, body: Any = None) -> Answer:
        """POST."""
        return await self.call("POST", path, {} if body is None else body)

    async def session(self, persona: str = "guide") -> str:
        """Create a session; returns its id."""
        answer = await self.post("/v1/sessions", {"persona": persona})
        assert answer.status == 201, answer
        return str(answer.body["id"])

    async def events(self, method: str, path: str, body: Json | None = None) -> AsyncIterator[Json]:
        """The events of a stream."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json", **self.headers()}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with self.http.request(
            method, self.url + path, data=data, headers=sent, timeout=timeout
        ) as answer:
            if answer.status != 200:
                raise AssertionError(f"{method} {path}: {answer.status} {await answer.text()}")
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.content:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    async def turn(self, session_id: str, text: str, *, frames: Frames | None = None, **extra: Any) -> Frames:
        """Run a streamed turn to its end, over as many streams as it takes; `frames` may be looked at."""
        request_id = extra.pop("request_id", uuid.uuid4().hex)
        frames = frames or Frames(session_id=session_id)
        body = {"input": {"text": text}, "request_id": request_id, **extra}
        stream = self.events("POST", f"/v1/sessions/{session_id}/turns:stream", body)
        for attempt in range(200):
            try:
                async for event in stream:
                    frames.take(event)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                pass
            except AssertionError as error:
                if " 503 " not in str(error) and " 502 " not in str(error):
                    raise
            if frames.end:
                return frames
            frames.breaks += 1
            await asyncio.sleep(min(0.05 * 2**attempt, 0.5))
            if frames.turn_id:
                path = f"/v1/sessions/{session_id}/turns/{frames.turn_id}:stream?from_seq={frames.next_seq}"
                stream = self.events("GET", path)
            else:
                stream = self.events("POST", f"/v1/sessions/{session_id}/turns:stream", body)
        raise AssertionError(f"turn {frames.turn_id} did not end: {frames.events[-1:]}")

    async def stored(self, frames: Frames, *, seconds: float = 30.0) -> Json:
        """The turn as the platform stores it, once it is not running any more."""
        path = f"/v1/sessions/{frames.session_id}/turns/{frames.turn_id}"
        for _ in range(int(seconds / 0.1)):
            answer = await self.get(path)
            if answer.status == 200 and answer.body["state"] != "TURN_STATE_RUNNING":
                return dict(answer.body)
            await asyncio.sleep(0.1)
        raise AssertionError(f"turn {frames.turn_id} is still running: {answer}")

    async def audited(self, *, resource: str = "", outcomes: Collection[str] = ()) -> list[Json]:
        """The tenant's audit records, newest first, once there are any and all these outcomes among them."""
        path = f"/v1/audit/records?resource={resource}" if resource else "/v1/audit/records"
        for _ in range(300):
            answer = await self.get(path)
            records = [dict(one["record"]) for one in answer.body.get("records", [])]
            if records and {one["outcome"] for one in records} >= set(outcomes):
                return records
            await asyncio.sleep(0.1)
        raise AssertionError(f"no records of {outcomes} for {resource}: {answer}")
