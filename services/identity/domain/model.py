"""What identity knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """The border that no data crosses."""

    id: str
    display_name: str
    create_time: datetime
    operator: bool = False
    """The first tenant; its owner may create others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who signs in."""

    id: str
    email: str
    display_name: str
    scopes: frozenset[str]
    create_time: datetime
    disable_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """A program that calls with API keys."""

    id: str
    display_name: str
    scopes: frozenset[str]
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A long-lived token, without its secret."""

    id: str
    display_name: str
    subject: str
    scopes: frozenset[str]
    create_time: datetime
    expire_time: datetime
    revoke_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """One link of a sign-in's chain, by the SHA-256 of the token."""

    digest: bytes
    family: str
    user_id: str
    scopes: frozenset[str]
    create_time: datetime
    expire_time: datetime
    access_token_id: str
    """The access token that was given with it."""
    access_expire_time: datetime
    use_time: datetime | None = None
    revoke_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A token that is refused from now on, until it would have ended anyway."""

    token_id: str
    revoke_time: datetime
    expire_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that verifies tokens."""

    kid: str
    jwk: str
    expire_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key that signs from `sign_time` until the next one does."""

    kid: str
    public_jwk: str
    sealed_private_jwk: bytes = field(repr=False)
    create_time: datetime
    sign_time: datetime
    retire_time: datetime
    expire_time: datetime

    def public(self) -> PublicKey:
        """Return the part that verifiers get."""
        return PublicKey(kid=self.kid, jwk=self.public_jwk, expire_time=self.expire_time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says."""

    subject: str
    kind: str
    tenant: str
    scopes: frozenset[str]
    token_id: str
    issue_time: datetime
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, by a verified token."""

    subject: str
    tenant: str
    scopes: frozenset[str]
    token_id: str


@dataclass(frozen=True, slots=True)
class Request:
    """The name of a mutation, by which a repeat of it is known, and the digest of its content."""

    id: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What was done, for the audit log: no secrets, no content."""

    action: str
    actor: str
    resource: str
    outcome: str
    time: datetime
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What leaves identity with a change, in its transaction."""

    facts: tuple[Fact, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    created_tenant: Tenant | None = None
    rotated_key: PublicKey | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: what comes after `after`, oldest first."""

    size: int
    after: str = ""
