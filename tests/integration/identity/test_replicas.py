"""Two processes of identity agree on keys and revocations, and rotate so that nobody misses it."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import time

from soma.identity.v1 import service_pb2 as pb

from mesh.stack.settings import StackSettings
from tests.support.identity import Identity, MakePerson, Owner, bearer, failure
from tests.support.replicas import replica


def kid_of(token: str) -> str:
    head = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


async def test_what_one_replica_revokes_the_other_refuses(
    settings: StackSettings, identity: Identity, owner: Owner
) -> None:
    async with replica(settings, "identity") as second, second.channel("edge") as channel:
        other = Identity(channel)
        for revoker, asked in ((identity, other), (other, identity)):
            made = await revoker.keys.CreateApiKey(
                pb.CreateApiKeyRequest(display_name="short"), metadata=owner.auth
            )
            token = bearer(made.secret)
            assert (await asked.tokens.WhoAmI(pb.WhoAmIRequest(), metadata=token)).subject == owner.user
            await revoker.keys.RevokeApiKey(
                pb.RevokeApiKeyRequest(key_id=made.api_key.id), metadata=owner.auth
            )
            await asyncio.sleep(0.5)
            refused = await failure(asked.tokens.WhoAmI(pb.WhoAmIRequest(), metadata=token))
            assert refused.reason == "TOKEN_REVOKED"


async def test_a_new_key_is_announced_everywhere_before_it_signs_anywhere(
    settings: StackSettings, identity: Identity, owner: Owner, new_person: MakePerson
) -> None:
    person = await new_person("tokens.read")
    lead = 3
    async with (
        replica(settings, "identity", SOMA_IDENTITY_KEY_LEAD_SECONDS=str(lead)) as second,
        second.channel("edge") as channel,
        second.channel("operator") as operator,
    ):
        other = Identity(channel)
        before = await identity.tokens.IssueToken(person.grant())
        new = await Identity(operator).trust.RotateSigningKey(pb.RotateSigningKeyRequest())
        rotated = time.monotonic()
        early = await other.tokens.IssueToken(person.grant())
        if time.monotonic() - rotated < lead:
            assert kid_of(early.access_token) != new.id
        keys = json.loads((await identity.trust.GetJwks(pb.GetJwksRequest())).data)["keys"]
        assert new.id in {key["kid"] for key in keys}
        await asyncio.sleep(lead)
        after = [await each.tokens.IssueToken(person.grant()) for each in (identity, other)]
        assert {kid_of(issued.access_token) for issued in after} == {new.id}
        for issued in (before, early, *after):
            for asked in (identity, other):
                who = await asked.tokens.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(issued.access_token))
                assert who.subject == person.user


async def test_replicas_that_start_at_once_share_one_key(
    settings: StackSettings, identity: Identity, owner: Owner
) -> None:
    async with (
        replica(settings, "identity") as one,
        replica(settings, "identity") as two,
        one.channel("edge") as left,
        two.channel("edge") as right,
    ):
        sets = [
            json.loads((await Identity(each).trust.GetJwks(pb.GetJwksRequest())).data)
            for each in (identity.channel, left, right)
        ]
    assert sets[0] == sets[1] == sets[2]


async def test_a_killed_replica_loses_no_answered_change(
    settings: StackSettings, identity: Identity, owner: Owner
) -> None:
    async with replica(settings, "identity") as second, second.channel("edge") as channel:
        made = await Identity(channel).keys.CreateApiKey(
            pb.CreateApiKeyRequest(display_name="kept"), metadata=owner.auth
        )
        await Identity(channel).keys.RevokeApiKey(
            pb.RevokeApiKeyRequest(key_id=made.api_key.id), metadata=owner.auth
        )
        second.send(signal.SIGKILL)
    listed = await identity.keys.ListApiKeys(pb.ListApiKeysRequest(), metadata=owner.auth)
    assert made.api_key.id in {key.id for key in listed.api_keys if key.HasField("revoke_time")}
