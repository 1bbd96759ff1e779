"""The claims of a token and what they must be. Pure.

`iss` and `aud` are "soma"; `sub`, `jti`, `tenant` are ids; `kind` is "user",
"service_account" or "api_key"; `scope` is separated by blanks (RFC 8693, 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mesh.runtime.context import Principal
from mesh.runtime.errors import Unauthenticated

ISSUER: Final = "soma"
AUDIENCE: Final = "soma"
KINDS: Final = frozenset({"user", "service_account", "api_key"})
LEEWAY_SECONDS: Final = 5.0
"""How far the signer's clock may be ahead (`nbf`, `iat`). Ends are taken at their word."""


def principal_of(claims: Mapping[str, Any], *, now: float) -> tuple[Principal, float]:
    """Return who the claims stand for, and until when (Unix seconds).

    Raises:
        Unauthenticated: TOKEN_EXPIRED, or TOKEN_INVALID for anything else that is not as it must be.
    """
    if claims.get("iss") != ISSUER:
        raise invalid("the token's issuer is not trusted")
    audience = claims.get("aud")
    if audience != AUDIENCE and not (isinstance(audience, list) and AUDIENCE in audience):
        raise invalid("the token is for another audience")
    expires, issued, begins = (_number(claims, name) for name in ("exp", "iat", "nbf"))
    if begins > now + LEEWAY_SECONDS or issued > now + LEEWAY_SECONDS:
        raise invalid("the token is not valid yet")
    if expires <= now:
        raise Unauthenticated("TOKEN_EXPIRED", "the token expired")
    subject, token_id, tenant, kind = (_text(claims, name) for name in ("sub", "jti", "tenant", "kind"))
    if kind not in KINDS:
        raise invalid("the token's claim kind is not known")
    scope = claims.get("scope")
    if not isinstance(scope, str):
        raise invalid("the token's claim scope is not text")
    return Principal(subject, kind, tenant, frozenset(scope.split()), token_id), expires


def invalid(message: str) -> Unauthenticated:
    """The refusal of a token that is not what a token must be."""
    return Unauthenticated("TOKEN_INVALID", message)


def _number(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        raise invalid(f"the token's claim {name} is no time")
    return float(value)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value or len(value) > 256:
        raise invalid(f"the token's claim {name} is missing")
    return value
