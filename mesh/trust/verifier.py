"""Verifies bearer tokens on the path of every request.

Only ES256, only with a key that the identity service announced, whatever the
token's header asks for: a header with any other member than `alg`, `kid` and `typ`
is refused (`jwk`, `jku`, `x5c`, `crit`, `b64` are ways to choose the verifier's mind
for it, RFC 8725 sections 2 and 3). A verified token is remembered by its BLAKE2b digest
until it ends; every use looks again whether it was revoked and its key is still there.
(BLAKE2b is Python's own; SHA-256 goes through OpenSSL, which looks it up by name each time.)
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwt import decode

from mesh.runtime.context import Principal
from mesh.runtime.errors import Unauthenticated
from mesh.trust.claims import invalid, principal_of
from mesh.trust.state import TrustState

ALGORITHM: Final = "ES256"
LONGEST_TOKEN: Final = 8192
REMEMBERED: Final = 16_384
_HEADER: Final = frozenset({"alg", "kid", "typ"})
_TYPES: Final = frozenset({"JWT", "at+jwt"})
_REFUSED: Final = "the token's signature, algorithm or form is not valid"
_MALFORMED: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


class TokenVerifier:
    """Turns a token into a principal (the port `mesh.runtime.authentication.TokenVerifier`)."""

    def __init__(self, state: TrustState, *, remembered: int = REMEMBERED) -> None:
        """Verify with what `state` knows; remember up to `remembered` tokens (about 1 KB each)."""
        self._state = state
        self._remembered = remembered
        self._cache: dict[bytes, tuple[Principal, float, int]] = {}

    def verify(self, token: str) -> Principal:
        """Return who the token stands for.

        Raises:
            Unauthenticated: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED or TOKEN_REVOKED.
            Unavailable: keys and revocations are absent or too old.
        """
        state = self._state
        state.require_fresh()
        digest = _digest(token)
        found = self._cache.get(digest)
        if found is not None:
            principal, ends, generation = found
            remembered = generation == state.generation and principal.token_id not in state.revoked
            if remembered and ends > state.wall():
                return principal
        return self._verify_anew(token, digest)

    def _verify_anew(self, token: str, digest: bytes) -> Principal:
        self._cache.pop(digest, None)
        state = self._state
        claims, key_ends = self._checked_claims(token)
        principal, ends = principal_of(claims, now=state.wall())
        if principal.token_id in state.revoked:
            raise Unauthenticated("TOKEN_REVOKED", "the token was revoked")
        self._cache[digest] = (principal, min(ends, key_ends), state.generation)
        if len(self._cache) > self._remembered:
            del self._cache[next(iter(self._cache))]
        return principal

    def _checked_claims(self, token: str) -> tuple[dict[str, Any], float]:
        """Check form and signature; return the claims and the end of the key that signed them."""
        try:
            header = jws.extract_compact(token.encode("ascii")).protected
            if header.keys() - _HEADER or header.get("typ", "JWT") not in _TYPES:
                raise invalid(_REFUSED)
            kid = header.get("kid")
            trusted = self._state.keys.get(kid) if isinstance(kid, str) else None
            if header.get("alg") != ALGORITHM or trusted is None or trusted.expires_at <= self._state.wall():
                raise invalid(_REFUSED)
            return decode(token, trusted.key, algorithms=[ALGORITHM]).claims, trusted.expires_at
        except _MALFORMED as error:
            raise invalid(_REFUSED) from error


def _digest(token: str) -> bytes:
    if not token:
        raise Unauthenticated("TOKEN_MISSING", "no bearer token")
    if len(token) > LONGEST_TOKEN:
        raise invalid(f"the token is longer than {LONGEST_TOKEN} characters")
    try:
        return blake2b(token.encode("ascii"), digest_size=32).digest()
    except UnicodeEncodeError as error:
        raise invalid(_REFUSED) from error
