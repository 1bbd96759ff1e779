"""Tenants, users, service accounts and keys: who may make what, and what a repeat does."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable

from soma.identity.v1 import service_pb2 as pb

from mesh.runtime.ids import new_id
from mesh.stack.settings import StackSettings
from tests.integration.identity.database import audit_of
from tests.support.identity import (
    PASSWORD,
    Identity,
    MakePerson,
    Owner,
    bearer,
    bootstrapped,
    failure,
    new_owner,
)


async def test_an_owner_has_every_scope_of_a_tenant_and_none_of_the_operator(
    identity: Identity, owner: Owner, operator: Owner
) -> None:
    who = await identity.tokens.WhoAmI(pb.WhoAmIRequest(), metadata=owner.auth)
    first = await identity.tokens.WhoAmI(pb.WhoAmIRequest(), metadata=operator.auth)
    assert set(first.scopes) - set(who.scopes) == {"tenants.create"}
    assert {"turns.create", "memories.read", "models.write", "audit.read", "keys.write"} <= set(who.scopes)
    request = pb.CreateTenantRequest(
        display_name="Third", owner_email="a@example.org", owner_password=PASSWORD
    )
    refused = identity.tenants.CreateTenant(request, metadata=owner.auth)
    assert (await failure(refused)).reason == "SCOPE_MISSING"


async def test_the_bootstrap_command_finds_what_it_made(settings: StackSettings, operator: Owner) -> None:
    again = await bootstrapped(settings)
    assert (again.tenant, again.user) == (operator.tenant, operator.user)
    one = await bootstrapped(settings, "--tenant", "twice")
    two = await bootstrapped(settings, "--tenant", "twice")
    assert (one.tenant, one.user) == (two.tenant, two.user)
    assert one.tenant != operator.tenant
    for file in (settings.home.secrets).glob("*password*"):
        assert file.stat().st_mode & 0o077 == 0


async def test_nobody_gives_more_scopes_than_they_have(
    identity: Identity, owner: Owner, new_person: MakePerson
) -> None:
    person = await new_person("users.write", "service_accounts.write", "keys.write", "tokens.read")
    token = bearer((await identity.tokens.IssueToken(person.grant())).access_token)
    email = f"{uuid.uuid4().hex}@example.org"
    attempts: list[Awaitable[object]] = [
        identity.users.CreateUser(
            pb.CreateUserRequest(email=email, password=PASSWORD, scopes=["audit.read"]), metadata=token
        ),
        identity.accounts.CreateServiceAccount(
            pb.CreateServiceAccountRequest(display_name="x", scopes=["audit.read"]), metadata=token
        ),
        identity.keys.CreateApiKey(
            pb.CreateApiKeyRequest(display_name="x", scopes=["audit.read"]), metadata=token
        ),
        identity.users.CreateUser(
            pb.CreateUserRequest(email=email, password=PASSWORD, scopes=["tenants.create"]),
            metadata=owner.auth,
        ),
    ]
    for attempt in attempts:
        assert (await failure(attempt)).reason == "SCOPE_MISSING"
    powerful = await identity.accounts.CreateServiceAccount(
        pb.CreateServiceAccountRequest(display_name="auditor", scopes=["audit.read"]), metadata=owner.auth
    )
    for scopes in ([], ["audit.read"]):
        key = pb.CreateApiKeyRequest(display_name="x", subject=powerful.id, scopes=scopes)
        assert (await failure(identity.keys.CreateApiKey(key, metadata=token))).reason == "SCOPE_MISSING"


async def test_a_narrow_key_cannot_make_a_wider_one(identity: Identity, owner: Owner) -> None:
    narrow = await identity.keys.CreateApiKey(
        pb.CreateApiKeyRequest(display_name="narrow", scopes=["keys.write"]), metadata=owner.auth
    )
    wider = pb.CreateApiKeyRequest(display_name="wide")
    for request in (wider, pb.CreateApiKeyRequest(display_name="w", scopes=["keys.write", "audit.read"])):
        refused = identity.keys.CreateApiKey(request, metadata=bearer(narrow.secret))
        assert (await failure(refused)).reason == "SCOPE_MISSING"


async def test_scopes_that_no_method_needs_are_refused(identity: Identity, owner: Owner) -> None:
    request = pb.CreateServiceAccountRequest(display_name="x", scopes=["world.rule"])
    failed = await failure(identity.accounts.CreateServiceAccount(request, metadata=owner.auth))
    assert failed.reason == "INVALID_ARGUMENT"


async def test_a_key_never_acts_as_another_user(
    identity: Identity, owner: Owner, new_person: MakePerson
) -> None:
    person = await new_person("tokens.read")
    key = pb.CreateApiKeyRequest(display_name="x", subject=person.user)
    assert (await failure(identity.keys.CreateApiKey(key, metadata=owner.auth))).reason == "POLICY_DENIED"


async def test_a_service_account_calls_with_its_key(identity: Identity, owner: Owner) -> None:
    account = await identity.accounts.CreateServiceAccount(
        pb.CreateServiceAccountRequest(display_name="robot", scopes=["tokens.read", "sessions.read"]),
        metadata=owner.auth,
    )
    key = await identity.keys.CreateApiKey(
        pb.CreateApiKeyRequest(display_name="robot", subject=account.id, valid_days=1), metadata=owner.auth
    )
    who = await identity.tokens.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(key.secret))
    assert (who.subject, who.kind, list(who.scopes)) == (
        account.id,
        "api_key",
        ["sessions.read", "tokens.read"],
    )
    lifetime = key.api_key.expire_time.seconds - key.api_key.create_time.seconds
    assert lifetime == 86_400


async def test_another_tenants_ids_are_like_ids_that_do_not_exist(
    identity: Identity, owner: Owner, operator: Owner
) -> None:
    stranger = await new_owner(identity, operator)
    account = await identity.accounts.CreateServiceAccount(
        pb.CreateServiceAccountRequest(display_name="theirs"), metadata=stranger.auth
    )
    key = await identity.keys.CreateApiKey(
        pb.CreateApiKeyRequest(display_name="theirs"), metadata=stranger.auth
    )

    async def told(user: str, account_id: str, key_id: str, tenant: str) -> list[tuple[str, str]]:
        calls: list[Awaitable[object]] = [
            identity.users.GetUser(pb.GetUserRequest(user_id=user), metadata=owner.auth),
            identity.users.DisableUser(pb.DisableUserRequest(user_id=user), metadata=owner.auth),
            identity.keys.CreateApiKey(
                pb.CreateApiKeyRequest(display_name="x", subject=user), metadata=owner.auth
            ),
            identity.keys.CreateApiKey(
                pb.CreateApiKeyRequest(display_name="x", subject=account_id), metadata=owner.auth
            ),
            identity.keys.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=key_id), metadata=owner.auth),
            identity.tenants.GetTenant(pb.GetTenantRequest(tenant_id=tenant), metadata=owner.auth),
        ]
        failures = [await failure(call) for call in calls]
        ids = (user, account_id, key_id, tenant)
        return [(each.reason, _without(each.message, ids)) for each in failures]

    theirs = await told(stranger.user, account.id, key.api_key.id, stranger.tenant)
    nobodys = await told(new_id("usr"), new_id("svc"), new_id("key"), new_id("tnt"))
    assert theirs == nobodys
    assert {reason for reason, _ in theirs} == {"NOT_FOUND"}
    who = await identity.tokens.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(key.secret))
    assert who.subject == stranger.user, "nothing was done to it"


async def test_repeats_have_one_effect(identity: Identity, owner: Owner, operator: Owner) -> None:
    name = uuid.uuid4().hex
    user = pb.CreateUserRequest(
        email=f"{name}@example.org", password=PASSWORD, scopes=["tokens.read"], request_id=name
    )
    account = pb.CreateServiceAccountRequest(display_name="r", request_id=name)
    key = pb.CreateApiKeyRequest(display_name="r", request_id=name)
    tenant = pb.CreateTenantRequest(
        display_name="r", owner_email="o@example.org", owner_password=PASSWORD, request_id=name
    )
    first = await identity.users.CreateUser(user, metadata=owner.auth)
    assert await identity.users.CreateUser(user, metadata=owner.auth) == first
    made = await identity.accounts.CreateServiceAccount(account, metadata=owner.auth)
    assert await identity.accounts.CreateServiceAccount(account, metadata=owner.auth) == made
    one = await identity.keys.CreateApiKey(key, metadata=owner.auth)
    two = await identity.keys.CreateApiKey(key, metadata=owner.auth)
    assert one.api_key == two.api_key
    for secret in (one.secret, two.secret):
        assert (await identity.tokens.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(secret))).subject
    born = await identity.tenants.CreateTenant(tenant, metadata=operator.auth)
    assert await identity.tenants.CreateTenant(tenant, metadata=operator.auth) == born
    for call in (
        identity.users.CreateUser(
            pb.CreateUserRequest(email="z@example.org", password=PASSWORD, request_id=name),
            metadata=owner.auth,
        ),
        identity.keys.CreateApiKey(
            pb.CreateApiKeyRequest(display_name="other", request_id=name), metadata=owner.auth
        ),
        identity.tenants.CreateTenant(
            pb.CreateTenantRequest(
                display_name="s", owner_email="o@example.org", owner_password=PASSWORD, request_id=name
            ),
            metadata=operator.auth,
        ),
    ):
        assert (await failure(call)).reason == "REQUEST_ID_REUSED"


async def test_an_email_is_unique_in_its_tenant_only(
    identity: Identity, owner: Owner, operator: Owner
) -> None:
    email = f"{uuid.uuid4().hex}@Example.org"
    request = pb.CreateUserRequest(email=email, password=PASSWORD)
    made = await identity.users.CreateUser(request, metadata=owner.auth)
    assert made.email == email.lower()
    assert list(made.scopes) == []
    taken = pb.CreateUserRequest(email=email.upper(), password=PASSWORD)
    assert (await failure(identity.users.CreateUser(taken, metadata=owner.auth))).reason == "ALREADY_EXISTS"
    assert (await identity.users.CreateUser(taken, metadata=operator.auth)).id != made.id


async def test_lists_page_through_everything_once(
    identity: Identity, owner: Owner, new_person: MakePerson
) -> None:
    made = [(await new_person()).user for _ in range(4)]
    seen: list[str] = []
    token = ""
    while True:
        part = await identity.users.ListUsers(
            pb.ListUsersRequest(page_size=2, page_token=token), metadata=owner.auth
        )
        seen += [user.id for user in part.users]
        token = part.next_page_token
        if not token:
            break
    assert seen == [owner.user, *made]
    for wrong in ("x", "usr_1", "' or 1=1 --"):
        request = pb.ListUsersRequest(page_token=wrong)
        assert (
            await failure(identity.users.ListUsers(request, metadata=owner.auth))
        ).reason == "INVALID_ARGUMENT"
    keys = await identity.keys.ListApiKeys(pb.ListApiKeysRequest(), metadata=owner.auth)
    assert [key.display_name for key in keys.api_keys] == ["test"]
    assert "secret" not in {field.name for field, _ in keys.api_keys[0].ListFields()}
    accounts = await identity.accounts.ListServiceAccounts(
        pb.ListServiceAccountsRequest(), metadata=owner.auth
    )
    assert not accounts.service_accounts


async def test_each_change_is_recorded_in_its_transaction(
    identity: Identity, owner: Owner, settings: StackSettings, new_person: MakePerson
) -> None:
    person = await new_person("tokens.read")
    key = await identity.keys.CreateApiKey(pb.CreateApiKeyRequest(display_name="k"), metadata=owner.auth)
    await identity.keys.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=key.api_key.id), metadata=owner.auth)
    await identity.keys.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=key.api_key.id), metadata=owner.auth)
    await identity.users.DisableUser(pb.DisableUserRequest(user_id=person.user), metadata=owner.auth)
    records = await audit_of(settings, owner.tenant)
    told = [(each.action, each.resource) for each in records if each.action != "tokens.issue"]
    assert told[0] == ("tenants.create", owner.tenant)
    assert told[2:] == [
        ("users.create", person.user),
        ("keys.create", key.api_key.id),
        ("keys.revoke", key.api_key.id),
        ("users.disable", person.user),
    ]
    assert all(each.tenant == owner.tenant and each.request_id and each.id for each in records)
    assert PASSWORD not in str(records)


def _without(message: str, ids: tuple[str, ...]) -> str:
    for each in ids:
        message = message.replace(each, "ID")
    return message
