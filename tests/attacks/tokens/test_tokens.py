"""No token but a good one comes in, at any door; a bad one is refused with its reason, never with a 5xx."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest

from tests.attacks.doors import Door, Outcome, doors
from tests.attacks.tokens import corpus
from tests.attacks.tokens.corpus import Attempt
from tests.support.edge import Edge
from tests.support.stack import Stack

AT_ONCE = 16
WRONG_HEADERS = (
    "cookie", "proxy-authorization", "x-authorization", "x-api-key", "x-soma-token",
    "x-forwarded-authorization", "x-original-authorization", "sec-websocket-protocol",
)  # fmt: skip
REASONS = frozenset({"TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", "SCOPE_MISSING"})


@pytest.fixture(scope="module")
async def every_door(stack: Stack, http: aiohttp.ClientSession) -> AsyncIterator[list[Door]]:
    async with doors(stack, http) as found:
        yield found


@pytest.fixture(scope="module")
async def jwks(edge: Edge) -> dict[str, object]:
    return dict((await edge.as_user("").get("/.well-known/jwks.json")).body)


def wrong(attempt: Attempt, outcome: Outcome) -> str:
    """What is wrong with an outcome; empty where nothing is."""
    if attempt.either:
        return "" if outcome.status < 500 else "a failure of the server"
    if outcome.status not in attempt.status:
        return f"status not in {sorted(attempt.status)}"
    if outcome.status in {401, 403} and outcome.reason not in REASONS:
        return "no reason of ours"
    return ""


async def refusals(door: Door, attempts: Sequence[Attempt], at_once: int) -> list[str]:
    """Try all attempts at a door; give what was not refused as it must be."""
    gate = asyncio.Semaphore(at_once)
    sendable = [one for one in attempts if not door.printable or "".join(one.values).isprintable()]

    async def one(attempt: Attempt) -> str:
        async with gate:
            outcome = await door.ask(attempt.values)
        problem = wrong(attempt, outcome)
        return f"{door.name}: {attempt.name}: {problem}: {outcome}"[:600] if problem else ""

    return [found for found in await asyncio.gather(*map(one, sendable)) if found]


async def storm(every: Sequence[Door], attempts: Sequence[Attempt], *, at_once: int = AT_ONCE) -> list[str]:
    """Try all attempts at all doors."""
    return [found for door in every for found in await refusals(door, attempts, at_once)]


async def refused(door: Door, key: str) -> Outcome:
    """Ask until the news of a revocation has come, for half a minute."""
    until = time.monotonic() + 30
    while True:
        outcome = await door.ask([f"Bearer {key}"])
        if outcome.status == 401 or time.monotonic() > until:
            return outcome


async def test_a_good_token_comes_in_at_every_door(every_door: list[Door], stack: Stack) -> None:
    """What follows could not fail otherwise."""
    for door in every_door:
        outcome = await door.ask([f"Bearer {stack.api_key}"])
        assert outcome.let_in or outcome.reason == "INVALID_ARGUMENT", (door.name, outcome)


async def test_forged_tokens_are_refused_at_every_door(
    every_door: list[Door], stack: Stack, jwks: dict[str, object]
) -> None:
    attempts = corpus.forged(stack.api_key, jwks)
    assert len(attempts) > 200
    found = await storm(every_door, attempts)
    assert not found, "\n".join(found)


async def test_claims_and_headers_that_only_the_platform_could_sign_are_refused(
    every_door: list[Door], stack: Stack
) -> None:
    _, claims, _ = corpus.parts(stack.api_key)
    cases = corpus.misissued(claims)
    tokens = await stack.sign_raw([(head, payload) for _, head, payload, _ in cases])
    attempts = [
        Attempt(name=name, values=(f"Bearer {token}",), status=status)
        for (name, _, _, status), token in zip(cases, tokens, strict=True)
    ]
    assert len(attempts) > 100
    found = await storm(every_door, attempts)
    assert not found, "\n".join(found)


async def test_a_good_token_in_a_wrong_dress_is_refused(every_door: list[Door], stack: Stack) -> None:
    other = (await stack.new_tenant()).api_key
    found = await storm(every_door, corpus.carried(stack.api_key, other))
    assert not found, "\n".join(found)


async def test_a_huge_token_is_refused(every_door: list[Door], stack: Stack) -> None:
    """One at a time: what is larger than any header may be ends the connection, as HTTP/2 lets a server."""
    found = await storm(every_door, corpus.huge(stack.api_key), at_once=1)
    assert not found, "\n".join(found)


async def test_a_token_elsewhere_than_in_its_header_is_no_token(edge: Edge, stack: Stack) -> None:
    nobody, key = edge.as_user(""), stack.api_key
    for path in (f"/v1/sessions?access_token={key}", f"/v1/sessions?authorization=Bearer%20{key}",
                 f"/v1/sessions?token={key}"):  # fmt: skip
        answer = await nobody.get(path)
        assert (answer.status, answer.reason) == (401, "TOKEN_MISSING"), (path, answer)
    for header in WRONG_HEADERS:
        for value in (f"Bearer {key}", key, f"authorization=Bearer {key}", f"access_token={key}"):
            answer = await nobody.call("GET", "/v1/sessions", **{header: value})
            assert (answer.status, answer.reason) == (401, "TOKEN_MISSING"), (header, answer)
    answer = await nobody.post("/v1/sessions", {"persona": "guide", "access_token": key})
    assert (answer.status, answer.reason) == (401, "TOKEN_MISSING"), answer


async def test_a_revoked_key_is_refused_at_every_door_whatever_its_signature_looks_like(
    every_door: list[Door], edge: Edge
) -> None:
    """(r, n - s) is a valid ECDSA signature as well: revocation must go by the token's id."""
    created = (await edge.post("/v1/keys", {"display_name": "short-lived"})).body
    key = created["secret"]
    stem, _, signature = key.rpartition(".")
    raw = corpus.urlsafe_b64decode(signature + "==")
    twin = (corpus.ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    other = f"{stem}.{corpus.encode(raw[:32] + twin)}"
    for door in every_door:
        assert (await door.ask([f"Bearer {key}"])).status not in {401, 403}, door.name
    assert (await edge.post(f"/v1/keys/{created['api_key']['id']}:revoke")).status == 200
    for door in every_door:
        outcome = await refused(door, key)
        assert (outcome.status, outcome.reason) == (401, "TOKEN_REVOKED"), (door.name, outcome)
        again = await door.ask([f"Bearer {other}"])
        assert again.status == 401, (door.name, again)
        assert again.reason in {"TOKEN_REVOKED", "TOKEN_INVALID"}, (door.name, again)
