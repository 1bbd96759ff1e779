"""Sign-in: passwords, refresh tokens, throttling; and what the audit log learns of them."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import Awaitable

import grpc
import grpc.aio
from soma.identity.v1 import service_pb2 as pb

from mesh.runtime.status import read
from mesh.stack.settings import StackSettings
from tests.integration.identity.database import audit_of
from tests.support.identity import (
    PASSWORD,
    Identity,
    MakePerson,
    Owner,
    Person,
    bearer,
    failure,
    seen_from,
)
from tests.support.replicas import replica

# The failures of one run must not count in the next.
ADDRESS = f"2001:db8::{uuid.uuid4().hex[:4]}"


def sign_in(
    identity: Identity, request: pb.IssueTokenRequest, address: str = ADDRESS
) -> Awaitable[pb.IssueTokenResponse]:
    """Ask for a token from this file's address."""
    return identity.tokens.IssueToken(request, metadata=seen_from(address))


async def test_a_password_gives_a_token_that_says_who_its_holder_is(
    identity: Identity, new_person: MakePerson
) -> None:
    person = await new_person("sessions.read", "tokens.read")
    issued = await sign_in(identity, person.grant())
    assert (issued.token_type, issued.expires_in) == ("Bearer", 900)
    assert list(issued.scopes) == ["sessions.read", "tokens.read"]
    who = await identity.tokens.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(issued.access_token))
    assert (who.subject, who.kind, who.tenant) == (person.user, "user", person.tenant)
    assert list(who.scopes) == list(issued.scopes)


async def test_emails_are_signed_in_whatever_their_case(identity: Identity, new_person: MakePerson) -> None:
    person = await new_person("tokens.read")
    shouted = Person(person.tenant, person.user, person.email.upper())
    assert (await sign_in(identity, shouted.grant())).access_token


async def test_every_sign_in_that_fails_gets_the_same_answer(
    identity: Identity, new_person: MakePerson, owner: Owner
) -> None:
    person, gone = await new_person("tokens.read"), await new_person("tokens.read")
    await identity.users.DisableUser(pb.DisableUserRequest(user_id=gone.user), metadata=owner.auth)
    attempts = {
        "wrong password": person.grant("wrong password here"),
        "unknown email": Person(person.tenant, "", "nobody@example.org").grant(),
        "unknown tenant": Person("tnt_" + "0" * 32, "", person.email).grant(),
        "disabled": gone.grant(),
    }
    for name, attempt in attempts.items():
        failed = await failure(sign_in(identity, attempt))
        assert failed.reason == "CREDENTIALS_INVALID", name
        assert failed.message == "email, password or tenant do not match", name
        assert set(failed.metadata) == {"request_id"}, name


async def test_an_unknown_user_takes_as_long_as_a_wrong_password(
    identity: Identity, new_person: MakePerson
) -> None:
    people = [await new_person() for _ in range(6)]

    async def seconds(person: Person) -> float:
        start = time.perf_counter()
        await failure(sign_in(identity, person.grant("wrong password here")))
        return time.perf_counter() - start

    known, unknown = [], []
    for index, person in enumerate(people):
        known.append(await seconds(person))
        unknown.append(await seconds(Person(person.tenant, "", f"nobody{index}@example.org")))
    ratio = statistics.median(unknown) / statistics.median(known)
    assert 0.5 < ratio < 2.0, (known, unknown)


async def test_more_scopes_than_the_user_has_are_refused(identity: Identity, new_person: MakePerson) -> None:
    person = await new_person("tokens.read")
    failed = await failure(sign_in(identity, person.grant(PASSWORD, "tokens.read", "keys.write")))
    assert (failed.reason, failed.metadata["scopes"]) == ("SCOPE_MISSING", "keys.write")


async def test_a_refresh_token_works_once_and_its_second_use_ends_the_sign_in(
    identity: Identity, new_person: MakePerson
) -> None:
    person = await new_person("tokens.read", "sessions.read")
    first = await sign_in(identity, person.grant())
    narrow = pb.IssueTokenRequest(
        refresh=pb.RefreshGrant(refresh_token=first.refresh_token), scopes=["tokens.read"]
    )
    second = await sign_in(identity, narrow)
    assert list(second.scopes) == ["tokens.read"]
    third = await sign_in(
        identity, pb.IssueTokenRequest(refresh=pb.RefreshGrant(refresh_token=second.refresh_token))
    )
    assert list(third.scopes) == ["sessions.read", "tokens.read"], "narrowing is for one token only"

    stolen = await failure(sign_in(identity, narrow))
    assert stolen.reason == "CREDENTIALS_INVALID"
    again = pb.IssueTokenRequest(refresh=pb.RefreshGrant(refresh_token=third.refresh_token))
    assert (await failure(sign_in(identity, again))).reason == "CREDENTIALS_INVALID"
    for token in (first.access_token, second.access_token, third.access_token):
        refused = await _refused_soon(identity, token)
        assert refused == "TOKEN_REVOKED"


