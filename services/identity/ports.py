"""What the domain needs of the world."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from services.identity.domain.model import (
    ApiKey,
    Change,
    Claims,
    Fact,
    Page,
    RefreshToken,
    Request,
    Revocation,
    ServiceAccount,
    SigningKey,
    Tenant,
    User,
)


class AccountStore(Protocol):
    """Tenants, users, service accounts and keys. A change and what it tells of are one transaction.

    An `add_*` with a request id that is there already returns what that request made,
    and tells nothing again.

    Raises:
        AlreadyExists: REQUEST_ID_REUSED, or ALREADY_EXISTS where the email is taken.
    """

    async def add_tenant(
        self,
        *,
        caller_tenant: str,
        request: Request,
        tenant: Tenant,
        owner: User,
        password_hash: str,
        change: Change,
    ) -> tuple[Tenant, User]:
        """Keep it, with the request that made it."""
        ...

    async def tenant(self, tenant: str) -> Tenant | None:
        """Return the tenant, if it exists."""
        ...

    async def add_user(
        self, tenant: str, request: Request, user: User, password_hash: str, change: Change
    ) -> User:
        """Keep it, with the request that made it."""
        ...

    async def user(self, tenant: str, user_id: str) -> User | None:
        """Return a user of the tenant."""
        ...

    async def users(self, tenant: str, page: Page) -> Sequence[User]:
        """Return users, oldest first."""
        ...

    async def disable_user(self, tenant: str, user_id: str, now: datetime, fact: Fact) -> User | None:
        """Disable the user and revoke every token of it; None where there is none."""
        ...

    async def add_service_account(
        self, tenant: str, request: Request, account: ServiceAccount, change: Change
    ) -> ServiceAccount:
        """Keep it, with the request that made it."""
        ...

    async def service_account(self, tenant: str, account_id: str) -> ServiceAccount | None:
        """Return a service account of the tenant."""
        ...

    async def service_accounts(self, tenant: str, page: Page) -> Sequence[ServiceAccount]:
        """Return service accounts, oldest first."""
        ...

    async def add_api_key(
        self, tenant: str, request: Request, key: ApiKey, kid: str, change: Change
    ) -> ApiKey:
        """Keep the key, and the signing key `kid` until the key's end."""
        ...

    async def api_keys(self, tenant: str, page: Page) -> Sequence[ApiKey]:
        """Return keys, oldest first."""
        ...

    async def revoke_api_key(self, tenant: str, key_id: str, now: datetime, fact: Fact) -> ApiKey | None:
        """Revoke the key, once; None where there is none."""
        ...


class FirstTenantStore(Protocol):
    """What the making of the first tenant reads and writes beside `AccountStore`."""

    async def operator_tenant(self) -> Tenant | None:
        """Return the first tenant, if it was made."""
        ...

    async def users(self, tenant: str, page: Page) -> Sequence[User]:
        """Return users, oldest first."""
        ...

    async def api_keys(self, tenant: str, page: Page) -> Sequence[ApiKey]:
        """Return keys, oldest first."""
        ...

    async def add_api_key(
        self, tenant: str, request: Request, key: ApiKey, kid: str, change: Change
    ) -> ApiKey:
        """Keep the key, and the signing key `kid` until the key's end."""
        ...

    async def keep_signer(self, kid: str, until: datetime) -> None:
        """Let a signing key verify until then."""
        ...


class SignInStore(Protocol):
    """What sign-in reads and writes."""

    async def user_by_email(self, tenant: str, email: str) -> tuple[User, str] | None:
        """Return the user and the hash of the password."""
        ...

    async def user(self, tenant: str, user_id: str) -> User | None:
        """Return a user of the tenant."""
        ...

    async def tenant(self, tenant: str) -> Tenant | None:
        """Return the tenant, if it exists."""
        ...

    async def replace_password_hash(self, tenant: str, user_id: str, old: str, new: str) -> None:
        """Put a hash with newer parameters in the place of the old one."""
        ...

    async def add_refresh_token(self, tenant: str, token: RefreshToken, change: Change) -> None:
        """Keep the first refresh token of a sign-in."""
        ...

    async def refresh_token(self, tenant: str, digest: bytes) -> RefreshToken | None:
        """Return a refresh token, used ones too."""
        ...

    async def use_refresh_token(
        self, tenant: str, digest: bytes, successor: RefreshToken, change: Change
    ) -> bool:
        """Use the token up and keep its successor; False where it was used or revoked in the meantime."""
        ...

    async def revoke_family(self, tenant: str, family: str, now: datetime, fact: Fact) -> None:
        """Revoke every token that one sign-in led to."""
        ...

    async def token_end(self, tenant: str, token_id: str) -> datetime | None:
        """Return when an access token or API key ends."""
        ...

    async def revoke_token(self, tenant: str, change: Change) -> None:
        """Keep the change's revocations."""
        ...

    async def tell(self, tenant: str, fact: Fact) -> None:
        """Record a fact that changes nothing (a sign-in that failed)."""
        ...


class TrustStore(Protocol):
    """Signing keys and revocations, over all tenants."""

    async def signing_keys(self, now: datetime) -> Sequence[SigningKey]:
        """Return the keys whose tokens may still be alive."""
        ...

    async def add_signing_key(
        self, key: SigningKey, *, only_if_newest: str | None, predecessors_end: datetime, change: Change
    ) -> bool:
        """Keep a key that takes over at its `sign_time`; False if `only_if_newest` is not the newest.

        The keys before it verify until `predecessors_end`, or until their last API key ends.
        """
        ...

    async def revocations(self, *, since: datetime | None, now: datetime) -> tuple[Sequence[Revocation], int]:
        """Return the revocations since a moment, or all that still count, and the highest version."""
        ...

    async def sweep(self) -> int:
        """Delete what ended; return how many rows."""
        ...


class Passwords(Protocol):
    """Password hashes; slow by design, so off the event loop and few at once."""

    async def hash(self, password: str) -> str:
        """Return a hash with today's parameters."""
        ...

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Tell whether the password fits; with None it works as long and says no."""
        ...

    def outdated(self, hashed: str) -> bool:
        """Tell whether the hash was made with weaker parameters than today's."""
        ...


class Throttle(Protocol):
    """Counts failed sign-ins by user and by address."""

    async def admit(self, tenant: str, email: str, address: str) -> None:
        """Count an attempt.

        Raises:
            ResourceExhausted: too many of them failed.
        """
        ...

    async def succeeded(self, tenant: str, email: str, address: str) -> None:
        """Take the attempt back."""
        ...


class Signer(Protocol):
    """Signs tokens with the key of the hour."""

    def kid(self) -> str:
        """Return the id of the key that signs now.

        Raises:
            Unavailable: no key signs yet.
        """
        ...

    def sign(self, claims: Claims, kid: str) -> str:
        """Return the token, signed by the key that `kid` returned."""
        ...
