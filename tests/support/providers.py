"""A real HTTP server that speaks OpenAI's chat completions and Anthropic's messages.

It computes its answer from the request: the words of the last user message, sorted, one a chunk; a
word is a token. Keys, context length, rate limit and models are checked as providers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.ports import free_port

KEY = "sk-right-key-of-the-provider"
MODEL = "sorter-1"
CONTEXT = 50


@dataclass
class Provider:
    """One provider and what it has seen."""

    port: int
    pause: float = 0.0
    """Seconds before each word."""
    most_requests: int = 1_000_000
    overloaded: bool = False
    cut_after: int | None = None
    """Words after which the connection is cut, as a dying server does."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Provider]:
    """Serve on a port of its own."""
    provider = Provider(free_port(), **settings)
    app = web.Application()
    app.add_routes(
        [
            web.get("/v1/models/{model}", functools.partial(_model, provider)),
            web.post("/v1/chat/completions", functools.partial(_openai, provider)),
            web.post("/v1/messages", functools.partial(_anthropic, provider)),
            web.post("/moved/{rest:.*}", _moved),
            web.get("/moved/{rest:.*}", _moved),
        ]
    )
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", provider.port).start()
        yield provider
    finally:
        await runner.cleanup()


async def _moved(request: web.Request) -> web.Response:
    raise web.HTTPTemporaryRedirect(f"/v1/{request.match_info['rest']}")


async def _model(provider: Provider, request: web.Request) -> web.Response:
    if not _known(request):
        return web.json_response({"error": {"message": "Incorrect API key provided"}}, status=401)
    if request.match_info["model"] != MODEL:
        return web.json_response({"error": {"message": "no such model"}}, status=404)
    return web.json_response({"id": MODEL, "object": "model"}, status=503 if provider.overloaded else 200)


def _known(request: web.Request) -> bool:
    return KEY in (
        request.headers.get("x-api-key"),
        request.headers.get("authorization", "")[len("Bearer ") :],
    )


def _refusal(provider: Provider, request: web.Request, body: dict[str, Any]) -> web.Response | None:
    """What is wrong with a request, as a provider says it."""
    words = sum(len(message["content"].split()) for message in body["messages"])
    for wrong, status, kind, message in (
        (not _known(request), 401, "authentication_error", f"invalid x-api-key {KEY[:8]}"),
        (provider.overloaded, 503, "overloaded_error", "Overloaded"),
        (len(provider.requests) > provider.most_requests, 429, "rate_limit_error", "slow down"),
        (body["model"] != MODEL, 404, "not_found_error", f"model: {body['model']}"),
        (words > CONTEXT, 400, "invalid_request_error", f"maximum context length is {CONTEXT} tokens"),
    ):
        if wrong:
            error = {"type": "error", "error": {"type": kind, "message": message}}
            return web.json_response(error, status=status, headers={"retry-after": "7"})
    return None


def _answer(body: dict[str, Any], stop: list[str]) -> tuple[list[str], str]:
    said = [message["content"] for message in body["messages"] if message["role"] == "user"][-1]
    words: list[str] = []
    for word in sorted(said.split()):
        if word in stop:
            return words, "stop"
        if len(words) == body["max_tokens"]:
            return words, "length"
        words.append(word)
    return words, "end"


async def _opened(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    return response


async def _words(provider: Provider, request: web.Request, words: list[str]) -> AsyncIterator[str]:
    try:
        for index, word in enumerate(words):
            if index == provider.cut_after and request.transport is not None:
                request.transport.abort()
                return
            await asyncio.sleep(provider.pause)
            yield word if index == 0 else f" {word}"
    except asyncio.CancelledError:
        provider.disconnected.set()
        raise


async def _openai(provider: Provider, request: web.Request) -> web.StreamResponse:
    body = await request.json()
    provider.requests.append(body)
    refused = _refusal(provider, request, body)
    if refused is not None:
        return refused
    words, reason = _answer(body, body.get("stop", []))
    response = await _opened(request)

    async def send(choices: list[dict[str, Any]], **more: Any) -> None:
        chunk = {"id": "c1", "object": "chat.completion.chunk", "model": MODEL, "choices": choices, **more}
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())

    await send([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
    async for text in _words(provider, request, words):
        await send([{"index": 0, "delta": {"content": text}, "finish_reason": None}])
    await send([{"index": 0, "delta": {}, "finish_reason": "length" if reason == "length" else "stop"}])
    taken = sum(len(message["content"].split()) for message in body["messages"])
    if body.get("stream_options", {}).get("include_usage"):
        await send([], usage={"prompt_tokens": taken, "completion_tokens": len(words)})
    await response.write(b"data: [DONE]\n\n")
    return response


async def _anthropic(provider: Provider, request: web.Request) -> web.StreamResponse:
    body = await request.json()
    provider.requests.append({**body, "version": request.headers.get("anthropic-version")})
    refused = _refusal(provider, request, body)
    if refused is not None:
        return refused
    words, reason = _answer(body, body.get("stop_sequences", []))
    response = await _opened(request)

    async def send(kind: str, **more: Any) -> None:
        event = json.dumps({"type": kind, **more})
        await response.write(f"event: {kind}\r\ndata: {event}\r\n\r\n".encode())

    taken = sum(len(message["content"].split()) for message in body["messages"])
    await send("message_start", message={"id": "m1", "usage": {"input_tokens": taken, "output_tokens": 1}})
    await send("content_block_start", index=0, content_block={"type": "text", "text": ""})
    await send("ping")
    async for text in _words(provider, request, words):
        await send("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    await send("content_block_stop", index=0)
    names = {"end": "end_turn", "stop": "stop_sequence", "length": "max_tokens"}
    await send("message_delta", delta={"stop_reason": names[reason]}, usage={"output_tokens": len(words)})
    await send("message_stop")
    return response
