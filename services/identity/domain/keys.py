"""The keys that sign tokens: which one signs now, when the next takes over, how long each verifies.

A new key is announced `lead` before it signs, so that every verifier and the edge
(which asks for the key set now and then) knows it by then. A key verifies until the
last token that it signed has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.identity.domain.model import Change, Fact, SigningKey
from services.identity.ports import TrustStore

MakeKey = Callable[[], tuple[str, str, bytes]]
"""Makes a key pair: its id, the public JWK, the sealed private JWK."""


def signing_now(keys: Iterable[SigningKey], now: datetime) -> SigningKey | None:
    """Return the newest key that may sign."""
    due = [key for key in keys if key.sign_time <= now]
    return max(due, key=lambda key: (key.sign_time, key.kid), default=None)


def newest(keys: Iterable[SigningKey]) -> SigningKey | None:
    """Return the key that signs last of all."""
    return max(keys, key=lambda key: (key.sign_time, key.kid), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotation:
    """Makes keys when they are due."""

    store: TrustStore
    make_key: MakeKey
    now: Callable[[], datetime]
    sign_for: timedelta
    lead: timedelta
    access_for: timedelta

    async def ensure(self) -> Sequence[SigningKey]:
        """Make the first key, or the next one when it is due; return the keys that verify."""
        now = self.now()
        keys = await self.store.signing_keys(now)
        last = newest(keys)
        if last is None:
            # The first key signs at once: there is nobody yet who could know another.
            await self._add(now, lead=timedelta(0), only_if_newest=None, actor="identity")
        elif last.retire_time - self.lead <= now:
            await self._add(now, lead=self.lead, only_if_newest=last.kid, actor="identity")
        else:
            return keys
        return await self.store.signing_keys(now)

    async def rotate(self, actor: str) -> SigningKey:
        """Make a new key now; it signs after the lead."""
        while True:
            now = self.now()
            last = newest(await self.store.signing_keys(now))
            key = await self._add(
                now,
                lead=self.lead if last else timedelta(0),
                only_if_newest=last.kid if last else None,
                actor=actor,
            )
            if key is not None:
                return key

    async def _add(
        self, now: datetime, *, lead: timedelta, only_if_newest: str | None, actor: str
    ) -> SigningKey | None:
        kid, public, sealed = self.make_key()
        retire = now + lead + self.sign_for
        key = SigningKey(
            kid=kid,
            public_jwk=public,
            sealed_private_jwk=sealed,
            create_time=now,
            sign_time=now + lead,
            retire_time=retire,
            expire_time=retire + self.access_for,
        )
        fact = Fact(action="keys.rotate", actor=actor, resource=kid, outcome="completed", time=now)
        change = Change(facts=(fact,), rotated_key=key.public())
        added = await self.store.add_signing_key(
            key,
            only_if_newest=only_if_newest,
            predecessors_end=key.sign_time + self.access_for,
            change=change,
        )
        return key if added else None
