"""What watchers of trust are told, and when they are told nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.identity.domain.model import PublicKey, Revocation
from services.identity.domain.trust import TrustHub, TrustUpdate

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = PublicKey(kid="k1", jwk="{}", expire_time=NOW + timedelta(days=1))


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def revoked(token: str, *, seconds: float = 900) -> Revocation:
    return Revocation(token_id=token, revoke_time=NOW, expire_time=NOW + timedelta(seconds=seconds))


def give(hub: TrustHub, *tokens: str, keys: tuple[PublicKey, ...] = (KEY,), version: int = 0) -> None:
    hub.take(keys=keys, revocations=[revoked(token) for token in tokens], version=version, now=NOW)


async def next_of(watch: AsyncGenerator[TrustUpdate, None]) -> TrustUpdate:
    async with asyncio.timeout(2):
        return await anext(watch)


def tokens(update: TrustUpdate) -> list[str]:
    return [each.token_id for each in update.revocations]


async def test_a_watcher_is_told_all_at_first_and_then_what_is_new() -> None:
    hub = TrustHub(monotonic=Clock())
    give(hub, "a", "b", version=7)
    async with contextlib.aclosing(hub.watch()) as watch:
        first = await next_of(watch)
        assert (first.reset, tokens(first), first.version, first.keys) == (True, ["a", "b"], 7, (KEY,))
        give(hub, "b", "c", version=9)
        second = await next_of(watch)
        assert (second.reset, tokens(second), second.version) == (False, ["c"], 9)


async def test_a_change_of_keys_is_told_with_all_keys() -> None:
    hub = TrustHub(monotonic=Clock())
    give(hub)
    other = PublicKey(kid="k2", jwk="{}", expire_time=NOW + timedelta(days=9))
    async with contextlib.aclosing(hub.watch()) as watch:
        await next_of(watch)
        give(hub, keys=(other, KEY))
        assert (await next_of(watch)).keys == (KEY, other)


async def test_heartbeats_come_without_news() -> None:
    hub = TrustHub(monotonic=Clock())
    give(hub, "a")
    async with contextlib.aclosing(hub.watch(heartbeat_seconds=0.01)) as watch:
        await next_of(watch)
        for _ in range(3):
            beat = await next_of(watch)
            assert (beat.reset, beat.revocations) == (False, ())


async def test_a_hub_out_of_step_with_its_store_falls_silent() -> None:
    clock = Clock()
    hub = TrustHub(monotonic=clock)
    async with contextlib.aclosing(hub.watch(heartbeat_seconds=0.01)) as watch:
        waiting = asyncio.ensure_future(next_of(watch))
        await asyncio.sleep(0.05)
        assert not waiting.done(), "it knows nothing yet"
        give(hub, "a")
        assert (await waiting).reset
    clock.seconds += 21
    assert not hub.in_step
    async with contextlib.aclosing(hub.watch(heartbeat_seconds=0.01)) as watch:
        waiting = asyncio.ensure_future(next_of(watch))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        give(hub, "b")
        assert tokens(await waiting) == ["a", "b"]


async def test_a_watcher_that_does_not_keep_up_is_told_all_again() -> None:
    hub = TrustHub(monotonic=Clock())
    give(hub)
    async with contextlib.aclosing(hub.watch()) as watch:
        await next_of(watch)
        for index in range(300):
            give(hub, f"t{index}")
        update = await next_of(watch)
        assert update.reset
        assert len(update.revocations) == 300


def test_revocations_are_forgotten_when_their_tokens_have_ended() -> None:
    hub = TrustHub(monotonic=Clock())
    give(hub, "a")
    hub.take(keys=[KEY], revocations=[], version=0, now=NOW + timedelta(seconds=901))
    assert hub.everything().revocations == ()


@given(st.lists(st.tuples(st.integers(0, 1), st.sets(st.sampled_from("abcdefgh"))), max_size=20))
async def test_whoever_applies_the_updates_knows_what_the_hub_knows(
    steps: list[tuple[int, set[str]]],
) -> None:
    hub = TrustHub(monotonic=Clock())
    give(hub)
    async with contextlib.aclosing(hub.watch(heartbeat_seconds=0.001)) as watch:
        known: set[str] = set()

        async def read() -> None:
            nonlocal known
            update = await next_of(watch)
            known = set(tokens(update)) if update.reset else known | set(tokens(update))

        await read()
        for reads, added in steps:
            give(hub, *sorted(added))
            if reads:
                await read()
        await read()
        assert known == set(tokens(hub.everything()))
