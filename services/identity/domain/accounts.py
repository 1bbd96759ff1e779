"""Tenants, users, service accounts and API keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.identity import errors
from services.identity.domain.model import (
    ApiKey,
    Caller,
    Change,
    Claims,
    Fact,
    Page,
    Request,
    ServiceAccount,
    Tenant,
    User,
)
from services.identity.domain.scopes import ScopeCatalogue
from services.identity.ports import AccountStore, Passwords, Signer

DEFAULT_KEY_DAYS: Final = 90
SECRET_SHOWN_FOR: Final = timedelta(minutes=10)
"""How long a repeat of the request that made a key still gets the secret: the bound of a retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTenant:
    """A tenant to be made, with its first user."""

    display_name: str
    owner_email: str
    owner_password: str
    operator: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user to be made."""

    email: str
    password: str
    display_name: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """A key to be made; an empty subject is the caller's, no scopes are all of the subject's."""

    display_name: str
    subject: str
    scopes: frozenset[str]
    valid_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """What can be done with accounts. `new_id` makes an id of a prefix, `now` is the clock."""

    store: AccountStore
    passwords: Passwords
    signer: Signer
    catalogue: ScopeCatalogue
    now: Callable[[], datetime]
    new_id: Callable[[str], str]

    async def create_tenant(self, caller: Caller, request: Request, new: NewTenant) -> tuple[Tenant, User]:
        """Make a tenant with its owner, who gets all scopes of a tenant's owner.

        Raises:
            AlreadyExists: the request id was used for another request.
        """
        now = self.now()
        tenant = Tenant(
            id=self.new_id("tnt"), display_name=new.display_name, create_time=now, operator=new.operator
        )
        owner = User(
            id=self.new_id("usr"),
            email=new.owner_email.lower(),
            display_name="",
            scopes=self.catalogue.of_owner(operator=new.operator),
            create_time=now,
        )
        fact = Fact(
            action="tenants.create",
            actor=caller.subject,
            resource=tenant.id,
            outcome="completed",
            time=now,
            details={"owner": owner.id},
        )
        hashed = await self.passwords.hash(new.owner_password)
        change = Change(facts=(fact,), created_tenant=tenant)
        return await self.store.add_tenant(
            caller_tenant=caller.tenant or tenant.id,
            request=request,
            tenant=tenant,
            owner=owner,
            password_hash=hashed,
            change=change,
        )

    async def tenant(self, caller: Caller, tenant_id: str) -> Tenant:
        """Return the caller's own tenant.

        Raises:
            NotFound: any other one.
        """
        found = await self.store.tenant(caller.tenant) if tenant_id == caller.tenant else None
        if found is None:
            raise errors.not_found("tenant", tenant_id)
        return found

    async def create_user(self, caller: Caller, request: Request, new: NewUser) -> User:
        """Make a user with no more scopes than the caller has; none at all where none are named.

        Raises:
            PermissionDenied: more scopes than the caller has.
            AlreadyExists: the email has a user, or the request id was used for another request.
        """
        scopes = self.catalogue.grant(new.scopes, held=caller.scopes, default=frozenset())
        user = User(
            id=self.new_id("usr"),
            email=new.email.lower(),
            display_name=new.display_name,
            scopes=scopes,
            create_time=self.now(),
        )
        fact = self._fact("users.create", caller, user.id, scopes=scopes)
        hashed = await self.passwords.hash(new.password)
        return await self.store.add_user(caller.tenant, request, user, hashed, Change(facts=(fact,)))

    async def user(self, caller: Caller, user_id: str) -> User:
        """Return a user of the caller's tenant.

        Raises:
            NotFound: there is none of that id.
        """
        found = await self.store.user(caller.tenant, user_id)
        if found is None:
            raise errors.not_found("user", user_id)
        return found

    async def users(self, caller: Caller, page: Page) -> Sequence[User]:
        """Return a part of the tenant's users."""
        return await self.store.users(caller.tenant, page)

    async def disable_user(self, caller: Caller, user_id: str) -> User:
        """Disable a user and revoke all its tokens; a repeat changes nothing.

        Raises:
            NotFound: there is none of that id.
        """
        fact = self._fact("users.disable", caller, user_id)
        found = await self.store.disable_user(caller.tenant, user_id, fact.time, fact)
        if found is None:
            raise errors.not_found("user", user_id)
        return found

    async def create_service_account(
        self, caller: Caller, request: Request, display_name: str, scopes: Iterable[str]
    ) -> ServiceAccount:
        """Make a service account with no more scopes than the caller has.

        Raises:
            PermissionDenied: more scopes than the caller has.
            AlreadyExists: the request id was used for another request.
        """
        granted = self.catalogue.grant(scopes, held=caller.scopes, default=frozenset())
        account = ServiceAccount(
            id=self.new_id("svc"), display_name=display_name, scopes=granted, create_time=self.now()
        )
        fact = self._fact("service_accounts.create", caller, account.id, scopes=granted)
        return await self.store.add_service_account(caller.tenant, request, account, Change(facts=(fact,)))

    async def service_accounts(self, caller: Caller, page: Page) -> Sequence[ServiceAccount]:
        """Return a part of the tenant's service accounts."""
        return await self.store.service_accounts(caller.tenant, page)

    async def create_api_key(self, caller: Caller, request: Request, new: NewApiKey) -> tuple[ApiKey, str]:
        """Make a key and return it with its secret.

        Raises:
            NotFound: the tenant has no such subject.
            PermissionDenied: more scopes than caller or subject have, or another user's key.
            FailedPrecondition: the subject is disabled, or a repeat came too late for the secret.
        """
        subject = new.subject or caller.subject
        of_subject = await self._scopes_of(caller, subject)
        scopes = self.catalogue.grant(new.scopes, held=caller.scopes & of_subject, default=of_subject)
        now = self.now()
        key = ApiKey(
            id=self.new_id("key"),
            display_name=new.display_name,
            subject=subject,
            scopes=scopes,
            create_time=now,
            expire_time=now + timedelta(days=new.valid_days or DEFAULT_KEY_DAYS),
        )
        fact = self._fact("keys.create", caller, key.id, subject=(subject,), scopes=scopes)
        kid = self.signer.kid()
        kept = await self.store.add_api_key(caller.tenant, request, key, kid, Change(facts=(fact,)))
        if kept.revoke_time is not None or now - kept.create_time > SECRET_SHOWN_FOR:
            raise errors.secret_shown(kept.id)
        return kept, self.signer.sign(claims_of_key(kept, caller.tenant), kid)

    async def api_keys(self, caller: Caller, page: Page) -> Sequence[ApiKey]:
        """Return a part of the tenant's keys."""
        return await self.store.api_keys(caller.tenant, page)

    async def revoke_api_key(self, caller: Caller, key_id: str) -> ApiKey:
        """Revoke a key; a repeat changes nothing.

        Raises:
            NotFound: there is none of that id.
        """
        fact = self._fact("keys.revoke", caller, key_id)
        found = await self.store.revoke_api_key(caller.tenant, key_id, fact.time, fact)
        if found is None:
            raise errors.not_found("key", key_id)
        return found

    async def _scopes_of(self, caller: Caller, subject: str) -> frozenset[str]:
        if subject.startswith("svc_"):
            account = await self.store.service_account(caller.tenant, subject)
            if account is None:
                raise errors.not_found("service account", subject)
            return account.scopes
        user = await self.user(caller, subject)
        if subject != caller.subject:
            raise errors.foreign_key()
        if user.disable_time is not None:
            raise errors.user_disabled(subject)
        return user.scopes

    def _fact(self, action: str, caller: Caller, resource: str, **details: Iterable[str]) -> Fact:
        return Fact(
            action=action,
            actor=caller.subject,
            resource=resource,
            outcome="completed",
            time=self.now(),
            details={name: " ".join(sorted(values)) for name, values in details.items()},
        )


def claims_of_key(key: ApiKey, tenant: str) -> Claims:
    """Return what a key's token says; the same at each asking."""
    return Claims(
        subject=key.subject,
        kind="api_key",
        tenant=tenant,
        scopes=key.scopes,
        token_id=key.id,
        issue_time=key.create_time,
        expire_time=key.expire_time,
    )
