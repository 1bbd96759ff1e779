"""Tokens: what is accepted, and every known way to be accepted wrongly."""

from __future__ import annotations

import base64
import cProfile
import hmac
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from soma.identity.v1 import resources_pb2, service_pb2

from mesh.runtime.errors import SomaError, Unavailable
from mesh.trust.state import TrustState
from mesh.trust.verifier import LONGEST_TOKEN, TokenVerifier

NOW = 1_800_000_000.0


@dataclass
class World:
    """A clock in hand, keys, and the verifier under test."""

    wall: float = NOW
    monotonic: float = 1000.0
    keys: dict[str, ECKey] = field(default_factory=lambda: {"k1": ECKey.generate_key("P-256")})
    state: TrustState = field(init=False)
    verifier: TokenVerifier = field(init=False)

    def __post_init__(self) -> None:
        self.state = TrustState(wall=lambda: self.wall, monotonic=lambda: self.monotonic)
        self.verifier = TokenVerifier(self.state, remembered=8)

    def announce(self, *revoked: str, reset: bool = False, key_seconds: float = 86_400) -> None:
        """What identity streams."""
        message = service_pb2.WatchTrustResponse(reset=reset)
        for kid, key in self.keys.items():
            sent = message.keys.add(id=kid, jwk=json.dumps(key.as_dict(private=False)))
            sent.expire_time.FromSeconds(int(self.wall + key_seconds))
        for token in revoked:
            end = resources_pb2.Revocation(token_id=token)
            end.expire_time.FromSeconds(int(self.wall + 900))
            message.revocations.append(end)
        self.state.accept(message)

    def token(self, *, header: dict[str, Any] | None = None, key: ECKey | None = None, **claims: Any) -> str:
        """A token of k1, changed; a claim that is None is left out."""
        head = {"alg": "ES256", "kid": "k1", "typ": "at+jwt", **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, self.claims(**claims), key or self.keys["k1"], default_type=None)

    def claims(self, **changes: Any) -> dict[str, Any]:
        base = {
            "iss": "soma",
            "aud": "soma",
            "sub": "usr_1",
            "exp": int(self.wall) + 900,
            "iat": int(self.wall),
            "nbf": int(self.wall),
            "jti": f"tok_{uuid.uuid4().hex}",
            "tenant": "tnt_1",
            "scope": "sessions.read turns.create",
            "kind": "user",
        }
        return {name: value for name, value in (base | changes).items() if value is not None}

    def refusal(self, token: str) -> str:
        with pytest.raises(SomaError) as caught:
            self.verifier.verify(token)
        return str(caught.value.reason)


@pytest.fixture
def world() -> World:
    made = World()
    made.announce(reset=True)
    return made


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_good_token_says_who_it_stands_for(world: World) -> None:
    principal = world.verifier.verify(world.token(jti="tok_9"))
    assert (principal.subject, principal.kind, principal.tenant) == ("usr_1", "user", "tnt_1")
    assert principal.scopes == {"sessions.read", "turns.create"}
    assert principal.token_id == "tok_9"


def test_an_audience_among_others_is_enough(world: World) -> None:
    assert world.verifier.verify(world.token(aud=["other", "soma"])).subject == "usr_1"


def test_nothing_is_accepted_before_keys_came() -> None:
    world = World()
    assert world.refusal(world.token()) == "DEPENDENCY_UNAVAILABLE"


async def test_nothing_is_accepted_once_trust_is_old_not_even_what_was_remembered(world: World) -> None:
    token = world.token()
    world.verifier.verify(token)
    world.monotonic += 29
    world.verifier.verify(token)
    world.monotonic += 2
    assert world.refusal(token) == "DEPENDENCY_UNAVAILABLE"
    with pytest.raises(Unavailable):
        await world.state.ready()
    world.announce()
    assert world.verifier.verify(token).subject == "usr_1"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - 1}, "TOKEN_EXPIRED"),
        ({"exp": NOW}, "TOKEN_EXPIRED"),
        ({"exp": None}, "TOKEN_INVALID"),
        ({"exp": "never"}, "TOKEN_INVALID"),
        ({"exp": True}, "TOKEN_INVALID"),
        ({"exp": 1e30}, "TOKEN_INVALID"),
        ({"exp": float("nan")}, "TOKEN_INVALID"),
        ({"exp": float("inf")}, "TOKEN_INVALID"),
        ({"nbf": NOW + 60}, "TOKEN_INVALID"),
        ({"iat": NOW + 60}, "TOKEN_INVALID"),
        ({"nbf": None}, "TOKEN_INVALID"),
        ({"iss": "evil"}, "TOKEN_INVALID"),
        ({"iss": None}, "TOKEN_INVALID"),
        ({"aud": "another"}, "TOKEN_INVALID"),
        ({"aud": ["another"]}, "TOKEN_INVALID"),
        ({"aud": None}, "TOKEN_INVALID"),
        ({"aud": {"soma": 1}}, "TOKEN_INVALID"),
        ({"sub": ""}, "TOKEN_INVALID"),
        ({"sub": None}, "TOKEN_INVALID"),
        ({"tenant": ""}, "TOKEN_INVALID"),
        ({"tenant": None}, "TOKEN_INVALID"),
        ({"tenant": ["tnt_1"]}, "TOKEN_INVALID"),
        ({"jti": None}, "TOKEN_INVALID"),
        ({"kind": "workload"}, "TOKEN_INVALID"),
        ({"kind": None}, "TOKEN_INVALID"),
        ({"scope": None}, "TOKEN_INVALID"),
        ({"scope": ["sessions.read"]}, "TOKEN_INVALID"),
    ],
)
def test_claims_that_are_wrong_are_refused(world: World, claims: dict[str, Any], reason: str) -> None:
    assert world.refusal(world.token(**claims)) == reason


