"""An issuer of tokens for tests of the edge: real keys, real signatures, and every way to be wrong."""

from __future__ import annotations

import hmac
import json
import time
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey


@dataclass(frozen=True, slots=True)
class Issuer:
    """Signs with one ES256 key."""

    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", parameters={"kid": "k1"}))

    def jwks(self) -> bytes:
        """The public key as identity serves it."""
        public = self.key.as_dict(private=False)
        return json.dumps({"keys": [{**public, "alg": "ES256", "use": "sig"}]}).encode()

    def token(self, *scopes: str, tenant: str = "acme", **claims: Any) -> str:
        """A token that verifies, unless the claims say otherwise."""
        return jwt.encode({"alg": "ES256", "kid": "k1"}, _claims(scopes, tenant, claims), self.key)

    def hs256_with_public_key(self, *scopes: str) -> str:
        """The classic confusion: the public key taken as an HMAC secret."""
        secret = self.key.as_pem(private=False)
        signed = _joined({"alg": "HS256", "kid": "k1", "typ": "JWT"}, _claims(scopes, "acme", {}))
        return f"{signed}.{_encode(hmac.digest(secret, signed.encode(), 'sha256'))}"

    def unsigned(self, *scopes: str) -> str:
        """`alg: none`."""
        return _joined({"alg": "none", "typ": "JWT"}, _claims(scopes, "acme", {})) + "."


def _joined(*parts: dict[str, Any]) -> str:
    return ".".join(_encode(json.dumps(part).encode()) for part in parts)


def _encode(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _claims(scopes: tuple[str, ...], tenant: str, claims: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    base: dict[str, Any] = {
        "iss": "soma",
        "aud": "soma",
        "sub": "usr_1",
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "jti": f"tok_{uuid.uuid4().hex}",
        "tenant": tenant,
        "scope": " ".join(scopes),
        "kind": "user",
    }
    return {key: value for key, value in (base | claims).items() if value is not None}
