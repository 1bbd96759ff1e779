"""Sign-in: a password or a refresh token for a short-lived access token.

A refresh token is used once. One that comes a second time was stolen, or its thief's
successor was: every token of that sign-in ends (RFC 9700, section 4.14.2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.identity import errors
from services.identity.domain.model import (
    Caller,
    Change,
    Claims,
    Fact,
    RefreshToken,
    Revocation,
    User,
)
from services.identity.domain.scopes import ScopeCatalogue
from services.identity.ports import Passwords, Signer, SignInStore, Throttle

_PREFIX = "srt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What a sign-in gives."""

    access_token: str
    refresh_token: str
    expires_in: timedelta
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """The grants. `random_text` makes a secret of 256 bits, URL-safe."""

    store: SignInStore
    passwords: Passwords
    throttle: Throttle
    signer: Signer
    catalogue: ScopeCatalogue
    now: Callable[[], datetime]
    new_id: Callable[[str], str]
    random_text: Callable[[], str]
    access_for: timedelta
    refresh_for: timedelta

    async def with_password(
        self, *, tenant: str, email: str, password: str, scopes: Iterable[str], address: str
    ) -> Issued:
        """Give tokens for a password.

        An unknown tenant, an unknown email, a wrong password and a disabled user take the same
        time and get the same answer.

        Raises:
            Unauthenticated: CREDENTIALS_INVALID.
            PermissionDenied: more scopes than the user has.
            ResourceExhausted: too many failures, or too many at once.
        """
        email = email.lower()
        await self.throttle.admit(tenant, email, address)
        found = await self.store.user_by_email(tenant, email)
        fits = await self.passwords.verify(password, found[1] if found else None)
        if found is None or not fits or found[0].disable_time is not None:
            await self._tell_failure(tenant, found[0] if found else None, email)
            raise errors.credentials_invalid()
        user, hashed = found
        await self.throttle.succeeded(tenant, email, address)
        if self.passwords.outdated(hashed):
            fresh = await self.passwords.hash(password)
            await self.store.replace_password_hash(tenant, user.id, hashed, fresh)
        granted = self.catalogue.grant(scopes, held=user.scopes, default=user.scopes)
        issued, row = self._issue(tenant, user, granted, family=self.new_id("fam"), refreshable=granted)
        fact = self._fact("tokens.issue", user.id, user.id, details={"grant": "password"})
        await self.store.add_refresh_token(tenant, row, Change(facts=(fact,)))
        return issued

    async def with_refresh_token(self, *, token: str, scopes: Iterable[str]) -> Issued:
        """Give tokens for a refresh token, which is used up.

        Raises:
            Unauthenticated: CREDENTIALS_INVALID.
            PermissionDenied: more scopes than the token has.
        """
        tenant = tenant_of_refresh_token(token)
        if tenant is None:
            raise errors.refresh_invalid()
        digest = digest_of(token)
        found = await self.store.refresh_token(tenant, digest)
        now = self.now()
        if found is None or found.revoke_time is not None or found.expire_time <= now:
            raise errors.refresh_invalid()
        if found.use_time is not None:
            await self._end_stolen(tenant, found)
            raise errors.refresh_invalid()
        user = await self.store.user(tenant, found.user_id)
        if user is None or user.disable_time is not None:
            raise errors.refresh_invalid()
        held = found.scopes & user.scopes
        granted = self.catalogue.grant(scopes, held=held, default=held)
        # A token with fewer scopes does not narrow the sign-in (RFC 6749, section 6).
        issued, row = self._issue(tenant, user, granted, family=found.family, refreshable=found.scopes)
        fact = self._fact("tokens.issue", user.id, user.id, details={"grant": "refresh"})
        if not await self.store.use_refresh_token(tenant, digest, row, Change(facts=(fact,))):
            await self._end_stolen(tenant, found)
            raise errors.refresh_invalid()
        return issued

    async def revoke(self, caller: Caller, refresh_token: str) -> None:
        """Revoke the caller's own token, or a refresh token with all that came of its sign-in.

        A refresh token that is not known is no error (RFC 7009, section 2.2).
        """
        now = self.now()
        if not refresh_token:
            end = await self.store.token_end(caller.tenant, caller.token_id) or now + self.access_for
            revocation = Revocation(token_id=caller.token_id, revoke_time=now, expire_time=end)
            fact = self._fact("tokens.revoke", caller.subject, caller.token_id)
            await self.store.revoke_token(caller.tenant, Change(facts=(fact,), revocations=(revocation,)))
            return
        if tenant_of_refresh_token(refresh_token) != caller.tenant:
            return
        found = await self.store.refresh_token(caller.tenant, digest_of(refresh_token))
        if found is None or found.user_id != caller.subject:
            return
        fact = self._fact("tokens.revoke", caller.subject, found.family)
        await self.store.revoke_family(caller.tenant, found.family, now, fact)

    def _issue(
        self, tenant: str, user: User, scopes: frozenset[str], *, family: str, refreshable: frozenset[str]
    ) -> tuple[Issued, RefreshToken]:
        now = self.now()
        claims = Claims(
            subject=user.id,
            kind="user",
            tenant=tenant,
            scopes=scopes,
            token_id=self.new_id("tok"),
            issue_time=now,
            expire_time=now + self.access_for,
        )
        refresh = f"{_PREFIX}.{tenant}.{self.random_text()}"
        row = RefreshToken(
            digest=digest_of(refresh),
            family=family,
            user_id=user.id,
            scopes=refreshable,
            create_time=now,
            expire_time=now + self.refresh_for,
            access_token_id=claims.token_id,
            access_expire_time=claims.expire_time,
        )
        access = self.signer.sign(claims, self.signer.kid())
        issued = Issued(access_token=access, refresh_token=refresh, expires_in=self.access_for, scopes=scopes)
        return issued, row

    async def _tell_failure(self, tenant: str, user: User | None, email: str) -> None:
        if await self.store.tenant(tenant) is None:
            return  # nobody's log; the access log has the call
        mark = hashlib.sha256(email.encode()).hexdigest()[:16]
        resource = user.id if user else f"email:{mark}"
        cause = "unknown" if user is None else "disabled" if user.disable_time else "password"
        fact = self._fact(
            "tokens.issue",
            "anonymous",
            resource,
            outcome="denied",
            details={"grant": "password", "cause": cause},
        )
        await self.store.tell(tenant, fact)

    async def _end_stolen(self, tenant: str, token: RefreshToken) -> None:
        fact = self._fact(
            "tokens.issue",
            "anonymous",
            token.user_id,
            outcome="denied",
            details={"grant": "refresh", "cause": "used twice: the sign-in was ended"},
        )
        await self.store.revoke_family(tenant, token.family, fact.time, fact)

    def _fact(
        self,
        action: str,
        actor: str,
        resource: str,
        *,
        outcome: str = "completed",
        details: dict[str, str] | None = None,
    ) -> Fact:
        return Fact(
            action=action,
            actor=actor,
            resource=resource,
            outcome=outcome,
            time=self.now(),
            details=details or {},
        )


def digest_of(refresh_token: str) -> bytes:
    """Return what is stored of a refresh token."""
    return hashlib.sha256(refresh_token.encode()).digest()


def tenant_of_refresh_token(token: str) -> str | None:
    """Return the tenant that a refresh token names, so that no query crosses tenants."""
    prefix, _, rest = token.partition(".")
    tenant, _, secret = rest.partition(".")
    return tenant if prefix == _PREFIX and tenant.startswith("tnt_") and secret else None