async def test_two_uses_of_a_refresh_token_at_once_leave_one_winner_at_most(
    identity: Identity, new_person: MakePerson
) -> None:
    person = await new_person("tokens.read")
    first = await sign_in(identity, person.grant())
    grant = pb.IssueTokenRequest(refresh=pb.RefreshGrant(refresh_token=first.refresh_token))
    results = await asyncio.gather(*(sign_in(identity, grant) for _ in range(8)), return_exceptions=True)
    won = [each for each in results if isinstance(each, pb.IssueTokenResponse)]
    assert len(won) == 1
    assert await _refused_soon(identity, won[0].access_token) == "TOKEN_REVOKED"


async def test_made_up_refresh_tokens_are_refused(identity: Identity, owner: Owner) -> None:
    for token in ("x" * 43, f"srt.{owner.tenant}." + "y" * 43, "srt..........................", "srt.tnt_x."):
        grant = pb.IssueTokenRequest(refresh=pb.RefreshGrant(refresh_token=token))
        assert (await failure(sign_in(identity, grant))).reason in {
            "CREDENTIALS_INVALID",
            "INVALID_ARGUMENT",
        }


async def test_too_many_failures_are_refused_even_with_the_right_password(
    identity: Identity, new_person: MakePerson
) -> None:
    person, other = await new_person("tokens.read"), await new_person("tokens.read")
    for _ in range(10):
        assert (await failure(sign_in(identity, person.grant("wrong")))).reason == "CREDENTIALS_INVALID"
    failed = await failure(sign_in(identity, person.grant()))
    assert failed.reason == "RATE_LIMITED"
    assert failed.retry_after is not None
    assert 1 <= failed.retry_after <= 900
    assert (await sign_in(identity, other.grant())).access_token, "another user is not concerned"


async def test_too_many_failures_from_an_address_stop_it_for_every_user(
    settings: StackSettings, new_person: MakePerson
) -> None:
    people = [await new_person("tokens.read") for _ in range(5)]
    here, there = (f"2001:db8:1::{uuid.uuid4().hex[:4]}" for _ in range(2))
    async with (
        replica(settings, "identity", SOMA_IDENTITY_FAILURES_BY_ADDRESS="3") as strict,
        strict.channel("edge") as channel,
    ):
        identity = Identity(channel)
        for person in people[:3]:
            failed = await failure(sign_in(identity, person.grant("wrong"), here))
            assert failed.reason == "CREDENTIALS_INVALID"
        for person in people:
            assert (await failure(sign_in(identity, person.grant(), here))).reason == "RATE_LIMITED"
        for person in people:
            assert (await sign_in(identity, person.grant(), there)).access_token


async def test_success_forgets_the_failures_before_it(identity: Identity, new_person: MakePerson) -> None:
    person = await new_person("tokens.read")
    for _ in range(3):
        for _ in range(6):
            await failure(sign_in(identity, person.grant("wrong")))
        assert (await sign_in(identity, person.grant())).access_token


async def test_each_sign_in_is_recorded(
    identity: Identity, new_person: MakePerson, settings: StackSettings
) -> None:
    person = await new_person("tokens.read")
    await sign_in(identity, person.grant())
    await failure(sign_in(identity, person.grant("wrong")))
    await failure(sign_in(identity, Person(person.tenant, "", "nobody@example.org").grant()))
    records = [each for each in await audit_of(settings, person.tenant) if each.action == "tokens.issue"]
    assert [(each.outcome, each.actor) for each in records[1:]] == [  # the first is the owner's own
        ("completed", person.user),
        ("denied", "anonymous"),
        ("denied", "anonymous"),
    ]
    assert records[2].resource == person.user
    assert records[3].resource.startswith("email:")
    assert "nobody" not in str(records[3])


async def _refused_soon(identity: Identity, token: str) -> str:
    """The reason with which a token is refused once the news of its end is there."""
    until = time.monotonic() + 2
    while time.monotonic() < until:
        try:
            await identity.tokens.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(token))
        except grpc.aio.AioRpcError as error:
            return read(error).reason
        await asyncio.sleep(0.01)
    raise AssertionError("still accepted")
