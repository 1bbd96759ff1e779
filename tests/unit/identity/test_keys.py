"""Which key signs when."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey

from mesh.runtime.errors import ConfigurationError, SomaError
from mesh.sealing import Sealer
from services.identity.domain.keys import newest, signing_now
from services.identity.domain.model import Claims, SigningKey
from services.identity.signing import KeyRing, make_key

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def key(kid: str, *, signs_in: float, sealed: bytes = b"", public: str = "{}") -> SigningKey:
    sign = NOW + timedelta(seconds=signs_in)
    return SigningKey(
        kid=kid,
        public_jwk=public,
        sealed_private_jwk=sealed,
        create_time=NOW,
        sign_time=sign,
        retire_time=sign + timedelta(days=30),
        expire_time=sign + timedelta(days=31),
    )


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), max_size=8))
def test_the_newest_key_that_may_sign_signs(offsets: list[float]) -> None:
    keys = [key(f"k{index}", signs_in=offset) for index, offset in enumerate(offsets)]
    chosen = signing_now(keys, NOW)
    due = [each for each in keys if each.sign_time <= NOW]
    if not due:
        assert chosen is None
    else:
        assert chosen in due
        assert all(each.sign_time <= chosen.sign_time for each in due)
    last = newest(keys)
    assert (last is None) == (not keys)


def ring_of(*made: SigningKey, sealer: Sealer, now: datetime = NOW) -> KeyRing:
    ring = KeyRing(sealer, lambda: now)
    ring.take(made)
    return ring


def real_key(sealer: Sealer, *, signs_in: float) -> SigningKey:
    kid, public, sealed = make_key(sealer)
    return key(kid, signs_in=signs_in, sealed=sealed, public=public)


CLAIMS = Claims(
    subject="usr_1",
    kind="user",
    tenant="tnt_1",
    scopes=frozenset({"b.read", "a.read"}),
    token_id="tok_1",
    issue_time=NOW,
    expire_time=NOW + timedelta(minutes=15),
)


def test_a_token_says_its_claims_and_verifies_with_the_public_key_only() -> None:
    sealer = Sealer(bytes(32))
    made = real_key(sealer, signs_in=-1)
    ring = ring_of(made, sealer=sealer)
    token = ring.sign(CLAIMS, ring.kid())
    public = ECKey.import_key(json.loads(made.public_jwk))
    read = jwt.decode(token, public, algorithms=["ES256"])
    assert read.header == {"alg": "ES256", "kid": made.kid, "typ": "at+jwt"}
    assert read.claims == {
        "iss": "soma",
        "aud": "soma",
        "sub": "usr_1",
        "exp": int(NOW.timestamp()) + 900,
        "iat": int(NOW.timestamp()),
        "nbf": int(NOW.timestamp()),
        "jti": "tok_1",
        "tenant": "tnt_1",
        "scope": "a.read b.read",
        "kind": "user",
    }


def test_a_key_that_is_announced_does_not_sign_yet() -> None:
    sealer = Sealer(bytes(32))
    old, coming = real_key(sealer, signs_in=-10), real_key(sealer, signs_in=60)
    assert ring_of(old, coming, sealer=sealer).kid() == old.kid
    later = ring_of(old, coming, sealer=sealer, now=NOW + timedelta(seconds=60))
    assert later.kid() == coming.kid


def test_without_a_key_nothing_is_signed() -> None:
    sealer = Sealer(bytes(32))
    with pytest.raises(SomaError) as caught:
        ring_of(sealer=sealer).kid()
    assert caught.value.reason == "DEPENDENCY_UNAVAILABLE"
    with pytest.raises(SomaError):
        ring_of(sealer=sealer).sign(CLAIMS, "k1")


def test_another_sealing_key_is_told_as_what_it_is() -> None:
    made = real_key(Sealer(bytes(32)), signs_in=-1)
    with pytest.raises(ConfigurationError, match="another key-encryption key"):
        ring_of(made, sealer=Sealer(bytes([1]) * 32))
    moved = replace(made, kid="another")
    with pytest.raises(ConfigurationError):
        ring_of(moved, sealer=Sealer(bytes(32)))
