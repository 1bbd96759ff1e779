"""JSON that is small to send and dear to read; the edge's threads serve everybody, so none may stay long.

A body of 1 MiB is read in well under a second. What is quadratic takes hours at that size, and so
passes no bound, however generous it is and however loaded the machine.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.support.edge import Edge

MEBIBYTE = 1024 * 1024
SECONDS = 20.0
RECALL = "/v1/memories:recall"
COUNT = "/soma.slm.v1.Inference/CountTokens"
CHAT = "/v1/chat/completions"


def _fill(before: bytes, one: bytes, after: bytes) -> bytes:
    return before + one * ((MEBIBYTE - 64 - len(before) - len(after)) // len(one)) + after


REFUSED = {
    "a number that ends in a letter": (RECALL, _fill(b'{"query":"x","limit":', b"1", b"x}")),
    "a number with two points": (RECALL, _fill(b'{"query":"x","limit":', b"1", b".1.1}")),
    "a number that is no limit": (RECALL, _fill(b'{"query":"x","limit":', b"9", b"}")),
    "a fraction without an end": (RECALL, _fill(b'{"query":"x","limit":0.', b"0", b"e}")),
    "an exponent": (RECALL, b'{"query":"x","limit":1e999999999}'),
    "a string of escapes": (RECALL, _fill(b'{"query":"', b"\\\\", b'"}')),
    "a string of escaped quotes": (RECALL, _fill(b'{"query":"', b'\\"', b'"}')),
    "a string of escaped characters": (RECALL, _fill(b'{"query":"', b"\\u0041", b'"}')),
    "a string without an end": (RECALL, _fill(b'{"query":"', b"\\\\", b"")),
    "a list of many": (COUNT, _fill(b'{"model":"slm","texts":[', b'"",', b'""]}')),
    "a list of many, the last of which is wrong": (COUNT, _fill(b'{"model":"slm","texts":[', b'"",', b"1]}")),
    "lists in lists": (COUNT, _fill(b'{"texts":', b"[", b"")),
    "objects in objects": ("/v1/sessions", _fill(b'{"persona":', b'{"a":', b"")),
    "lists in lists in what is free": (CHAT, _fill(b'{"model":"guide","metadata":', b"[", b"")),
    "objects in objects in what is free": (CHAT, _fill(b'{"metadata":', b'{"a":', b"")),
    "a number of a million digits": (CHAT, _fill(b'{"model":"guide","seed":', b"9", b"}")),
    "the same field many times": (RECALL, _fill(b'{"query":"x"', b',"limit":1000', b"}")),
    "white space": (RECALL, _fill(b"", b" ", b"x")),
    "a key without an end": (RECALL, _fill(b'{"', b"k", b"")),
    "a long key": (RECALL, _fill(b'{"', b"k", b'":1}')),
    "many labels": ("/v1/memories", _fill(b'{"text":"x","labels":{"a":"b"', b',"a":"b"', b',"B C":""}}')),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_body_that_is_dear_to_read_is_refused_at_once(edge: Edge, name: str) -> None:
    path, body = REFUSED[name]
    async with asyncio.timeout(SECONDS):
        answer = await edge.call("POST", path, raw=body)
    assert answer.status == 400, (name, answer.status, str(answer.body)[:300])
    assert len(str(answer.body)) < 4096


async def test_others_are_served_while_dear_bodies_are_read(edge: Edge) -> None:
    bodies = [REFUSED[name] for name in REFUSED if REFUSED[name][0] == RECALL] * 2
    async with asyncio.timeout(SECONDS * 2), asyncio.TaskGroup() as group:
        for path, body in bodies:
            group.create_task(edge.call("POST", path, raw=body))
        for _ in range(20):
            assert (await edge.get("/v1/sessions?page_size=1")).status == 200


@pytest.mark.parametrize("text", ["\x00", " ", "\n\t", "\x00 \x00"], ids=repr)
async def test_a_turn_of_nothing_visible_is_refused_by_name(edge: Edge, text: str) -> None:
    session = await edge.session()
    answer = await edge.post(f"/v1/sessions/{session}/turns", {"input": {"text": text}})
    assert (answer.status, answer.fields) == (400, ["input.text"]), answer


async def test_half_a_surrogate_pair_is_refused(edge: Edge) -> None:
    body = b'{"model":"guide","messages":[{"role":"user","content":"\\ud800"}]}'
    assert (await edge.call("POST", CHAT, raw=body)).status == 400
    assert (await edge.call("POST", "/v1/memories", raw=b'{"text":"\\ud800"}')).status == 400
