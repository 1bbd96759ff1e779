"""Tenants made from within: the first one, whose owner is the operator, and others by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.identity import errors
from services.identity.domain.accounts import Accounts, NewTenant, claims_of_key
from services.identity.domain.model import ApiKey, Caller, Change, Fact, Page, Request, Tenant, User
from services.identity.ports import FirstTenantStore

ACTOR: Final = "bootstrap"
_KEY_NAME: Final = "bootstrap"
_VALID_FOR: Final = timedelta(days=365)
_ALL_PAGES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What stands after `make`."""

    tenant: Tenant
    owner: User
    api_key: ApiKey
    secret: str
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """Makes a tenant, its owner and a key, once; a repeat finds them."""

    accounts: Accounts
    store: FirstTenantStore
    now: Callable[[], datetime]

    async def make_first(self, *, display_name: str, email: str, password: str) -> Made:
        """Make or find the operator's tenant; the key is made anew where it ended or was revoked.

        Whoever runs this holds the database and the sealing key, so the secret is shown each time.
        """
        tenant = await self.store.operator_tenant()
        if tenant is not None:
            owner = (await self.store.users(tenant.id, Page(1)))[0]
            return await self._with_key(tenant, owner, created=False)
        new = NewTenant(display_name=display_name, owner_email=email, owner_password=password, operator=True)
        nobody = Caller(ACTOR, "", frozenset(), "")
        tenant, owner = await self.accounts.create_tenant(nobody, Request(ACTOR, b""), new)
        return await self._with_key(tenant, owner, created=True)

    async def make_named(self, *, name: str, email: str, password: str) -> Made:
        """Make or find a further tenant of that name, on behalf of the operator.

        Raises:
            NotFound: the first tenant was not made yet.
        """
        operator = await self.store.operator_tenant()
        if operator is None:
            raise errors.not_found("tenant", "of the operator")
        started = self.now()
        caller = Caller(ACTOR, operator.id, frozenset(), "")
        new = NewTenant(display_name=name, owner_email=email, owner_password=password)
        request = Request(f"{ACTOR}:{hashlib.sha256(name.encode()).hexdigest()}", b"")
        tenant, owner = await self.accounts.create_tenant(caller, request, new)
        return await self._with_key(tenant, owner, created=tenant.create_time >= started)

    async def _with_key(self, tenant: Tenant, owner: User, *, created: bool) -> Made:
        key = await self._key(tenant, owner)
        kid = self.accounts.signer.kid()
        await self.store.keep_signer(kid, key.expire_time)
        secret = self.accounts.signer.sign(claims_of_key(key, tenant.id), kid)
        return Made(tenant=tenant, owner=owner, api_key=key, secret=secret, created=created)

    async def _key(self, tenant: Tenant, owner: User) -> ApiKey:
        now = self.now()
        for key in await self.store.api_keys(tenant.id, Page(_ALL_PAGES)):
            usable = key.revoke_time is None and key.expire_time > now + timedelta(days=1)
            if key.display_name == _KEY_NAME and key.subject == owner.id and usable:
                return key
        key = ApiKey(
            id=self.accounts.new_id("key"),
            display_name=_KEY_NAME,
            subject=owner.id,
            scopes=owner.scopes,
            create_time=now,
            expire_time=now + _VALID_FOR,
        )
        fact = Fact(action="keys.create", actor=ACTOR, resource=key.id, outcome="completed", time=now)
        return await self.store.add_api_key(
            tenant.id, Request(key.id, b""), key, self.accounts.signer.kid(), Change(facts=(fact,))
        )