def _hs256_with_public_key(world: World) -> str:
    secret = world.keys["k1"].as_pem(private=False)
    signed = f"{encoded({'alg': 'HS256', 'kid': 'k1', 'typ': 'JWT'})}.{encoded(world.claims())}"
    mac = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _hs256_with_public_jwk(world: World) -> str:
    secret = json.dumps(world.keys["k1"].as_dict(private=False)).encode()
    key = OctKey.import_key(secret)
    return jwt.encode({"alg": "HS256", "kid": "k1"}, world.claims(), key, algorithms=["HS256"])


def _resigned_header(world: World, **header: Any) -> str:
    other = ECKey.generate_key("P-256")
    return world.token(key=other, header=header)


FORGERIES: dict[str, Callable[[World], str]] = {
    "nothing like a token": lambda _: "x",
    "three dots": lambda _: "...",
    "empty parts": lambda _: "..",
    "not base64": lambda _: "!!.??.%%",
    "json that is a list": lambda w: f"{encoded(['alg'])}.{encoded(w.claims())}.AAAA",
    "json that is a number": lambda w: f"{encoded(7)}.{encoded(w.claims())}.AAAA",
    "deep json": lambda w: base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=") + ".AAAA.AAAA",
    "alg none": lambda w: f"{encoded({'alg': 'none', 'kid': 'k1'})}.{encoded(w.claims())}.",
    "alg None": lambda w: f"{encoded({'alg': 'None', 'kid': 'k1'})}.{encoded(w.claims())}.",
    "alg missing": lambda w: f"{encoded({'kid': 'k1'})}.{encoded(w.claims())}.AAAA",
    "alg a list": lambda w: f"{encoded({'alg': ['ES256'], 'kid': 'k1'})}.{encoded(w.claims())}.AAAA",
    "HS256 with the public key": _hs256_with_public_key,
    "HS256 with the public JWK": _hs256_with_public_jwk,
    "ES256 header on an HS256 signature": lambda w: ".".join(
        [encoded({"alg": "ES256", "kid": "k1"}), *_hs256_with_public_key(w).split(".")[1:]]
    ),
    "another key": _resigned_header,
    "its own jwk": lambda w: w.token(header={"jwk": w.keys["k1"].as_dict(private=False)}),
    "a jku": lambda w: w.token(header={"jku": "https://evil.example/jwks.json"}),
    "an x5u": lambda w: w.token(header={"x5u": "https://evil.example/cert"}),
    "crit": lambda w: w.token(header={"crit": ["kid"]}),
    "kid unknown": lambda w: w.token(header={"kid": "k2"}),
    "kid missing": lambda w: w.token(header={"kid": None}),
    "kid a path": lambda w: w.token(header={"kid": "../../etc/passwd"}),
    "kid empty": lambda w: w.token(header={"kid": ""}),
    "kid of SQL": lambda w: w.token(header={"kid": "k1' or '1'='1"}),
    "typ of another kind": lambda w: w.token(header={"typ": "dpop+jwt"}),
    "signature stripped": lambda w: w.token().rpartition(".")[0] + ".",
    "signature of zeros": lambda w: w.token().rpartition(".")[0] + "." + "A" * 86,
    "one part too many": lambda w: w.token() + ".AAAA",
    "claims of another token": lambda w: ".".join(
        [w.token().split(".")[0], encoded(w.claims(tenant="tnt_2")), w.token().split(".")[2]]
    ),
    "not ascii": lambda w: w.token() + "é",
    "too long": lambda w: w.token() + "A" * LONGEST_TOKEN,
    "a newline at the end": lambda w: w.token() + "\n",
    "padding": lambda w: w.token() + "==",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgeries_are_refused(world: World, forgery: str) -> None:
    assert world.refusal(FORGERIES[forgery](world)) == "TOKEN_INVALID"
    assert world.verifier.verify(world.token()).subject == "usr_1", "and a good one is accepted after it"


def test_an_empty_token_is_a_missing_one(world: World) -> None:
    assert world.refusal("") == "TOKEN_MISSING"


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_changed_byte_passes(at: int, change: int) -> None:
    world = World()
    world.announce(reset=True)
    token = bytearray(world.token().encode())
    at %= len(token)
    token[at] ^= change
    changed = token.decode("latin-1")
    with pytest.raises(SomaError) as caught:
        world.verifier.verify(changed)
    assert caught.value.reason in {"TOKEN_INVALID", "TOKEN_EXPIRED"}


@given(st.text(max_size=300))
def test_no_text_breaks_the_verifier(text: str) -> None:
    world = World()
    world.announce(reset=True)
    with pytest.raises(SomaError) as caught:
        world.verifier.verify(text)
    assert caught.value.reason in {"TOKEN_INVALID", "TOKEN_MISSING"}


def test_a_revoked_token_is_refused_from_the_next_call_on(world: World) -> None:
    token, other = world.token(jti="tok_1"), world.token(jti="tok_2")
    world.verifier.verify(token)
    world.verifier.verify(other)
    world.announce("tok_1")
    assert world.refusal(token) == "TOKEN_REVOKED"
    assert world.verifier.verify(other).token_id == "tok_2"
    world.announce()
    assert world.refusal(token) == "TOKEN_REVOKED", "a heartbeat forgets nothing"
    world.announce("tok_2", reset=True)
    assert world.refusal(other) == "TOKEN_REVOKED"
    assert world.verifier.verify(token).token_id == "tok_1", "a reset is the whole truth"


def test_a_token_is_refused_when_its_end_comes_while_it_is_remembered(world: World) -> None:
    token = world.token()
    world.verifier.verify(token)
    world.wall += 899
    world.announce()
    world.verifier.verify(token)
    world.wall += 1
    assert world.refusal(token) == "TOKEN_EXPIRED"


def test_a_key_that_is_withdrawn_or_ended_verifies_nothing(world: World) -> None:
    token = world.token(exp=NOW + 9e6)
    world.verifier.verify(token)
    world.keys["k2"] = ECKey.generate_key("P-256")
    world.announce()
    world.verifier.verify(token)
    del world.keys["k1"]
    world.announce()
    old = world.keys
    assert world.refusal(token) == "TOKEN_INVALID"
    world.keys = {**old, "k1": ECKey.generate_key("P-256")}
    world.announce()
    assert world.refusal(token) == "TOKEN_INVALID", "the same kid with another key"


def test_a_keys_end_ends_its_tokens(world: World) -> None:
    world.announce(key_seconds=100)
    token = world.token()
    world.verifier.verify(token)
    world.wall += 101
    world.monotonic += 1
    assert world.refusal(token) == "TOKEN_INVALID"


@pytest.mark.parametrize("kind", ["private", "P-384", "no key"])
def test_keys_that_are_none_are_refused_whole(world: World, kind: str) -> None:
    good = world.token()
    jwk = {
        "private": json.dumps(ECKey.generate_key("P-256").as_dict(private=True)),
        "P-384": json.dumps(ECKey.generate_key("P-384").as_dict(private=False)),
        "no key": "{}",
    }[kind]
    message = service_pb2.WatchTrustResponse(
        keys=[resources_pb2.VerificationKey(id="bad", jwk=jwk)], reset=True
    )
    with pytest.raises(ValueError, match="bad"):
        world.state.accept(message)
    assert world.verifier.verify(good).subject == "usr_1"


def test_what_is_remembered_is_bounded(world: World) -> None:
    tokens = [world.token() for _ in range(20)]
    for token in tokens:
        world.verifier.verify(token)
    assert len(world.verifier._cache) == 8
    for token in tokens:
        assert world.verifier.verify(token).subject == "usr_1"


def test_refused_tokens_are_not_remembered(world: World) -> None:
    for forge in FORGERIES.values():
        world.refusal(forge(world))
    assert not world.verifier._cache


def test_revocations_that_ended_are_forgotten(world: World) -> None:
    world.announce(*(f"tok_{index}" for index in range(100)))
    assert len(world.state.revoked) == 100
    world.wall += 1000
    for _ in range(1100):
        world.announce()
    assert not world.state.revoked


def test_a_remembered_token_is_not_verified_again(world: World) -> None:
    token = world.token()

    def files() -> set[str]:
        profile = cProfile.Profile()
        assert profile.runcall(world.verifier.verify, token).token_id
        return {entry.code.co_filename for entry in profile.getstats() if not isinstance(entry.code, str)}

    assert any("joserfc" in name for name in files())
    assert not any("joserfc" in name for name in files())
