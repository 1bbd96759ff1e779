"""Keys and revocations on their way to verifiers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from soma.identity.v1 import service_pb2 as pb

from mesh.runtime.errors import SomaError
from mesh.stack.settings import StackSettings
from mesh.trust.state import TrustState
from mesh.trust.verifier import TokenVerifier
from mesh.trust.watcher import TrustWatcher
from tests.integration.identity.database import connected
from tests.support.identity import (
    Identity,
    MakePerson,
    Owner,
    bearer,
    channel_as,
    failure,
)


@contextlib.asynccontextmanager
async def watching(settings: StackSettings, workload: str = "memory") -> AsyncIterator[TokenVerifier]:
    """A verifier as another service has it, in step with identity."""
    state = TrustState(wall=time.time, monotonic=time.monotonic)
    async with channel_as(settings, workload) as channel:
        following = asyncio.ensure_future(TrustWatcher(channel, state).run())
        try:
            await _until(lambda: bool(state.keys))
            yield TokenVerifier(state)
        finally:
            following.cancel()
            await asyncio.wait([following])


async def seconds_until_refused(verifier: TokenVerifier, token: str) -> tuple[float, str]:
    """How long a verifier goes on accepting a token, and what it says then."""
    start = time.perf_counter()
    while time.perf_counter() - start < 3:
        try:
            verifier.verify(token)
        except SomaError as error:
            return time.perf_counter() - start, str(error.reason)
        await asyncio.sleep(0.001)
    raise AssertionError("still accepted")


async def test_a_verifier_elsewhere_accepts_what_identity_signs(
    settings: StackSettings, owner: Owner
) -> None:
    async with watching(settings) as verifier:
        principal = verifier.verify(owner.key)
    assert (principal.subject, principal.tenant, principal.kind) == (owner.user, owner.tenant, "api_key")


async def test_a_revoked_key_is_refused_everywhere_within_moments(
    settings: StackSettings, identity: Identity, owner: Owner
) -> None:
    async with watching(settings, "memory") as one, watching(settings, "audit") as two:
        for _ in range(3):
            made = await identity.keys.CreateApiKey(
                pb.CreateApiKeyRequest(display_name="short"), metadata=owner.auth
            )
            assert one.verify(made.secret).token_id == two.verify(made.secret).token_id == made.api_key.id
            revoked = await identity.keys.RevokeApiKey(
                pb.RevokeApiKeyRequest(key_id=made.api_key.id), metadata=owner.auth
            )
            assert revoked.HasField("revoke_time")
            for verifier in (one, two):
                seconds, reason = await seconds_until_refused(verifier, made.secret)
                assert reason == "TOKEN_REVOKED"
                assert seconds < 0.5, seconds
            refused = identity.tokens.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(made.secret))
            assert (await failure(refused)).reason == "TOKEN_REVOKED"


async def test_who_comes_later_learns_of_what_was_revoked_before(
    settings: StackSettings, identity: Identity, owner: Owner
) -> None:
    made = await identity.keys.CreateApiKey(pb.CreateApiKeyRequest(display_name="gone"), metadata=owner.auth)
    await identity.keys.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=made.api_key.id), metadata=owner.auth)
    async with watching(settings) as verifier:
        assert (await seconds_until_refused(verifier, made.secret))[1] == "TOKEN_REVOKED"


async def test_disabling_a_user_ends_every_token_of_it(
    settings: StackSettings, identity: Identity, owner: Owner, new_person: MakePerson
) -> None:
    person = await new_person("tokens.read", "keys.write")
    first = await identity.tokens.IssueToken(person.grant())
    second = await identity.tokens.IssueToken(person.grant())
    key = await identity.keys.CreateApiKey(
        pb.CreateApiKeyRequest(display_name="own"), metadata=bearer(first.access_token)
    )
    async with watching(settings) as verifier:
        tokens = (first.access_token, second.access_token, key.secret)
        for token in tokens:
            assert verifier.verify(token).subject == person.user
        disabled = await identity.users.DisableUser(
            pb.DisableUserRequest(user_id=person.user), metadata=owner.auth
        )
        assert disabled.HasField("disable_time")
        for token in tokens:
            assert (await seconds_until_refused(verifier, token))[1] == "TOKEN_REVOKED"
    refresh = pb.IssueTokenRequest(refresh=pb.RefreshGrant(refresh_token=first.refresh_token))
    assert (await failure(identity.tokens.IssueToken(refresh))).reason == "CREDENTIALS_INVALID"
    again = await identity.users.DisableUser(pb.DisableUserRequest(user_id=person.user), metadata=owner.auth)
    assert again.disable_time == disabled.disable_time


async def test_signing_out_ends_the_calling_token_or_the_whole_sign_in(
    settings: StackSettings, identity: Identity, new_person: MakePerson
) -> None:
    person = await new_person("tokens.read", "tokens.revoke")
    one = await identity.tokens.IssueToken(person.grant())
    two = await identity.tokens.IssueToken(person.grant())
    three = await identity.tokens.IssueToken(person.grant())
    async with watching(settings) as verifier:
        await identity.tokens.RevokeToken(pb.RevokeTokenRequest(), metadata=bearer(one.access_token))
        assert (await seconds_until_refused(verifier, one.access_token))[1] == "TOKEN_REVOKED"
        await identity.tokens.RevokeToken(
            pb.RevokeTokenRequest(refresh_token=two.refresh_token), metadata=bearer(three.access_token)
        )
        assert (await seconds_until_refused(verifier, two.access_token))[1] == "TOKEN_REVOKED"
        assert verifier.verify(three.access_token).subject == person.user
    refresh = pb.IssueTokenRequest(refresh=pb.RefreshGrant(refresh_token=two.refresh_token))
    assert (await failure(identity.tokens.IssueToken(refresh))).reason == "CREDENTIALS_INVALID"
    unknown = pb.RevokeTokenRequest(refresh_token="srt." + person.tenant + "." + "x" * 43)
    await identity.tokens.RevokeToken(unknown, metadata=bearer(three.access_token))


async def test_rotation_announces_a_key_and_keeps_the_old_one(
    settings: StackSettings, identity: Identity, owner: Owner
) -> None:
    before = {key["kid"] for key in await jwks(identity)}
    async with watching(settings) as verifier, channel_as(settings, "operator") as channel:
        new = await Identity(channel).trust.RotateSigningKey(pb.RotateSigningKeyRequest())
        assert new.id not in before
        await _until(lambda: new.id in verifier._state.keys)
        assert verifier.verify(owner.key).subject == owner.user
    after = {key["kid"] for key in await jwks(identity)}
    assert before <= after
    assert new.id in after


async def test_the_key_set_is_public_and_holds_public_keys_only(identity: Identity, owner: Owner) -> None:
    keys = await jwks(identity)
    for key in keys:
        assert {"kty", "crv", "x", "y", "kid", "use", "alg"} == set(key)
        assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
    by_kid = {key["kid"]: ECKey.import_key({**key}) for key in keys}
    head = json.loads(_decoded(owner.key.split(".")[0]))
    claims = jwt.decode(owner.key, by_kid[head["kid"]], algorithms=["ES256"]).claims
    assert (claims["iss"], claims["aud"], claims["tenant"]) == ("soma", "soma", owner.tenant)


async def test_only_workloads_that_the_mesh_lists_watch_or_rotate(
    settings: StackSettings, identity: Identity, owner: Owner
) -> None:
    rotate = identity.trust.RotateSigningKey(pb.RotateSigningKeyRequest(), metadata=owner.auth)
    assert (await failure(rotate)).reason == "WORKLOAD_DENIED"
    watch = identity.trust.WatchTrust(pb.WatchTrustRequest(), metadata=owner.auth)
    assert (await failure(watch.read())).reason == "WORKLOAD_DENIED"


async def test_private_keys_and_secrets_lie_nowhere_in_the_database(
    settings: StackSettings, owner: Owner
) -> None:
    async with connected(settings) as connection:
        rows = await connection.fetch("select kid, sealed_private_jwk, public_jwk from signing_keys")
        assert rows
        for row in rows:
            assert b'"d"' not in row["sealed_private_jwk"]
            assert "d" not in json.loads(row["public_jwk"])
        async with connection.transaction():
            await connection.execute("select set_config('soma.tenant', $1, true)", owner.tenant)
            hashes = await connection.fetch("select password_hash from users")
            assert [row["password_hash"].split("$")[1:4] for row in hashes] == [
                ["argon2id", "v=19", "m=19456,t=2,p=1"]
            ]
            signature = owner.key.rpartition(".")[2].encode()
            for table in ("api_keys", "outbox", "refresh_tokens"):
                for row in await connection.fetch(f"select {table}::text as whole from {table}"):
                    assert signature not in row["whole"].encode()


@pytest.mark.parametrize(
    "table", ["users", "api_keys", "service_accounts", "refresh_tokens", "revocations", "tenants"]
)
async def test_rows_of_another_tenant_are_not_there(
    settings: StackSettings, owner: Owner, operator: Owner, table: str
) -> None:
    column = "id" if table == "tenants" else "tenant"
    async with connected(settings) as connection, connection.transaction():
        assert await connection.fetchval(f"select count(*) from {table}") == 0
        await connection.execute("select set_config('soma.tenant', $1, true)", owner.tenant)
        seen = await connection.fetch(f"select distinct {column} as tenant from {table}")
        assert {row["tenant"] for row in seen} <= {owner.tenant}
        done = await connection.execute(f"delete from {table} where {column} = $1", operator.tenant)
        assert done == "DELETE 0"


async def jwks(identity: Identity) -> list[dict[str, str]]:
    body = await identity.trust.GetJwks(pb.GetJwksRequest())
    assert body.content_type == "application/json"
    keys: list[dict[str, str]] = json.loads(body.data)["keys"]
    return keys


async def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
