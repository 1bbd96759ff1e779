"""JSON at the edge: bodies that are nearly right, broken at random, on every path that takes one."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.fuzz.cases import TALLY, random_of, share
from tests.attacks.fuzz.messages import STRANGE
from tests.support.edge import Answer, Edge
from tests.support.stack import Stack

FAMILY = "JSON at the edge"
OPENAPI = json.loads((Path(__file__).resolve().parents[3] / "gen" / "openapi" / "openapi.json").read_text())
PATHS = tuple(
    sorted(path for path, verbs in OPENAPI["paths"].items() if "post" in verbs and "tokens" not in path)
)
BODIES: tuple[Any, ...] = (
    {"persona": "guide"}, {"text": "a fact", "labels": {"a": "b"}}, {"query": "x", "limit": 3},
    {"input": {"text": "hi", "history": [{"role": "ROLE_USER", "text": "a"}]}, "options": {"max_tokens": 1}},
    {"media_type": "text/plain", "content": "eA==", "source": "a"}, {"display_name": "k", "valid_days": 1},
    {"model": "guide", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
    {"model": "embed", "input": ["a", "b"]}, {"action": "turns.create", "attributes": {"model": "slm"}}, {},
)  # fmt: skip
PIECES = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b",",
    b":",
    b"null",
    b"1e999",
    b"-",
    b"\\ud800",
    b"\xff",
    b"\x00",
    b"\n",
)
SECONDS = 60.0


def _strange(value: Any, rng: random.Random) -> Any:
    """The value with something in it exchanged for something strange."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        return {**value, key: _strange(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        return [_strange(value[0], rng), *value[1:]]
    others: list[Any] = [None, True, 0, -1, 2**70, 0.5, 1e308, [], {}, [[]], {"a": {}}, rng.choice(STRANGE)]
    return rng.choice(others)


def _body(rng: random.Random) -> bytes:
    value = rng.choice(BODIES)
    for _ in range(rng.choice((0, 1, 1, 2))):
        value = _strange(value, rng)
    held = bytearray(json.dumps(value).encode())
    for _ in range(rng.choice((0, 0, 1, 3))):
        at = rng.randrange(len(held) + 1)
        held[at : at + rng.choice((0, 1, 4))] = rng.choice(PIECES)
    return bytes(held)


def _well_formed(path: str, body: bytes, answer: Answer) -> None:
    said = (path, body[:300], answer.status, str(answer.body)[:500])
    assert answer.status < 500, said
    if answer.status < 400:
        return
    if path.startswith("/v1/") and "error" in answer.body:
        assert answer.body["error"]["message"], said
        assert answer.body["error"]["type"], said
    else:
        assert answer.body["message"], said
        assert answer.reason, said


@pytest.mark.timeout(7200)
async def test_broken_bodies_are_refused_in_our_own_words(stack: Stack, edge: Edge, steady: None) -> None:
    rng = random_of(FAMILY)
    user = edge.as_user((await stack.new_tenant()).api_key)
    session = await user.session("bootstrap")
    numbers = iter(range(share(FAMILY)))

    async def some() -> None:
        for number in numbers:
            form = PATHS[number % len(PATHS)]
            path = form.replace("{session_id}", session).replace("{", "").replace("}", "")
            body = _body(rng)
            async with asyncio.timeout(SECONDS):
                _well_formed(form, body, await user.call("POST", path, raw=body))
            TALLY[FAMILY] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(some())
