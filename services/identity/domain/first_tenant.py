"""The first tenant: its owner is the operator, and nobody had to be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.identity.domain.accounts import Accounts, NewTenant, claims_of_key
from services.identity.domain.model import ApiKey, Caller, Change, Fact, Page, Request, Tenant, User
from services.identity.ports import FirstTenantStore

ACTOR: Final = "bootstrap"
_KEY_NAME: Final = "bootstrap"
_VALID_FOR: Final = timedelta(days=365)
_ALL_PAGES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTenant:
    """What stands after `make`."""

    tenant: Tenant
    owner: User
    api_key: ApiKey
    secret: str
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """Makes the first tenant, its owner and a key, once; a repeat finds them."""

    accounts: Accounts
    store: FirstTenantStore
    now: Callable[[], datetime]

    async def make(self, *, display_name: str, email: str, password: str) -> FirstTenant:
        """Make or find them; the key is made anew where it ended or was revoked.

        Whoever runs this holds the database and the sealing key, so the secret is shown each time.
        """
        tenant = await self.store.operator_tenant()
        created = tenant is None
        if tenant is None:
            tenant, owner = await self._create(display_name, email, password)
        else:
            owner = (await self.store.users(tenant.id, Page(1)))[0]
        key = await self._key(tenant, owner)
        kid = self.accounts.signer.kid()
        await self.store.keep_signer(kid, key.expire_time)
        secret = self.accounts.signer.sign(claims_of_key(key, tenant.id), kid)
        return FirstTenant(tenant=tenant, owner=owner, api_key=key, secret=secret, created=created)

    async def _create(self, display_name: str, email: str, password: str) -> tuple[Tenant, User]:
        nobody = Caller(ACTOR, "", frozenset(), "")
        new = NewTenant(display_name=display_name, owner_email=email, owner_password=password, operator=True)
        return await self.accounts.create_tenant(nobody, Request(ACTOR, b""), new)

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
